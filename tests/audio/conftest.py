"""Recordings in every container, made with the FFmpeg inside PyAV; and standard input as a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


class Pipe(io.BytesIO):
    """Standard input that cannot seek."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.buffer = self

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError("a pipe")

    def isatty(self) -> bool:
        return False


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Puts bytes into standard input; gives its name."""

    def feed(data: bytes) -> str:
        monkeypatch.setattr(sys, "stdin", Pipe(data))
        return "-"

    return feed


def chirp(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A tone that rises through speech's range, float32 [n]: no two places of it are alike."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (300 * t + 500 / seconds * t**2))).astype(np.float32)


def encode(
    path: Path,
    codec: str,
    data: np.ndarray,
    rate: int,
    *,
    form: str | None = None,
    video: float = 0.0,
    late: float = 0.0,
    skip: tuple[float, float] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """`data` float [n], [n, 2], [n, 6] or [n, 8] as a file; with `video` seconds of picture; sound begins
    `late` seconds in.

    `skip`: (from, to) seconds at which a pause of the recorder is left in the time stamps.
    """
    data = data.reshape(len(data), -1)
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[data.shape[1]]
    with av.open(str(path), "w", format=form, options=options or {}) as out:
        picture = out.add_stream("mpeg4", rate=5) if video else None
        if picture is not None:
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        sound = out.add_stream(codec, rate=rate, layout=layout) if codec else None
        if sound is not None and codec.startswith("wma"):
            sound.bit_rate = 96_000
        for number in range(round(video * 5)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number % 255, np.uint8))
            frame.pts = number
            out.mux(picture.encode(frame))
        if picture is not None:
            out.mux(picture.encode(None))
        if sound is None:
            return path
        values = (np.clip(data, -1, 1) * 32767).astype(np.int16)
        for at in range(0, len(values), 960):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(values[at : at + 960]).reshape(1, -1), format="s16", layout=layout
            )
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            paused = skip[1] - skip[0] if skip and at / rate >= skip[0] else 0.0
            frame.pts = at + round((late + paused) * rate)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def likeness(got: np.ndarray, want: np.ndarray) -> tuple[float, int]:
    """(correlation at the best lag, that lag in samples) of two signals float [n]."""
    count = min(len(got), len(want))
    a, b = (np.fft.rfft(x[:count].astype(np.float64), 2 * count) for x in (got, want))
    products = np.fft.irfft(a * np.conj(b))
    lag = int(products.argmax())
    energy = np.sqrt(np.square(got[:count]).sum() * np.square(want[:count]).sum())
    return float(products[lag] / energy), lag if lag < count else lag - 2 * count


@pytest.fixture
def make_chirp() -> Callable[..., np.ndarray]:
    """`chirp`, for tests: they cannot import this file."""
    return chirp


@pytest.fixture
def make_file() -> Callable[..., Path]:
    """`encode`, for tests."""
    return encode


@pytest.fixture
def alike() -> Callable[..., tuple[float, int]]:
    """`likeness`, for tests."""
    return likeness
