"""Windows: a recording of any length as pieces a model can hear.

    blocks [n] ──► Window(start, samples [≤ 30 s])

A window that reaches the limit is cut at the quietest point of its last seconds. Only one window is held at a
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.audio.segment.level import levelled
from gemma_audio_cli.errors import AudioError
from gemma_audio_cli.sound import MAX_CLIP_SECONDS, SAMPLE_RATE, Floats

HOP = SAMPLE_RATE // 100
"""10 ms: energies are taken on this grid."""
_SMOOTH = 20
"""Hops a cut must be quiet for: 200 ms."""


@dataclass(frozen=True)
class WindowOptions:
    """How recordings are cut."""

    max_seconds: float = MAX_CLIP_SECONDS
    search_seconds: float = 8.0
    """The cut is looked for in this much of the end of a full window."""
    silence_peak: float = 1e-4
    """A window that never gets louder (of full scale) holds no speech and is not decoded."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.max_seconds <= MAX_CLIP_SECONDS:
            raise ValueError(f"max_seconds must be from 1 to {MAX_CLIP_SECONDS:.0f}")
        if not 0.0 <= self.search_seconds < self.max_seconds:
            raise ValueError("search_seconds must be less than max_seconds")


@dataclass(frozen=True)
class Window:
    """One piece of a recording."""

    start: float
    """Seconds from the recording's start."""
    samples: Floats
    """float32 [n], 16 kHz mono."""
    gain: float = 1.0
    """What the recording's samples were multiplied by, where their level was far from usual."""

    @property
    def end(self) -> float:
        """Seconds from the recording's start to the end of this piece."""
        return self.start + self.seconds

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / SAMPLE_RATE

    @property
    def peak(self) -> float:
        """Largest magnitude; 0 for an empty window."""
        return float(np.abs(self.samples).max()) if len(self.samples) else 0.0


def hop_energy(samples: Floats) -> npt.NDArray[np.float64]:
    """Sum of squares of each whole hop of 10 ms: [len(samples) // HOP]."""
    hops = len(samples) // HOP
    energy: npt.NDArray[np.float64] = (
        np.square(samples[: hops * HOP], dtype=np.float64).reshape(hops, HOP).sum(axis=1)
    )
    return energy


def cut_point(samples: Floats, first: int) -> int:
    """Index in [first, len(samples)] where a cut hurts least: the middle of the quietest 200 ms, the latest
    of equals.
    """
    tail = samples[first:]
    hops = len(tail) // HOP
    if hops <= _SMOOTH:
        return len(samples)
    total = np.concatenate(([0.0], np.cumsum(hop_energy(tail))))
    smooth = total[_SMOOTH:] - total[:-_SMOOTH]
    # A cumulative sum rounds: what differs by less than that is equally quiet.
    quiet = np.flatnonzero(smooth <= smooth.min() + 1e-9 * max(total[-1], 1e-9))
    return first + (int(quiet[-1]) + _SMOOTH // 2) * HOP


def windows(blocks: Iterable[Floats], options: WindowOptions | None = None) -> Iterator[Window]:
    """Blocks float32 [n] of any size as consecutive windows that together are the whole recording."""
    for window in _pieces(blocks, options):
        yield levelled(window)


def _pieces(blocks: Iterable[Floats], options: WindowOptions | None) -> Iterator[Window]:
    options = options or WindowOptions()
    limit = int(options.max_seconds * SAMPLE_RATE)
    search = int(options.search_seconds * SAMPLE_RATE)
    held: list[Floats] = []
    count = done = 0

    def cut() -> Iterator[Window]:
        nonlocal held, count, done
        while count > limit:
            joined = np.concatenate(held)
            at = cut_point(joined[:limit], limit - search)
            yield Window(done / SAMPLE_RATE, joined[:at].copy())
            done += at
            held, count = [joined[at:].copy()], count - at

    failure: AudioError | None = None
    source = iter(blocks)
    while True:
        try:
            block = next(source)
        except StopIteration:
            break
        except AudioError as error:  # a recording damaged in the middle: what came before it counts
            failure = error
            break
        held.append(block)
        count += len(block)
        yield from cut()
    if count:
        yield Window(done / SAMPLE_RATE, np.concatenate(held))
    if failure is not None:
        raise failure
