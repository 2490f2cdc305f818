"""The recordings that accuracy is reported on: none of their takes or voices is trained on. The same every
time.

strings    3 to 7 digits of one human speaker, takes 0-4, with gaps of 20 to 250 ms
commands   the grammar's sentences by synthetic voices of the test set
questions  every kind of question about both
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .clips import SPEAKERS, TEST_TAKES, Clip, load_takes
from .prompts import QUESTION_KINDS, Exchange, question
from .validate import command_clips, digit_string
from .voices import synthesise

_TEST_LINES = 600
_TEST_SEED = 99


@dataclass(frozen=True)
class Recording:
    """A test clip and the group it is reported in: a speaker or a synthetic voice."""

    group: str
    clip: Clip


def digit_strings(speech: Path, each: int, speakers: tuple[str, ...] = SPEAKERS) -> list[Recording]:
    """``each`` strings of every speaker."""
    takes = load_takes(speech, speakers, TEST_TAKES)
    recordings = []
    for speaker in speakers:
        rng = np.random.default_rng([41, SPEAKERS.index(speaker)])
        recordings += [Recording(speaker, digit_string(takes, speaker, 3, 7, rng)) for _ in range(each)]
    return recordings


def commands(cache: Path, count: int) -> list[Recording]:
    """``count`` commands by voices that training never uses; spoken into ``cache`` on the first call."""
    lines = [
        line for line in synthesise(cache, _TEST_LINES, _TEST_SEED, True).lines if line.kind == "command"
    ]
    clips = command_clips(synthesise(cache, _TEST_LINES, _TEST_SEED, True), count)
    return [Recording(line.voice.split("+")[-1], clip) for line, clip in zip(lines, clips, strict=False)]


def questions(
    strings: list[Recording], spoken: list[Recording], each: int
) -> list[tuple[Recording, Exchange]]:
    """``each`` questions of every kind, two thirds about digit strings (sums about nothing else)."""
    rng = np.random.default_rng(43)
    asked = []
    for kind in QUESTION_KINDS:
        for number in range(each):
            of = spoken if number % 3 == 2 and kind != "sum" else strings
            recording = of[int(rng.integers(len(of)))]
            asked.append((recording, question(recording.clip.sentence, kind, rng)))
    return asked
