"""Conversations whose speakers and times are known: turns made of single spoken digits of five people.

digits/{digit}_{speaker}_{take}.wav ──► turns of 2 to 8 s, one speaker each ──► samples and who spoke when
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

RATE = 16_000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")
_TAKES = 50
_LOUD = 0.08  # root mean square of every take
_NOISE = 1e-3


@dataclass(frozen=True)
class Spoken:
    """A stretch of one speaker; of a digit, or of a turn."""

    start: float
    end: float
    speaker: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """Sound, and what is known of it."""

    samples: npt.NDArray[np.float32]
    turns: tuple[Spoken, ...]
    digits: tuple[Spoken, ...]


def conversation(
    folder: Path, seed: int, speakers: int, seconds: float, overlapping: float = 0.0
) -> Conversation:
    """`folder` holds the digits. `overlapping`: the share of turns that begin before the one before has
    ended, by 0.3 to 1.5 s; pauses between the others are of 0.1 to 1 s, between digits of up to 0.3 s.
    """
    chance = random.Random(seed)
    people = chance.sample(SPEAKERS, speakers)
    samples = np.zeros(round((seconds + 30) * RATE), np.float32)
    turns: list[Spoken] = []
    digits: list[Spoken] = []
    time = chance.uniform(0.3, 1.0)
    for speaker in _order(chance, people):
        if time >= seconds:
            break
        start, length, said = time, chance.uniform(2, 8), []
        while time - start < length:
            digit = chance.randrange(10)
            take = _take(folder / f"{digit}_{speaker}_{chance.randrange(_TAKES)}.wav")
            first = round(time * RATE)
            samples[first : first + len(take)] += take
            said.append(Spoken(first / RATE, (first + len(take)) / RATE, speaker, str(digit)))
            time = said[-1].end + chance.uniform(0, 0.3)
        digits += said
        turns.append(Spoken(said[0].start, said[-1].end, speaker, " ".join(digit.text for digit in said)))
        overlaps = chance.random() < overlapping
        time = turns[-1].end + (-chance.uniform(0.3, 1.5) if overlaps else chance.uniform(0.1, 1.0))
    samples = samples[: round((max(turn.end for turn in turns) + 0.5) * RATE)]
    samples += np.random.default_rng(seed).normal(0, _NOISE, len(samples)).astype(np.float32)
    return Conversation(samples, tuple(turns), tuple(sorted(digits, key=lambda digit: digit.start)))


def _order(chance: random.Random, people: list[str]) -> Iterator[str]:
    """Who speaks next, for ever: everybody as often, nobody twice in a row unless alone."""
    last = ""
    while True:
        circle = chance.sample(people, len(people))
        if len(people) > 1 and circle[0] == last:
            circle = circle[1:] + circle[:1]
        yield from circle
        last = circle[-1]


@cache
def _take(path: Path) -> npt.NDArray[np.float32]:
    """A digit at 16 kHz and of the usual level, without the silence around it."""
    samples, rate = soundfile.read(path, dtype="float32")
    samples = soxr.resample(samples, rate, RATE).astype(np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    samples = samples[max(0, loud[0] - RATE // 50) : loud[-1] + RATE // 50]
    return np.asarray(samples / np.sqrt(np.mean(samples**2)) * _LOUD, np.float32)
