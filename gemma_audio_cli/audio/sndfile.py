"""Files by libsndfile: FLAC, OGG, AIFF, CAF, ... with seeking to the sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import soundfile

from gemma_audio_cli.audio.reader import Floats, cut_short, damaged, drop, reason

_MAX_BLOCK = 1 << 20
_UNKNOWN_FRAMES = 1 << 60


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

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        try:
            self._file = _Forwards(os.fspath(path))
        except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
            raise Unknown(reason(error)) from None
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
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
        if self.frames is not None and done < self.frames - self.rate // 10:
            raise cut_short(self._name, done, self.frames)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
