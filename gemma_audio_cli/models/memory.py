"""How much memory this machine has for a model."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def total_memory() -> int | None:
    """Bytes of memory of this machine, or of the container this runs in; None where nobody tells."""
    found = _installed()
    for path in _LIMITS:
        with suppress(OSError, ValueError):
            limit = int(Path(path).read_text(encoding="ascii"))
            found = limit if found is None else min(found, limit)
    return found


if sys.platform == "win32":

    def _installed() -> int | None:
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
            ]

        status = Status(length=ctypes.sizeof(Status))
        return (
            int(status.total) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
        )
else:

    def _installed() -> int | None:
        with suppress(OSError, ValueError):
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return None
