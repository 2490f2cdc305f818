"""Files by libsndfile: FLAC, OGG, AIFF, CAF, ... with seeking to the sample."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import soundfile

from gemma_audio_cli.audio.read.reader import LOST, cut_short, damaged, drop, reason
from gemma_audio_cli.audio.read.tracks import Track
from gemma_audio_cli.sound import Floats

_MAX_BLOCK = 1 << 20
_UNKNOWN_FRAMES = 1 << 60


_MAGIC = (
    b"fLaC", b"OggS", b"FORM", b"caff", b"riff\x2e\x91\xcf\x11", b".snd", b"dns.", b"RIFX", b"NIST_1A",
    b"Creative Voice File", b"2BIT", b" paf", b"fap ", b"PVF1", b"MATLAB 5.0", b"Extended Instrument",
    b"\x64\xa3\x01\x00", b"\x00\x01\xa3\x64",
)  # fmt: skip


def looks_known(head: bytes) -> bool:
    """Does the file say by its first bytes that it is one for libsndfile?

    Others are never given to it: it goes by the name alone then, and its MP3 decoder prints what it makes of
    a web page that is called .mp3.
    """
    return head.startswith(_MAGIC)


class Unknown(Exception):
    """libsndfile makes nothing of the file; something else may."""


class _Forwards(soundfile.SoundFile):  # type: ignore[misc]
    """SoundFile.read ends with a seek to where a seekable file stands anyway: that is slow, and decoders with
    a memory lose it (in MP3 one hears every block begin).
    """

    def seekable(self) -> bool:
        return False


class SndfileReader:
    """A file libsndfile can open; the constructor raises Unknown for any other."""

    def __init__(self, file: Path | io.RawIOBase, name: str) -> None:
        """`file`: its path, or the file itself, opened, which is closed with the reader."""
        self._name, self._opened = name, None if isinstance(file, Path) else file
        try:
            self._file = _Forwards(os.fspath(file) if isinstance(file, Path) else file)
        except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
            raise Unknown(reason(error)) from None
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.layout: tuple[str, ...] = ()
        self.tracks: tuple[Track, ...] = ()
        frames: int = self._file.frames
        self.frames = frames if 0 <= frames < _UNKNOWN_FRAMES else None

    def blocks(self, first: int) -> Iterator[Floats]:
        """Float32 [frames, channels] from frame `first` on."""
        if not first:
            return self._read(0)
        if self.frames is not None and first >= self.frames:
            return iter(())
        try:
            self._file.seek(first)
        except (soundfile.SoundFileError, RuntimeError, ValueError):
            return drop(self._read(0), first)
        return self._read(first)

    def _read(self, done: int) -> Iterator[Floats]:
        # A tenth of a second: the block that holds the damage is lost.
        count = max(1, min(self.rate // 10, _MAX_BLOCK // self.channels))
        while True:
            try:
                block = self._file.read(count, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise damaged(self._name, done / self.rate, reason(error)) from None
            if not len(block):
                break
            done += len(block)
            yield block
        if self.frames is not None and done < self.frames - LOST * self.rate:
            raise cut_short(self._name, done, self.frames)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._opened is not None:
            self._opened.close()
