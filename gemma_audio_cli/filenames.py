"""Names of results: one for each input, none the same, each as long as the file system allows."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

STDIN = "-"
PARTIAL = ".partial"
"""What the name of an unfinished result that was kept ends with, after all."""

_LONGEST_NAME = 255
"""Bytes of a name where the file system does not say."""


def stems(inputs: Sequence[str], longest: int = 235) -> list[str]:
    """A file name, without extension, for each of the inputs, all of them different, also on file systems
    that take `A` and `a` for the same.

    talk.mp3 is `talk`. Of those that would be the same each gets what tells it from the others: its extension
    (talk.mp3, talk.wav), or its folders (monday_talk, tuesday_talk). The names do not depend on the order.
    None has more than `longest` bytes; what is longer is cut.
    """
    names = [_Name(name, longest) for name in inputs]
    while True:
        groups = defaultdict[str, list[int]](list)
        for index, name in enumerate(names):
            groups[_fold(name.stem)].append(index)
        same = [group for group in groups.values() if len(group) > 1]
        if not same:
            return [name.stem for name in names]
        for group in same:
            files = {_fold(Path(names[i].input).name) for i in group}
            by_extension = len(files) == len(group) and not all(names[i].extension for i in group)
            for i in group:
                names[i] = names[i].longer(by_extension)


@dataclass(frozen=True)
class _Name:
    """How an input is called, as long as it takes."""

    input: str
    longest: int
    extension: bool = False
    folders: int = 0

    @property
    def stem(self) -> str:
        if self.input == STDIN:
            return "stdin" if not self.folders else cut_name("stdin", 0, self.input)
        path = Path(os.path.abspath(self.input))
        base = path.name if self.extension else re.sub(r"(?<=.)\.[A-Za-z0-9]{1,5}$", "", path.name)
        above = [part for part in path.parent.parts if part != path.anchor]
        stem = "_".join([*above[len(above) - min(self.folders, len(above)) :], base])
        if self.folders > len(above):
            stem = f"{stem}{cut_name(stem, 0, str(path))}"
        return cut_name(stem, self.longest, str(path))

    def longer(self, by_extension: bool) -> _Name:
        if by_extension:
            return replace(self, extension=True)
        return replace(self, folders=self.folders + 1)


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def longest_name(folder: Path) -> int:
    """Bytes that the file system of a folder, or of the nearest one above it that is there, allows a name."""
    while hasattr(os, "pathconf"):
        try:
            return os.pathconf(folder, "PC_NAME_MAX")
        except FileNotFoundError:
            if folder == folder.parent:
                break
            folder = folder.parent
        except (OSError, ValueError):
            break
    return _LONGEST_NAME


def cut_name(stem: str, longest: int, whole: str) -> str:
    """The name as it is where it has at most `longest` bytes; else as much of its beginning as fits with what
    no other `whole` path has.
    """
    data = os.fsencode(stem)
    if len(data) <= longest:
        return stem
    mark = f"-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]}"
    return data[: max(0, longest - len(mark))].decode("utf-8", "ignore") + mark


def partial_path(final: Path, number: str = "") -> Path:
    """What an unfinished result is called that is kept."""
    ending = f"{number}{PARTIAL}"
    room = longest_name(final.parent) - len(ending)
    return final.with_name(f"{cut_name(final.name, room, str(final))}{ending}")


def identity(path: str | os.PathLike[str]) -> object:
    """What is the same for all names of a file: links, hard links, spellings. Else its path."""
    with suppress(OSError, ValueError):
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            return status.st_dev, status.st_ino
    return os.path.normcase(os.path.realpath(path))
