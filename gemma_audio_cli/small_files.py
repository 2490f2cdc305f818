"""Files of settings, which are read without being named: whatever lies there, nothing is waited for.

read_small(path, 1 << 20) ──► its bytes, and what the system says of it
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gemma_audio_cli.errors import UsageError


def read_small(path: Path, largest: int, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """All bytes of a regular file, and its state at that moment. Without `follow` a symbolic link is none.

    Raises UsageError for a folder, a pipe or a device, and for more than `largest` bytes; OSError where it
    cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NONBLOCK", 0)  # a pipe would be waited for
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path}: this is no regular file; put the settings into one of that name")
        data = file.read(largest + 1)
    if len(data) > largest:
        raise UsageError(f"{path}: this is no file of settings: it has more than {largest} bytes")
    return data, found
