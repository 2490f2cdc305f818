"""A recording that grows: mono, 16 bit, WAV, FLAC or OGG (Opus), good at every moment.

    blocks [n] ──► int16 ──► wave, or libsndfile ──► the file, unbuffered

A process that is killed leaves a file that plays: WAV's header is brought up to date with every block, FLAC
and OGG need none; what the encoder held, about a second at most, is all that lacks. When the disk is full the
encoder still needs room to end the file well, so some is held from the beginning: the ballast.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import tempfile
import wave
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, cast

import numpy as np

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.files import OutputError
from gemma_audio_cli.sound import Floats

KINDS = (".wav", ".flac", ".ogg")
"""Extensions, which say what is written."""
MIN_RATE, MAX_RATE = 8_000, 192_000
"""Samples a second of WAV and FLAC."""
OGG_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Those of Opus. Vorbis would take others, but holds back seconds of quiet speech until a page is full."""
MAX_WAV_BYTES = 0xFFFFFFFF - 36
"""Of samples: sizes in a WAV's header have 32 bits, and one of them counts 36 bytes of header."""
_BALLAST = 1 << 18


def check_output(path: str | os.PathLike[str], rate: int, *, overwrite: bool = False) -> str:
    """The kind of recording a path stands for, one of KINDS. Raises UsageError if none may begin there, or
    none with so many samples a second.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UsageError(f"{path}: recordings are .wav, .flac or .ogg; let the name end with one of these")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(f"{path}: cannot record at {rate} Hz; choose from {MIN_RATE} to {MAX_RATE}")
    if kind == ".ogg" and rate not in OGG_RATES:
        rates = ", ".join(map(str, OGG_RATES))
        raise UsageError(f"{path}: OGG cannot hold {rate} Hz; choose one of {rates}, or record a .flac")
    if path.exists() or path.is_symlink():
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is there and is no file; choose another name")
        if not overwrite:
            raise UsageError(
                f"{path}: is there already, and a recording cannot be made again; choose another name, "
                "or replace it with --overwrite"
            )
    return kind


class Recorder:
    """One recording; a context manager, and closed by itself when it fails."""

    def __init__(self, path: str | os.PathLike[str], rate: int, *, overwrite: bool = False) -> None:
        """Makes the file. Raises UsageError (`check_output`) or OutputError."""
        self.path, self.rate = Path(path), rate
        self._samples = 0
        self._encoder: _Encoder | None = None
        kind = check_output(path, rate, overwrite=overwrite)
        try:
            self._file = _File(self.path, "w+" if overwrite else "x+")
        except FileExistsError:  # since we looked
            raise UsageError(f"{path}: is there already; replace it with --overwrite") from None
        except OSError as error:
            raise self._error(error) from None
        self._encoder = _Wave(self._file, rate) if kind == ".wav" else _Sound(self._file, rate, kind)
        self._check()

    @property
    def seconds(self) -> float:
        """Of sound that is recorded."""
        return self._samples / self.rate

    def write(self, block: Floats) -> None:
        """Adds float32 [n]; beyond full scale is cut. Raises OutputError, with the file closed and good."""
        encoder = self._encoder
        if encoder is None:
            raise ValueError(f"{self.path}: written to after its end")
        finite = np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0)
        samples = np.clip(np.rint(finite * 32_768.0), -32_768, 32_767).astype("<i2")
        # At most a second at a time: what a full disk takes is known soon.
        for at in range(0, len(samples), self.rate):
            piece = samples[at : at + self.rate]
            if isinstance(encoder, _Wave) and 2 * (self._samples + len(piece)) > MAX_WAV_BYTES:
                self.close()
                raise OutputError(
                    f"{self.path}: a WAV file ends at 4 GiB; the first {self.seconds:.1f} s are kept; "
                    "record longer ones as .flac or .ogg"
                )
            encoder.write(piece)
            if not self._file.dropped:
                self._samples += len(piece)
            self._check()

    def close(self) -> None:
        """Completes the file. Raises OutputError if it could not be; may be called again."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        encoder.close()
        self._file.close()
        if self._file.error is not None:
            raise self._error(self._file.error)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._file.error is not None:
            self.close()

    def _error(self, error: OSError) -> OutputError:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None), errno.EFBIG)
        remedy = "make room there, or choose another place" if full else "choose another place"
        kept = f"; the first {self.seconds:.1f} s are kept" if self._samples else ""
        return OutputError(f"{self.path}: cannot be written: {error.strerror or error}{kept}; {remedy}")


class _Encoder(Protocol):
    def write(self, samples: Any, /) -> None:
        """Adds int16 [n]."""

    def close(self) -> None: ...


class _Wave:
    def __init__(self, file: _File, rate: int) -> None:
        self._wave = wave.Wave_write(cast("IO[bytes]", file))
        self._wave.setparams((1, 2, rate, 0, "NONE", ""))
        self._wave.writeframes(b"")

    def write(self, samples: Any) -> None:
        self._wave.writeframes(samples.tobytes())

    def close(self) -> None:
        self._wave.close()


class _Sound:
    def __init__(self, file: _File, rate: int, kind: str) -> None:
        import soundfile

        form, subtype = ("FLAC", "PCM_16") if kind == ".flac" else ("OGG", "OPUS")
        self._sound = soundfile.SoundFile(file, "w", rate, 1, subtype, format=form)

    def write(self, samples: Any) -> None:
        self._sound.write(samples)

    def close(self) -> None:
        self._sound.close()


class _File(io.RawIOBase):
    """A file that encoders write to. To them nothing ever fails: `error` is to be looked at.

    The first failure frees the ballast, which is room to end the file well. If that does not help, nothing
    more is written: the file stays as a kill would have left it, and that is readable.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__()
        self.error: OSError | None = None
        self.dropped = False
        """Something was not written."""
        self._ballast: IO[bytes] | None = None
        try:
            self._ballast = _make_ballast(path.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
                raise
        try:
            self._file = io.FileIO(path, mode)
        except OSError:
            self._free()
            raise

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        size, end = len(left), os.fstat(self._file.fileno()).st_size
        while len(left) and not self.dropped:
            try:
                left = left[self._file.write(left) :]
            except OSError as error:
                self.error = self.error or error
                if self._ballast is None:
                    self.dropped = True
                    self._cut(end)
                self._free()
        return size

    def readinto(self, buffer: Any, /) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._free()
            try:
                os.fsync(self._file.fileno())
                self._file.close()
            except OSError as error:
                self.error = self.error or error
        super().close()

    def _cut(self, end: int) -> None:
        # Half a frame at the end would be taken for damage. What fails within the file changes no length.
        with suppress(OSError):
            self._file.truncate(end)

    def _free(self) -> None:
        if self._ballast is not None:
            with suppress(OSError):
                self._ballast.close()
            self._ballast = None


def _make_ballast(folder: Path) -> IO[bytes]:
    """A nameless file of so many bytes that do not compress; it is gone with the process at the latest."""
    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by who holds it
    try:
        left = memoryview(secrets.token_bytes(_BALLAST))
        while len(left):
            left = left[file.write(left) :]
    except OSError:
        file.close()
        raise
    return file
