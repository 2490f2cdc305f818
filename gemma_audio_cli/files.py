"""Files that are there whole or not at all.

    .gemma-audio-XXXXXXXX.tmp, locked ──write──► fsync ──► renamed to the final name ──► folder fsync

A process that is killed leaves its temporary, whose lock ends with it; whoever works in that folder next
finds a temporary that nobody holds and removes it.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from gemma_audio_cli.descriptors import own_descriptor
from gemma_audio_cli.errors import GemmaAudioError
from gemma_audio_cli.filenames import partial_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = "choose another place with -o"

_PREFIX, _SUFFIX = ".gemma-audio-", ".tmp"


class OutputError(GemmaAudioError):
    """A result cannot be written.

    It ends the run: what is wrong with one file is wrong with all in its folder.
    """

    exit_code = 1


class AtomicFile:
    """A text file (UTF-8, \\n) that gets its name when it is complete. A Sink.

        with AtomicFile(path) as file:
            file.write("...")

    The end of the block commits; an exception in it discards. A device, a pipe or an open descriptor
    (/dev/stderr, /dev/fd/3) is written to directly.
    """

    def __init__(self, path: str | os.PathLike[str], *, remedy: str = ELSEWHERE) -> None:
        """Creates the temporary; the final file is not touched. `remedy`: what to do where it cannot be
        written.
        """
        self.path, self._remedy = Path(path), remedy
        # Through a symbolic link: the file it names is replaced, not the link.
        self._final = Path(os.path.realpath(self.path))
        self._temporary: Path | None = None
        own = own_descriptor(path)
        with disk_errors(self.path, remedy):
            if own is not None:
                descriptor = os.dup(own)
            elif _is_special(self.path):
                descriptor = os.open(self.path, os.O_WRONLY)
            elif self._final.is_dir():
                raise IsADirectoryError(None, "this is a folder")
            else:
                self._temporary, descriptor = self._create(self._final)
                _keep_mode(self._final, self._temporary)
            self._file: TextIO | None = os.fdopen(
                descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="\n"
            )

    def write(self, text: str, /) -> None:
        """Add text."""
        with disk_errors(self.path, self._remedy):
            self._open_file().write(text)

    def flush(self) -> None:
        """Pass on to the system what was written, so that a full disk is known early."""
        with disk_errors(self.path, self._remedy):
            self._open_file().flush()

    def commit(self, name: Path | None = None, *, mtime_ns: int | None = None) -> None:
        """Complete: on disk, then under its name (or, instead, `name` in the same folder).

        `mtime_ns`: the modification time it shall bear, in ns since 1970.
        """
        file = self._open_file()
        try:
            with disk_errors(self.path, self._remedy):
                file.flush()
                if self._temporary is None:
                    file.close()
                else:
                    os.fsync(file.fileno())
                    self._publish(file, self._temporary, name or self._final, mtime_ns)
                self._file = None
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing. May be called at any time, also after commit, and then does nothing."""
        file, self._file = self._file, None
        if file is None:
            return
        # What is still in the buffer meets the same full disk again.
        with suppress(OSError):
            file.close()
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()

    @staticmethod
    def _create(final: Path) -> tuple[Path, int]:
        """The file that gets the name in the end, and its descriptor."""
        return _create_locked(final.parent)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._file is not None:
            self.commit()
        else:
            self.discard()

    def _open_file(self) -> TextIO:
        if self._file is None:
            raise ValueError(f"{self.path}: written to after its end")
        return self._file

    @staticmethod
    def _publish(file: TextIO, temporary: Path, final: Path, mtime_ns: int | None) -> None:
        # Windows renames no open file. Elsewhere the lock, which ends with closing, lasts until the temporary
        # name is gone.
        if os.name == "nt":
            file.close()
        if mtime_ns is not None:
            os.utime(temporary, ns=(mtime_ns, mtime_ns))
        os.replace(temporary, final)
        file.close()
        _sync_folder(final.parent)


class GrowingFile(AtomicFile):
    """Until it is complete it is NAME.partial: what it holds can be watched, and a killed process leaves it.

    So for what cannot be made again. What is discarded stays as it is.
    """

    def write(self, text: str, /) -> None:
        """Add text, at once."""
        super().write(text)
        self.flush()

    def discard(self) -> None:
        """Close it."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    @staticmethod
    def _create(final: Path) -> tuple[Path, int]:
        number = 0
        while True:  # an earlier one is not touched
            path = partial_path(final, f".{number}" if number else "")
            with suppress(FileExistsError):
                return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            number += 1


def remove_stale(folder: Path) -> int:
    """Removes the temporaries in the folder that no living process holds; how many."""
    removed = 0
    with suppress(OSError):
        for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    if try_lock(descriptor):
                        if os.name == "nt":
                            os.close(descriptor)
                            descriptor = -1
                        path.unlink()
                        removed += 1
                finally:
                    if descriptor >= 0:
                        os.close(descriptor)
    return removed


def make_folder(folder: Path) -> None:
    """Makes the folder, with those above it; an OutputError if it cannot be made or written in."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary, descriptor = _create_locked(folder)
        temporary.unlink()
        os.close(descriptor)


def _create_locked(folder: Path) -> tuple[Path, int]:
    """A new temporary, and its descriptor, which holds the lock."""
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o666)
        # Between these two lines another process may take the file for a stale one, lock and remove it.
        try_lock(descriptor)
        with suppress(OSError):
            if os.name == "nt" or os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return path, descriptor
        os.close(descriptor)


if sys.platform == "win32":

    def try_lock(descriptor: int) -> bool:
        """Nothing to do: what another process has open cannot be removed there."""
        return True
else:
    import errno
    import fcntl

    _NO_LOCK = (errno.EWOULDBLOCK, errno.EACCES, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

    def try_lock(descriptor: int) -> bool:
        """Locks the file if nobody else has; whether it is ours. It ends with the process, at the latest."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Held by somebody, or on a file system without locks, where nothing is ever taken for stale.
            if error.errno not in _NO_LOCK:
                raise
            return False
        return True


def _sync_folder(folder: Path) -> None:
    """The rename itself on disk; some file systems cannot, and Windows has no such call."""
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _keep_mode(final: Path, temporary: Path) -> None:
    """What a person made private stays private when it is replaced."""
    with suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(final.stat().st_mode))


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def disk_errors(path: Path, remedy: str = ELSEWHERE) -> Iterator[None]:
    """Inside, an OSError becomes an OutputError: one line that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written: {reason}; {_remedy(error, remedy)}") from None


def _remedy(error: OSError, elsewhere: str) -> str:
    import errno as codes

    if error.errno in (codes.ENOSPC, codes.EDQUOT, codes.EFBIG):
        return f"make room there, or {elsewhere}"
    if isinstance(error, FileNotFoundError):
        return f"create the folder first, or {elsewhere}"
    return elsewhere
