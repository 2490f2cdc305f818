"""What was heard, kept on disk for the next question: the encoder's rows of windows of sound.

    CACHE/heard/3f/3f9a...c1        one window: mark, size, rows, checksum

A window has the name of its sound and of the model that heard it, so nothing in it has to be looked up, and
another question, another cut or another file with the same sound finds it. Files are private, whole or
absent, and the one that was not used for longest goes first. Nothing in here is trusted: what is not exactly
as it was written is removed. A cache that cannot be used is no error, and is reported once.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gemma_audio_cli.decoding.hearing import KEY_BYTES, Kept
from gemma_audio_cli.errors import Notice, no_notice
from gemma_audio_cli.pipeline.cache_folder import cache_folder
from gemma_audio_cli.sound import TOKENS_A_SECOND

DEFAULT_BYTES = 2_000_000_000
"""Three hours of speech have some 0.8 GB with E2B."""
_MARK = b"gemma-audio-heard-1\n"
_HEAD = struct.Struct("<20s32sIIB")  # mark, key, rows, numbers a row, bytes a number
_CHECK = 32
_MOST_ROWS = 1024  # a window of 30 s has 750
_NAME = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_STALE_S = 3600.0
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def folder() -> Path:
    """Where it lies."""
    return cache_folder() / "heard"


@dataclass(frozen=True)
class Entry:
    """One file of the cache."""

    path: Path
    bytes: int
    used: float
    """Seconds since 1970, of its last use."""


def entries(place: Path) -> list[Entry]:
    """All windows that are kept."""
    found = []
    for path in _files(place):
        with suppress(OSError):
            about = path.lstat()
            if stat.S_ISREG(about.st_mode) and _NAME.fullmatch(path.name):
                found.append(Entry(path, about.st_size, about.st_mtime))
    return found


def seconds_kept(place: Path) -> float:
    """Of sound."""
    rows = 0
    for entry in entries(place):
        with suppress(OSError, ValueError), os.fdopen(os.open(entry.path, _OPEN), "rb") as file:
            rows += _head(file, bytes.fromhex(entry.path.name))[0]
    return rows / TOKENS_A_SECOND


def clear(place: Path) -> int:
    """Removes all of it; the bytes that were freed. Raises OSError where that fails."""
    if place.is_symlink():
        place.unlink()  # what it leads to is none of ours
        return 0
    freed = sum(entry.bytes for entry in entries(place))
    if place.exists():
        shutil.rmtree(place)
    return freed


class SoundCache:
    """A Store (see decoding.hearing) of at most `limit` bytes."""

    def __init__(self, place: Path, limit: int = DEFAULT_BYTES, notice: Notice = no_notice) -> None:
        self._place, self._limit, self._notice = place, limit, notice
        self._begun = time.time()
        self._size: int | None = None
        self._usable: bool | None = None
        self._full = False
        self._reported = False

    def get(self, key: bytes, width: int) -> Kept | None:
        """The rows of this key; what is damaged is removed."""
        if not self._is_usable():
            return None
        path = self._path(key)
        try:
            if path.parent.is_symlink():
                raise ValueError
            rows = _read(path, key)
            if rows.shape[1] != width:
                raise ValueError
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            _remove(path.parent if path.parent.is_symlink() else path)
            return None
        with suppress(OSError):
            os.utime(path)  # a regular file, as was found
        return rows

    def put(self, key: bytes, rows: Kept) -> None:
        """Keeps the rows, where there is room for them beside what this run has used."""
        if self._full or not self._is_usable():
            return
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        body = _HEAD.pack(_MARK, key, *rows.shape, rows.dtype.itemsize) + little.tobytes()
        data = body + hashlib.blake2b(body, digest_size=_CHECK).digest()
        if len(rows) > _MOST_ROWS or not self._make_room(len(data)):
            return
        path = self._path(key)
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        try:
            if path.parent.is_symlink() or not path.parent.is_dir():
                _remove(path.parent)
                path.parent.mkdir(mode=0o700)
            try:
                with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:
                    file.write(data)
                os.replace(temporary, path)
            finally:
                with suppress(OSError):
                    temporary.unlink()
        except OSError as error:
            self._give_up(error.strerror or str(error))
            return
        self._size = (self._size or 0) + len(data)

    # -- steps --

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self._place / name[:2] / name

    def _is_usable(self) -> bool:
        """The folder is there, this person's own and nobody else's."""
        if self._usable is None:
            self._usable = True
            try:
                self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
                about = self._place.lstat()
                if not stat.S_ISDIR(about.st_mode):
                    self._give_up("a link is in its place" if self._place.is_symlink() else "it is no folder")
                elif sys.platform != "win32" and about.st_uid != os.geteuid():
                    self._give_up(f"it belongs to another user ({about.st_uid})")
                elif sys.platform != "win32" and stat.S_IMODE(about.st_mode) != 0o700:
                    self._place.chmod(0o700)
            except OSError as error:
                self._give_up(error.strerror or str(error))
        return self._usable

    def _give_up(self, reason: str) -> None:
        self._usable = False
        self._report(f"{self._place}: what is heard is not kept: {reason}; --no-cache does without")

    def _make_room(self, wanted: int) -> bool:
        """Of what this run has used nothing goes: it would be the first to be asked for next time."""
        if self._size is None:
            self._size = sum(entry.bytes for entry in entries(self._place))
            _remove_stale(self._place)
        if self._size + wanted <= self._limit:
            return True
        left = entries(self._place)
        self._size = sum(entry.bytes for entry in left)
        for entry in sorted(left, key=lambda entry: entry.used):
            # Some more than is needed, so that not every window looks through the folder.
            if self._size + wanted <= 0.95 * self._limit or entry.used >= self._begun:
                break
            if _remove(entry.path):
                self._size -= entry.bytes
        if self._size + wanted <= self._limit:
            return True
        self._full = True
        self._report("not all that is heard is kept for the next question; the setting cache_mb allows more")
        return False

    def _report(self, text: str) -> None:
        if not self._reported:
            self._reported = True
            self._notice(text)


def _files(place: Path) -> Iterator[Path]:
    """Files in the folders of the cache; nothing is followed out of it."""
    if place.is_symlink():
        return
    with suppress(OSError):
        for below in sorted(place.iterdir()):
            if re.fullmatch("[0-9a-f]{2}", below.name) and not below.is_symlink() and below.is_dir():
                with suppress(OSError):
                    yield from sorted(below.iterdir())


def _head(file: BinaryIO, key: bytes) -> tuple[int, int, int, bytes]:
    """Rows, numbers a row, bytes a number, and what says so. Raises ValueError where that cannot be."""
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode) or about.st_size < _HEAD.size + _CHECK:
        raise ValueError
    head = file.read(_HEAD.size)
    mark, name, count, width, size = _HEAD.unpack(head)
    if mark != _MARK or name != key or size not in (2, 4) or not 0 < count <= _MOST_ROWS or not width:
        raise ValueError
    if about.st_size != _HEAD.size + count * width * size + _CHECK:
        raise ValueError
    return count, width, size, head


def _read(path: Path, key: bytes) -> Kept:
    """Raises FileNotFoundError, and ValueError or OSError for what was not written by `put`."""
    with os.fdopen(os.open(path, _OPEN), "rb") as file:
        count, width, size, head = _head(file, key)
        data = file.read(count * width * size)
        if hashlib.blake2b(head + data, digest_size=_CHECK).digest() != file.read(_CHECK):
            raise ValueError
    rows = np.frombuffer(data, dtype="<f2" if size == 2 else "<f4").reshape(count, width)
    if not np.isfinite(rows).all():
        raise ValueError
    return rows


def _remove(path: Path) -> bool:
    """A file, or whatever else lies there; links are not followed."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _remove_stale(place: Path) -> None:
    """What a killed process left."""
    for path in _files(place):
        with suppress(OSError):
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.lstat().st_mtime > _STALE_S:
                path.unlink()
