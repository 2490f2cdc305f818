"""Recordings put together by `cat`, and saved radio: several files in one.

A decoder may hear the first of them only, and say nothing. FFmpeg reads all of an OGG; of joined FLAC it
loses some tenths of a second where a file ends, so there each one is read on its own.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.sndfile import SndfileReader
from gemma_audio_cli.audio.read.tracks import Track
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from typing_extensions import Buffer as WriteableBuffer

_CHUNK = 1 << 20
_OGG_BEGINS = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")
"""A page with the flag "beginning of stream"."""
_FLAC_BEGINS = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""The mark of a file and its first block, which always has 34 bytes."""
_OVERLAP = 16


def is_joined(stream: ByteStream) -> bool:
    """Does another stream begin in this OGG file, behind its first or beside it? Reads all of it; then the
    stream stands at its start again.
    """
    if stream.peek(4) != b"OggS":
        return False
    start = _first_data_page(stream)
    return start < 0 or next(_places(stream, start, _OGG_BEGINS), None) is not None


def flac_files(stream: ByteStream) -> list[int]:
    """Where the FLAC files of this one begin; just [0] of all that are not joined."""
    if stream.peek(4) != b"fLaC":
        return [0]
    return [0, *_places(stream, 4, _FLAC_BEGINS)]


def _places(stream: ByteStream, start: int, mark: re.Pattern[bytes]) -> Iterator[int]:
    """Where `mark` stands, from `start` on; the stream stands at its start afterwards."""
    try:
        stream.seek(start)
        before, at = b"", start
        while data := stream.read(_CHUNK):
            window = before + data
            for found in mark.finditer(window):
                # What ends in the part that was looked at before was found there.
                if found.end() > len(before):
                    yield at - len(before) + found.start()
            at += len(data)
            before = window[-_OVERLAP:]
    finally:
        stream.seek(0)


class JoinedReader:
    """FLAC files one behind the other, as one recording of the first one's rate and channels."""

    def __init__(self, path: Path, begins: list[int], name: str) -> None:
        """Raises Unknown where libsndfile makes nothing of one of them."""
        ends = [*begins[1:], os.path.getsize(path)]
        self._parts: list[SndfileReader] = []
        try:
            for begin, end in zip(begins, ends, strict=True):
                self._parts.append(SndfileReader(_Slice(path, begin, end), name))
        except BaseException:
            self.close()
            raise
        first = self._parts[0]
        self.rate, self.channels, self.layout = first.rate, first.channels, first.layout
        self.tracks: tuple[Track, ...] = ()
        self.frames: int | None = sum(self._frames(part) for part in self._parts)

    def _frames(self, part: SndfileReader) -> int:
        return round((part.frames or 0) * self.rate / part.rate)

    def blocks(self, first: int) -> Iterator[Floats]:
        """Float32 [frames, channels] from frame `first` on."""
        for part in self._parts:
            if first >= self._frames(part) > 0:
                first -= self._frames(part)
                continue
            begin = round(first * part.rate / self.rate)
            first = 0
            resampler = None
            if part.rate != self.rate:
                import soxr

                resampler = soxr.ResampleStream(part.rate, self.rate, self.channels, dtype="float32")
            for block in part.blocks(begin):
                fitted = self._fitted(block)
                yield fitted if resampler is None else resampler.resample_chunk(fitted)
            if resampler is not None:
                yield resampler.resample_chunk(np.empty((0, self.channels), dtype=np.float32), last=True)

    def _fitted(self, block: Floats) -> Floats:
        """With the first one's channels."""
        if block.shape[1] == self.channels:
            return block
        mono = block.mean(axis=1, dtype=np.float32, keepdims=True)
        return np.ascontiguousarray(np.repeat(mono, self.channels, axis=1))

    def close(self) -> None:
        """Close all files."""
        for part in self._parts:
            part.close()


class _Slice(io.RawIOBase):
    """Bytes [begin, end) of a file, as a file."""

    def __init__(self, path: Path, begin: int, end: int) -> None:
        self._file = path.open("rb")
        self._begin, self._end = begin, end
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end - self._begin}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._begin + self._at)
        data = self._file.read(max(0, min(len(view), self._end - self._begin - self._at)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _first_data_page(stream: ByteStream) -> int:
    """Bytes before the first page that begins no stream; -1: two streams begin, side by side."""
    head = stream.peek(1024)
    end = head.find(b"OggS", 4)
    if end < 0:
        return 4
    return -1 if _OGG_BEGINS.match(head, end) else end
