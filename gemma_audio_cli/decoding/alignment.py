"""When each word was said, by where the model looked when it wrote it.

    a window's answer ──► attention of chosen heads on its sound ──► one place a token, in order
                                                                            │
    word ends = place of the last token + the heads' offset  ◄──────────────┘  (a word takes 0.12 s at least)
    pauses in the sound near a word's end ──► its end, and the next one's start

A model that is about to write a word looks at the sound of that word; which heads do differs by model
(calibration.py finds them). The places are those of the path through (token, place in the sound) that goes
forward only and has the largest sum of log-attention, found by dynamic programming as in dynamic time
warping (Sakoe & Chiba 1978); Whisper's word times are made so (OpenAI, `whisper/timing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemma_audio_cli.audio.segment.windows import HOP, hop_energy
from gemma_audio_cli.sound import SAMPLE_RATE, TOKENS_A_SECOND, Floats

TOKEN_SECONDS = 1 / TOKENS_A_SECOND
_NEAR = 0.16
"""Seconds: a pause that is further from where a word ends by the heads' word is another one."""
_LEAST_WORD = 0.12
"""Seconds between the ends of two words, at least: a pause so shortly before an end is inside of the word."""
_LEAST_STEP = round(_LEAST_WORD / TOKEN_SECONDS)
_SHORTEST = 0.06
"""Seconds a word lasts, at least; what is shorter than that has not been heard before the word ends."""


@dataclass(frozen=True)
class Heads:
    """The attention heads of a model that follow speech."""

    places: tuple[tuple[int, int], ...]
    """(layer, head); layers ascend."""
    offset: float
    """Seconds from the end of the audio token they look at to the end of the word."""
    error: float
    """Seconds by which they miss the ends of the words that they were chosen on, on average, before pauses
    in the sound are looked at.
    """

    @property
    def layers(self) -> list[int]:
        """Those that the heads are in, from the first on."""
        return sorted({layer for layer, _ in self.places})

    def mean(self, attention: Sequence[Floats]) -> Floats:
        """Of the attention of `layers`, each [n_head, rows, places], the heads' mean: [rows, places]."""
        found = dict(zip(self.layers, attention, strict=True))
        heads = [found[layer][head] for layer, head in self.places]
        mean: Floats = np.mean(heads, axis=0, dtype=np.float32)
        return mean


@dataclass(frozen=True)
class Span:
    """Seconds from the start of a window."""

    start: float
    end: float


def path(weights: Floats, steps: Sequence[int]) -> list[int]:
    """The place of each row of `weights` [rows, places]: from the row before on by so many `steps` [rows] at
    least, the largest sum of log-weights. Where there is no room for the steps there are none.
    """
    scores = np.log(weights.astype(np.float64) + 1e-6)
    rows, places = scores.shape
    if sum(steps[1:]) >= places:
        steps = [0] * rows
    best, origins = scores[0], np.zeros((rows, places), dtype=np.int64)
    for row in range(1, rows):
        step = steps[row]
        reached = np.maximum.accumulate(best)
        from_where = np.maximum.accumulate(np.where(best == reached, np.arange(places), 0))
        reached = np.concatenate([np.full(step, -np.inf), reached[: places - step]])
        origins[row, step:] = from_where[: places - step]
        best = reached + scores[row]
    found = [int(best.argmax())]
    for row in range(rows - 1, 0, -1):
        found.append(int(origins[row][found[-1]]))
    return found[::-1]


def word_ends(weights: Floats, last_rows: Sequence[int], offset: float) -> list[float]:
    """Seconds at which words end. `last_rows`: of each word, the row that wrote its last token."""
    places = path(weights, _steps(last_rows, len(weights)))
    return [(places[row] + 1) * TOKEN_SECONDS + offset for row in last_rows]


