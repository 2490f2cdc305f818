"""One file of the hub onto this disk: whole, and with the hash that the hub says.

    SHA256.incomplete, under a lock ──bytes, hashed as they come──► fsync ──hash agrees──► SHA256

huggingface_hub has a download of its own, which starts anew after an interruption and does not look at the
hash; files here have gigabytes, so this keeps what came. A broken connection is taken up again where it
broke, some times at once and by the next pull after that. The lock is the one huggingface_hub takes, so that
its programs wait too; where a lock does not hold (some network disks), what two of them mixed up does not
have the hash and gets no name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gemma_audio_cli.errors import ModelDownloadError, Notice
from gemma_audio_cli.models import hub, locks, web
from gemma_audio_cli.models.hub import RemoteFile

Advance = Callable[[int], None]
"""Told of bytes that are here now; negative where they turned out to be worthless."""

_BLOCK = 1 << 20
_TRIES = 5
"""Broken connections in a row that brought nothing."""
_PAUSE = 0.25
"""Seconds before the next connection, doubled by each that brings nothing."""
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


def fetch(
    file: RemoteFile, blob: Path, lock: Path, advance: Advance, notice: Notice, publish: Callable[[], Path]
) -> Path:
    """Brings the file to `blob` and gives it its name with `publish`, whose path is returned.

    A blob that is there is only checked. Raises ModelDownloadError.
    """

    def waiting() -> None:
        notice(f"{file.name}: somebody else is fetching it; waiting")

    # Named under the lock: a removal takes a blob without a name for one that nobody wants.
    with disk_errors(file, blob), locks.held(lock, waiting):
        _bring(file, blob, advance, notice)
        return publish()


def _bring(file: RemoteFile, blob: Path, advance: Advance, notice: Notice) -> None:
    if blob.exists():
        if _check(file, blob, advance):
            return
        notice(f"{file.name}: what is here is damaged; it is fetched again")
        blob.unlink()
    partial = blob.with_name(f"{blob.name}.incomplete")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with _Partial(file, partial, advance) as coming:
        resumed = coming.size > 0
        _complete(coming)
        if coming.digest() != file.blob_name and resumed:
            # What an earlier pull left may have been damaged since.
            notice(f"{file.name}: the part that was here was damaged; it is fetched again")
            coming.restart()
            _complete(coming)
        if coming.digest() != file.blob_name:
            found = coming.digest()
            coming.restart()
            raise ModelDownloadError(
                f"{file.repository}: {file.name} arrived damaged: its hash is {found[:12]}..., not "
                f"{file.blob_name[:12]}... as the hub says; pull it again"
            )
        coming.sync()
    os.replace(partial, blob)


def unfinished(blob: Path) -> int:
    """Bytes of a file that came before, in an interrupted pull."""
    with suppress(OSError):
        return blob.with_name(f"{blob.name}.incomplete").stat().st_size
    return 0


class _Partial:
    """A file that is coming, and the hash of what is there of it."""

    def __init__(self, file: RemoteFile, path: Path, advance: Advance) -> None:
        self.file, self._path, self._advance = file, path, advance
        self.size = 0
        # Not through a link: somebody may have put one there that leads to another file of this person.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "what is there is no regular file", str(path))
        self._out: BinaryIO = os.fdopen(descriptor, "r+b")
        self._digest = _new_digest(file)
        while block := self._out.read(_BLOCK):
            self._count(block)
        if self.size > file.size:
            self.restart()

    def write(self, block: bytes) -> None:
        """More of it; never more than it has."""
        if self.size + len(block) > self.file.size:
            raise ModelDownloadError(
                f"{self.file.repository}: {self.file.name} is longer than the hub says; pull it again later"
            )
        with disk_errors(self.file, self._path):
            self._out.write(block)
        self._count(block)

    def restart(self) -> None:
        """Nothing of it is any good."""
        with disk_errors(self.file, self._path):
            self._out.seek(0)
            self._out.truncate()
        self._advance(-self.size)
        self.size, self._digest = 0, _new_digest(self.file)

    def digest(self) -> str:
        """The hash of what is there."""
        return str(self._digest.hexdigest())

    def sync(self) -> None:
        """Onto the disk itself."""
        self._out.flush()
        os.fsync(self._out.fileno())

    def _count(self, block: bytes) -> None:
        self._digest.update(block)
        self.size += len(block)
        self._advance(len(block))

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()


def _complete(coming: _Partial) -> None:
    """Fetches what lacks, over as many connections as it takes."""
    # Progress is what never was here before: a server that has it thrown away again and again makes none.
    failures, most = 0, coming.size
    while coming.size < coming.file.size:
        try:
            with hub.hub_errors(f"{coming.file.repository}: {coming.file.name}"):
                _stream(coming)
        except _Broken as broken:
            failures = 0 if coming.size > most else failures + 1
            most = max(most, coming.size)
            if failures > _TRIES:
                what = f"{coming.file.repository}: {coming.file.name}"
                raise hub.unreachable(what, broken.reason) from None
            time.sleep(min(8.0, _PAUSE * 2**failures))


class _Broken(Exception):
    """The connection ended too early."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _stream(coming: _Partial) -> None:
    """One connection: from where the file stands to its end."""
    asked = {"Range": f"bytes={coming.size}-"} if coming.size else {}
    try:
        with web.get(coming.file.url, hub.headers() | asked) as answer:
            if coming.size and not _continues(answer, coming.size):
                coming.restart()
            for block in answer.iter_raw():
                coming.write(block)
    except web.Refused as refused:
        if refused.status == 416 and coming.size:
            coming.restart()
            raise _Broken(OSError("it has no such range")) from None
        if refused.status in _TRANSIENT:
            raise _Broken(OSError(str(refused))) from None
        raise
    except Exception as error:
        if hub.is_transport(error):
            raise _Broken(error) from None
        raise
    if coming.size < coming.file.size:
        raise _Broken(OSError("it ended early"))


def _continues(answer: Any, start: int) -> bool:
    """Does the answer begin where it was asked to?"""
    place = str(answer.headers.get("Content-Range", "")).replace(" ", "")
    return answer.status_code == 206 and place.lower().startswith(f"bytes{start}-")


def _check(file: RemoteFile, blob: Path, advance: Advance) -> bool:
    """Has the file that is here the hash it must have?"""
    if blob.stat().st_size != file.size:
        return False
    digest, done = _new_digest(file), 0
    with blob.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
            done += len(block)
            advance(len(block))
    if digest.hexdigest() == file.blob_name:
        return True
    advance(-done)
    return False


def _new_digest(file: RemoteFile) -> Any:
    if file.sha256 is not None:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)  # as git names its objects


@contextmanager
def disk_errors(file: RemoteFile, path: Path) -> Iterator[None]:
    """A disk that fails as one line."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = (
            "make room there, or set HF_HUB_CACHE to a folder on another disk; the same command goes on then"
            if full
            else "check that folder, or set HF_HUB_CACHE to another one"
        )
        raise ModelDownloadError(
            f"{file.name} cannot be stored in {path.parent}: {error.strerror or error}; {remedy}"
        ) from None
