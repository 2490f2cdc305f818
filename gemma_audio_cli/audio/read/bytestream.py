"""Bytes as they arrive, from a file, a pipe or a socket.

A read gives what there is, at once, instead of waiting for all that was asked for: the words of a live pipe
are not held back. What was looked at can be put back, so that a pipe can be examined like a file.
"""

from __future__ import annotations

import io
import os
import select
import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

_CHUNK = 1 << 16
_HEAD = 4096
_MAX_SPOOL = 16 << 30
_PATIENCE = 0.1
"""Seconds that a pipe is waited for before it is asked again whether anybody still wants it."""


class ByteStream:
    """A binary file read forwards; with `seekable`, skipping and `seek` cost nothing."""

    def __init__(self, file: BinaryIO, ours: bool = True, gone: Callable[[], bool] | None = None) -> None:
        """Position 0 is where `file` stands now: a shell may have read some of it already.

        `ours`: close it with the stream.
        """
        self._file, self._ours = file, ours
        self._ahead = b""
        self.seekable = _seekable(file)
        self._stopped = False
        self._gone = gone or (lambda: False)
        # Below Python's buffer, through which nothing was read yet, it can be seen whether anything has come.
        self._source = file if self.seekable else unbuffered(file)
        self._waits = None if self.seekable else _descriptor(self._source)
        self._base = file.tell() if self.seekable else 0
        self._position = 0
        self.head = b""
        """The first bytes (at most 4096) that were read."""

    def read(self, count: int) -> bytes:
        """At least one byte and at most `count`; nothing at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:count], self._ahead[count:]
        else:
            data = self._arriving(count)
        if len(self.head) < _HEAD and self._position == len(self.head):
            self.head += data[: _HEAD - len(self.head)]
        self._position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Put back what was read last."""
        self._ahead = data + self._ahead
        self._position -= len(data)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end, without taking them."""
        data = b""
        while len(data) < count and (more := self.read(count - len(data))):
            data += more
        self.unread(data)
        return data

    def skip(self, count: int) -> int:
        """Drop the next `count` bytes; how many there were."""
        if self.seekable:
            left = self.left() or 0
            self.seek(self._position + min(count, left))
            return min(count, left)
        done = 0
        while done < count and (data := self.read(min(_CHUNK, count - done))):
            done += len(data)
        return done

    def tell(self) -> int:
        """Bytes from the start to what is read next."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file's; only where `seekable`."""
        if not self.seekable:
            raise OSError("a pipe cannot be wound back")
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._file.seek(0, io.SEEK_END) - self._base
        self._ahead = b""
        self._position = self._file.seek(max(0, offset) + self._base) - self._base
        return self._position

    def left(self) -> int | None:
        """Bytes from here to the end; None: a pipe, nobody knows."""
        if not self.seekable:
            return None
        here = self._position
        end = self.seek(0, io.SEEK_END)
        self.seek(here)
        return max(0, end - here)

    def stop(self) -> None:
        """From any thread: what waits for bytes, and who reads from now on, gets to the end."""
        self._stopped = True

    def close(self) -> None:
        """Close the file, if it is ours."""
        if self._ours:
            self._file.close()

    def _arriving(self, count: int) -> bytes:
        source = self._source
        read = source.read1 if isinstance(source, io.BufferedIOBase) else source.read
        while not self._stopped and not self._gone():
            if self._waits is not None and not select.select([self._waits], [], [], _PATIENCE)[0]:
                continue
            data: bytes | None = read(min(count, _CHUNK))
            if data is not None:
                return data
            # A pipe its other end made non-blocking (node does) has nothing yet: that is no end.
            select.select([self._source], [], [], _PATIENCE)
        return b""


def unbuffered(file: BinaryIO) -> BinaryIO:
    """What lies below Python's own buffer, where there is one."""
    return cast(BinaryIO, file.raw) if isinstance(file, io.BufferedReader) else file


def spooled(stream: ByteStream) -> ByteStream:
    """All that is left of a pipe, in a temporary file on disk: for what cannot be read just forwards."""
    file = tempfile.TemporaryFile(prefix="gemma-audio-")  # noqa: SIM115 - its stream closes it
    try:
        while data := stream.read(1 << 20):
            if file.tell() > _MAX_SPOOL:
                raise OSError(f"more than {_MAX_SPOOL >> 30} GiB")
            file.write(data)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return ByteStream(file)


def _seekable(file: BinaryIO) -> bool:
    try:
        return file.seekable()
    except (AttributeError, OSError, ValueError):
        return False


def _descriptor(file: BinaryIO) -> int | None:
    """What can be asked whether bytes have come; None: it cannot be asked (Windows: sockets only)."""
    if os.name == "nt":
        return None
    try:
        number = file.fileno()
        select.select([number], [], [], 0)
    except (AttributeError, OSError, ValueError):
        return None
    return number