def _steps(last_rows: Sequence[int], rows: int) -> list[int]:
    """What words take at least, spread over the tokens of each."""
    steps = [0] * rows
    before = -1
    for last in last_rows:
        count = last - before
        for index in range(count):
            steps[before + 1 + index] = _LEAST_STEP * (index + 1) // count - _LEAST_STEP * index // count
        before = max(before, last)
    return steps


def spans(ends: Sequence[float], samples: Floats) -> list[Span]:
    """The words that end at about these moments, in order, fitted to the pauses of their sound.

    Where there is a pause near a word's end, the word ends with its beginning and the next one starts with
    its end; else the two meet where it is least loud. `samples` is the window, 16 kHz.
    """
    loudness = _loudness(samples)
    if not len(loudness):
        return [Span(0.0, 0.0) for _ in ends]
    pauses = _pauses(loudness)
    seconds = len(samples) / SAMPLE_RATE
    ends = [min(max(end, 0.0), seconds) for end in ends]
    start = _first_start(ends[0], pauses) if ends else 0.0
    found = []
    for index, end in enumerate(ends):
        following = ends[index + 1] if index + 1 < len(ends) else None
        stop, onset = _boundary(start, end, following, loudness, pauses, seconds)
        found.append(Span(start, stop))
        start = onset
    return found


def sounding(samples: Floats) -> Span:
    """The window without the pauses at both ends."""
    seconds = len(samples) / SAMPLE_RATE
    loudness = _loudness(samples)
    pauses = _pauses(loudness) if len(loudness) else []
    start = pauses[0].end if pauses and pauses[0].start == 0.0 else 0.0
    end = pauses[-1].start if pauses and pauses[-1].end >= seconds - 0.02 else seconds
    return Span(start, end) if end > start else Span(0.0, seconds)


def _loudness(samples: Floats) -> Floats:
    """dB of each 10 ms."""
    loudness: Floats = (10 * np.log10(hop_energy(samples) / HOP + 1e-10)).astype(np.float32)
    return loudness


def _pauses(loudness: Floats) -> list[Span]:
    """Stretches of 30 ms and more that are far below speech, or hardly above the noise."""
    speech, noise = np.quantile(loudness, (0.95, 0.05))
    quiet = np.concatenate([[False], loudness < max(speech - 25, noise + 6), [False]]).astype(np.int8)
    steps = np.diff(quiet)
    edges = zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    return [Span(float(a) / 100, float(b) / 100) for a, b in edges if b - a >= 3]


def _first_start(end: float, pauses: Sequence[Span]) -> float:
    """Where the first word starts: behind the last real pause before its end."""
    real = [pause for pause in pauses if pause.end - pause.start >= 0.1]
    before = [pause.end for pause in real if pause.end <= end - _LEAST_WORD]
    return before[-1] if before else 0.0


def _boundary(
    start: float,
    end: float,
    following: float | None,
    loudness: Floats,
    pauses: Sequence[Span],
    seconds: float,
) -> tuple[float, float]:
    """Where a word ends and the next one starts. The word itself starts at `start`, its end was found to be
    about `end`, that of the next one about `following`; None: it is the last.
    """
    low = max(end - _NEAR, start + _SHORTEST)
    high = end + _NEAR if following is None else min(end + _NEAR, following - _LEAST_WORD)
    heard = min(start + _SHORTEST, seconds)
    near = [pause for pause in pauses if heard <= pause.start < high and pause.end > low]
    if near:
        pause = min(near, key=lambda pause: max(pause.start - end, end - pause.end, 0.0))
        return pause.start, max(pause.start, pause.end if following is None else min(pause.end, following))
    if following is None:
        stop = max(min(end, seconds), heard)
        return stop, stop
    first = round(max(end - 0.06, low) * 100)
    last = max(first + 1, round(min(end + 0.06, high) * 100) + 1)
    around = loudness[first:last]
    meeting = (first + int(around.argmin())) / 100 if len(around) else end
    meeting = min(max(meeting, heard), seconds)
    return meeting, meeting
