"""The bytes of a recording as FFmpeg asks for them."""

from __future__ import annotations

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.interrupts import called_from_c


class Feed:
    """A ByteStream as FFmpeg reads it.

    PyAV swallows what is not an Exception (Ctrl-C while a pipe is waited for): it is kept here and raised
    when FFmpeg has returned.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._failure: BaseException | None = None

    @called_from_c
    def seekable(self) -> bool:
        return self._stream.seekable

    @called_from_c
    def tell(self) -> int:
        try:
            return self._stream.tell()
        except BaseException as error:
            self._failure = error
            return -1

    @called_from_c
    def seek(self, offset: int, whence: int = 0) -> int:
        """The new position; -1 where there can be none, which a damaged file may ask for."""
        try:
            return self._stream.seek(offset, whence)
        except (OSError, OverflowError, ValueError):
            return -1
        except BaseException as error:
            self._failure = error
            return -1

    @called_from_c
    def read(self, count: int) -> bytes:
        if self._failure is not None:
            return b""
        try:
            return self._stream.read(count)
        except BaseException as error:
            self._failure = error
            return b""

    def check(self) -> None:
        """Raises what was kept."""
        if self._failure is not None:
            raise self._failure
