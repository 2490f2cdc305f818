"""Where the program keeps what it could find out again: measurements, and what was heard.

Nothing in there is trusted, and a folder that cannot be written is no reason to stop.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gemma_audio_cli.errors import GemmaAudioError
from gemma_audio_cli.files import AtomicFile

_EDGE = 1 << 20
"""Bytes of each end of a file that tell it from others: the header with all names and sizes, some weights."""
_LARGEST = 1 << 20
"""Bytes of a file of measurements."""


def cache_folder() -> Path:
    """The folder; it may not be there yet."""
    if chosen := os.environ.get("GEMMA_AUDIO_CACHE_DIR"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("gemma-audio", appauthor=False)


def identity(files: Iterable[Path]) -> str:
    """What tells these model files from others: size, beginning and end, for all of it would take seconds.
    Raises OSError.
    """
    known = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            known.update(b"%d " % size)
            for at in (0, max(0, size - _EDGE)):
                file.seek(at)
                known.update(file.read(_EDGE))
    return known.hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """What `write_object` wrote, unchecked; nothing where that cannot be read."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_object(path: Path, value: dict[str, Any]) -> None:
    """Keeps an object, for this person only, if that is possible."""
    with suppress(OSError, GemmaAudioError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with AtomicFile(path) as file:
            file.write(json.dumps(value, indent=1) + "\n")
