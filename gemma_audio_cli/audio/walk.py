"""Which recordings a command line means: files as they are named, folders walked, each recording once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from gemma_audio_cli.audio.reader import Notice, reason

_AUDIO = "aac ac3 aif aifc aiff amr ape au caf dts eac3 flac m4a m4b mka mp2 mp3 oga ogg opus spx w64 wav"
_VIDEO = "3g2 3gp asf avi f4v flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"
AUDIO_SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_AUDIO} rf64 tta wave wma wv {_VIDEO}".split())
"""What is taken for a recording in a folder. A file that is named itself is always read."""

_DIGITS = re.compile(r"(\d+)")


def _ignore(_text: str) -> None:
    pass


def expand(paths: Iterable[str], recursive: bool = False, notice: Notice = _ignore) -> Iterator[str]:
    """The recordings behind `paths`, each once, however often and under whatever names it is given.

    Files and "-" are given on as they are, also missing ones, so that opening them says what is wrong; so are
    folders unless `recursive`. A folder's recordings come in the order of their names (2 before 10), its
    folders among them; hidden ones are left out. `notice` is told of folders with none or unreadable.
    """
    seen: set[object] = set()
    for path in paths:
        if recursive and path != "-" and os.path.isdir(path):
            found = False
            for file in _walk(path, set(), notice):
                found = True
                if _first_time(file, seen):
                    yield file
            if not found:
                notice(f"{path}: no recordings in this folder")
        elif _first_time(path, seen):
            yield path


def _walk(folder: str, visited: set[object], notice: Notice) -> Iterator[str]:
    if not _first_time(folder, visited):  # a link back up
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries if entry.name[:1] != "."), key=_natural)
    except OSError as error:
        notice(f"{folder}: this folder cannot be read ({reason(error)}) and is left out")
        return
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            yield from _walk(path, visited, notice)
        elif os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and os.path.isfile(path):
            yield path


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
