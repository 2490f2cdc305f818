"""Whose words these are: segments of a transcript, cut where the speaker changes.

Segment with words + turns ──► Segment of one speaker each, in order of time
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from typing import TypeVar

from gemma_audio_cli.speakers.diarization import Turn
from gemma_audio_cli.transcript import FLAG_OVERLAP, Segment, Word

S = TypeVar("S", bound=Segment)
Name = Callable[[int], str]
"""The number of a speaker (from 0, by appearance) to what is written."""

_NEAR = 1.0
"""Seconds: a word in a pause is of the nearest turn, if it is so near."""
_MENTIONED = 0.5
"""Seconds that somebody speaks in a stretch to be named as one who does."""
_OVERLAPPED = 0.5
"""A segment is flagged where another voice speaks during so much of it."""


class SpeakerTimes:
    """Who speaks when, to be asked about spans of time."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self.turns = tuple(sorted(turns, key=lambda turn: (turn.start, turn.end)))
        self._starts = [turn.start for turn in self.turns]
        self._ends = list(accumulate((turn.end for turn in self.turns), max))  # of all turns so far

    def of(self, start: float, end: float, before: int | None = None) -> int | None:
        """Who says a word from `start` to `end` (seconds). Where two speak, the one who said the word before
        goes on. None: nobody near.
        """
        shares: dict[int, float] = {}
        nearest, distance = None, _NEAR
        for turn in self._around(start - _NEAR, end + _NEAR):
            common = min(end, turn.end) - max(start, turn.start)
            if common > 0:
                shares[turn.speaker] = shares.get(turn.speaker, 0.0) + common
            elif -common < distance:
                nearest, distance = turn.speaker, -common
        if not shares:
            return nearest
        most = max(shares.values())
        if before in shares and shares[before] >= 0.8 * most:
            return before
        return max(shares, key=lambda speaker: shares[speaker])

    def speaking(self, start: float, end: float) -> list[int]:
        """Who speaks from `start` to `end`, in order of their first turns there."""
        shares: dict[int, float] = {}
        for turn in self._around(start, end):
            common = min(end, turn.end) - max(start, turn.start)
            shares[turn.speaker] = shares.get(turn.speaker, 0.0) + common
        return [speaker for speaker, share in shares.items() if share >= _MENTIONED]

    def overlapped(self, start: float, end: float) -> float:
        """Seconds from `start` to `end` in which more than one speaks."""
        edges = sorted(
            edge
            for turn in self._around(start, end)
            for edge in ((max(start, turn.start), 1), (min(end, turn.end), -1))
        )
        total, n, last = 0.0, 0, start
        for time, step in edges:
            total += (time - last) * (n > 1)
            n, last = n + step, time
        return total

    def _around(self, start: float, end: float) -> list[Turn]:
        """The turns that share time with this span."""
        near = self.turns[bisect_right(self._ends, start) : bisect_left(self._starts, end)]
        return [turn for turn in near if turn.end > start]


def by_speaker(segment: S, times: SpeakerTimes, name: Name) -> list[S]:
    """The segment as parts of one speaker each, with their own times; whole where its words have none."""
    if segment.translation is not None or "".join(w.text for w in segment.words) != "".join(
        segment.text.split()
    ):
        speaker = times.of(segment.start, segment.end)
        return [_flagged(replace(segment, speaker=None if speaker is None else name(speaker)), times)]
    parts: list[S] = []
    rest, told = segment.text, segment.written
    for speaker, words in _runs(segment.words, times):
        text, rest = _cut(rest, sum(len(word.text) for word in words))
        label = None if speaker is None else name(speaker)
        written, told = told[: len(words)], told[len(words) :]
        whole = len(words) == len(segment.words)
        tokens = round(segment.tokens * len(words) / len(segment.words))
        part = replace(
            segment,
            start=segment.start if whole else words[0].start,
            end=segment.end if whole else words[-1].end,
            text=text,
            tokens=tokens,
            speaker=label,
            words=tuple(replace(word, speaker=label) for word in words),
            written=written,
        )
        parts.append(_flagged(part, times))
    return parts or [segment]


def _runs(words: Sequence[Word], times: SpeakerTimes) -> list[tuple[int | None, list[Word]]]:
    speakers: list[int | None] = []
    before: int | None = None
    for word in words:
        found = times.of(word.start, word.end, before)
        before = before if found is None else found
        speakers.append(before)
    return [
        (speaker, [word for _, word in run])
        for speaker, run in groupby(zip(speakers, words, strict=True), key=lambda pair: pair[0])
    ]


def _cut(text: str, n: int) -> tuple[str, str]:
    """The text up to its n-th character that is no space, and what follows."""
    for i, character in enumerate(text):
        n -= not character.isspace()
        if n == 0:
            return text[: i + 1].strip(), text[i + 1 :]
    return text.strip(), ""


def _flagged(segment: S, times: SpeakerTimes) -> S:
    length = segment.end - segment.start
    if length <= 0 or times.overlapped(segment.start, segment.end) < _OVERLAPPED * length:
        return segment
    return replace(segment, flags=tuple(sorted({*segment.flags, FLAG_OVERLAP})))
