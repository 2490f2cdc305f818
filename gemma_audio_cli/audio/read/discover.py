"""Which recordings a command line means: files as they are named, folders walked, each recording once."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator

from gemma_audio_cli.audio.read.reader import reason
from gemma_audio_cli.audio.read.sniff import is_recording
from gemma_audio_cli.errors import AudioError, Notice, no_notice

_AUDIO = "aac ac3 aif aifc aiff amr ape au caf dts eac3 flac m4a m4b mka mp2 mp3 oga ogg opus spx w64 wav"
_VIDEO = "3g2 3gp asf avi f4v flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"
AUDIO_SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_AUDIO} rf64 tta wave wma wv {_VIDEO}".split())
"""What is taken for a recording in a folder by its name, so that opening it says what is wrong with it."""
_UNFINISHED = ".partial"
"""Of a recording that is being made. Files of all other names are looked into."""

_DIGITS = re.compile(r"(\d+)")


def expand(
    paths: Iterable[str],
    recursive: bool = False,
    notice: Notice = no_notice,
    failed: Callable[[str, AudioError], None] | None = None,
) -> Iterator[str]:
    """The recordings behind `paths`, each once, however often and under whatever names it is given.

    Files and "-" are given on as they are, also missing ones, so that opening them says what is wrong; so are
    folders unless `recursive`. A folder's recordings come in the order of their names (2 before 10), its
    folders among them; hidden ones are left out. `notice` names folders with none, `failed` (without it,
    `notice`) of each folder or file that cannot be read.
    """
    tell = failed or (lambda _path, error: notice(str(error)))
    seen: set[object] = set()
    for path in paths:
        if recursive and path != "-" and os.path.isdir(path):
            found = False
            problems = 0

            def fail(where: str, error: OSError) -> None:
                nonlocal problems
                problems += 1
                tell(where, AudioError(f"{where}: cannot be read ({reason(error)}); see to that, or move it"))

            for file in _walk(path, fail):
                found = True
                if _first_time(file, seen):
                    yield file
            if not found and not problems:
                notice(f"{path}: no recordings in this folder")
        elif _first_time(path, seen):
            yield path


def _walk(top: str, fail: Callable[[str, OSError], None]) -> Iterator[str]:
    visited: set[object] = set()
    locked: set[str] = set()
    waiting = [top]  # what comes first is last: no depth of folders is too deep for it
    while waiting:
        path = waiting.pop()
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                if _first_time(path, visited):  # else a link back up
                    waiting += _entries(path)
            elif stat.S_ISREG(mode) and _is_recording(path):
                yield path
        except FileNotFoundError:  # a link that leads nowhere, or it went away
            continue
        except PermissionError as error:
            # Where a folder lets nobody see what its names are, one line says so.
            where = path if os.access(os.path.dirname(path) or ".", os.X_OK) else os.path.dirname(path)
            if where not in locked:
                locked.add(where)
                fail(where, error)
        except OSError as error:
            if error.errno != errno.ELOOP:
                fail(path, error)


def _entries(folder: str) -> list[str]:
    """What is in a folder and not hidden; the first one last."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name[:1] != "."]
    return [os.path.join(folder, name) for name in sorted(names, key=_natural, reverse=True)]


def _is_recording(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    return suffix in AUDIO_SUFFIXES or (suffix != _UNFINISHED and is_recording(path))


def _first_time(path: str, seen: set[object]) -> bool:
    """Is this file new? Symbolic links and other spellings lead to the same device and inode. A file with
    several names of its own (hard links) counts once under each.
    """
    key: object = path
    if path != "-":
        try:
            status = os.stat(path)
            several = status.st_nlink > 1 and not os.path.isdir(path)
            key = os.path.realpath(path) if several else (status.st_dev, status.st_ino)
        except (OSError, ValueError):
            key = os.path.abspath(path)
    if key in seen:
        return False
    seen.add(key)
    return True


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts part2 before part10; equal names in other cases stay in one order."""
    parts = _DIGITS.split(name.casefold())
    return [(int(part[:18]), part) if part.isdecimal() else (0, part) for part in parts], name
