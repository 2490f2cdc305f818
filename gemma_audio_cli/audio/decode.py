"""Decoding: any file or pipe to blocks of 16 kHz mono float32.

    path or "-" ──► blocks [frames, channels] ──► finite, mixed to mono ──► resampled (soxr) ──► blocks [n]

Nothing holds a whole recording; memory is the same for any length. Every failure is an AudioError of one line
that names the recording and the remedy.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from gemma_audio_cli.audio.wav import WavHeader, read_header, wav_blocks
from gemma_audio_cli.engine.data import SAMPLE_RATE
from gemma_audio_cli.errors import AudioError

Floats = npt.NDArray[np.float32]
Notice = Callable[[str], None]

_BLOCK_SECONDS = 1
_MAX_RATE = 1_000_000
_READABLE = "WAV, FLAC, OGG/Opus or MP3"


def _ignore(_text: str) -> None:
    pass


def display_name(source: str | os.PathLike[str]) -> str:
    """How a recording is called in messages and output."""
    return "(stdin)" if os.fspath(source) == "-" else os.fspath(source)


def samples(source: str | os.PathLike[str], notice: Notice = _ignore) -> Iterator[Floats]:
    """The recording `source` (a path, or "-" for standard input) as blocks float32 [n] of 16 kHz mono.

    `notice` is told, in one line, what is odd but no reason to stop.
    """
    name = display_name(source)
    if os.fspath(source) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise AudioError(f"{name}: standard input is a terminal; pipe a recording into this command")
        yield from _from_stream(sys.stdin.buffer, name, notice)
        return
    path = Path(source)
    header = _examine(path, name)
    yield from _from_file(path, name, notice)
    if header and header.data_size is not None:
        there = path.stat().st_size - header.data_offset
        if there < header.data_size:
            per_second = header.rate * max(header.frame_bytes, 1)
            raise AudioError(
                f"{name}: the file is cut short: {there / per_second:.1f} s of "
                f"{header.data_size / per_second:.1f} s are there; copy it again"
            )


def _examine(path: Path, name: str) -> WavHeader | None:
    """Say plainly what libsndfile would only hint at. The header, where it is a WAV."""
    try:
        if path.is_dir():
            raise AudioError(f"{name}: this is a folder; name the files in it")
        with path.open("rb") as file:
            header, taken = read_header(file)
    except FileNotFoundError:
        raise AudioError(f"{name}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{name}: cannot be opened: {error.strerror or error}") from None
    if not taken:
        raise AudioError(f"{name}: the file is empty; record or copy it again")
    return header


def _from_file(path: str | Path, name: str, notice: Notice) -> Iterator[Floats]:
    try:
        file = soundfile.SoundFile(os.fspath(path))
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise _not_readable(name, error) from None
    with file:
        yield from _to_model_rate(_file_blocks(file, name), file.samplerate, name, notice)


def _file_blocks(file: soundfile.SoundFile, name: str) -> Iterator[Floats]:
    done = 0
    while True:
        try:
            block = file.read(file.samplerate * _BLOCK_SECONDS, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(
                f"{name}: damaged after {done / file.samplerate:.1f} s ({_reason(error)}); copy it again"
            ) from None
        if not len(block):
            return
        done += len(block)
        yield block


def _from_stream(stream: BinaryIO, name: str, notice: Notice) -> Iterator[Floats]:
    """A plain WAV is read as it arrives; anything else goes through a temporary file, for libsndfile must
    seek.
    """
    header, taken = read_header(stream)
    if not taken:
        raise AudioError(f"{name}: nothing came in; pipe a recording into this command")
    if header and header.plain:
        blocks = wav_blocks(stream, header, header.rate * _BLOCK_SECONDS)
        yield from _to_model_rate(blocks, header.rate, name, notice)
        return
    with tempfile.TemporaryDirectory(prefix="gemma-audio-") as folder:
        spool = Path(folder) / "stdin"
        with spool.open("wb") as file:
            file.write(taken)
            shutil.copyfileobj(stream, file, 1 << 20)
        yield from _from_file(spool, name, notice)


def _to_model_rate(blocks: Iterator[Floats], rate: int, name: str, notice: Notice) -> Iterator[Floats]:
    """Blocks float32 [frames, channels] at `rate` to blocks float32 [n] at 16 kHz."""
    if not 0 < rate <= _MAX_RATE:
        raise AudioError(f"{name}: a sample rate of {rate} Hz makes no sense; convert it to WAV first")
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
    frames = bad = 0
    first_bad = 0.0
    for block in blocks:
        with np.errstate(over="ignore", invalid="ignore"):
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        wrong = ~np.isfinite(mono)
        if wrong.any():
            if not bad:
                first_bad = (frames + int(wrong.argmax())) / rate
            bad += int(wrong.sum())
            mono = np.where(wrong, np.float32(0), mono)
        frames += len(mono)
        if resampler:
            mono = resampler.resample_chunk(np.ascontiguousarray(mono))
        if len(mono):
            yield np.ascontiguousarray(mono, dtype=np.float32)
    if not frames:
        raise AudioError(f"{name}: no audio in it (0 samples); record or export it again")
    if bad == frames:
        raise AudioError(f"{name}: no sample is a number (all NaN or infinite); export it again")
    if resampler:
        rest = resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)
        if len(rest):
            yield rest
    if bad:
        notice(
            f"{name}: {bad} samples are NaN or infinite, the first at {first_bad:.2f} s; read as silence; "
            "export it again to be sure"
        )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")


def _not_readable(name: str, error: Exception) -> AudioError:
    return AudioError(
        f"{name}: cannot be read as audio ({_reason(error)}); it must be {_READABLE}: "
        "convert it first, e.g. ffmpeg -i FILE out.wav"
    )
