"""Who speaks when: the voices of a recording to turns.

    Voices ──clustering──► speakers ──► whose each frame of a stretch is ──► turns

A change point that the segmentation missed is found by the embeddings: a stretch may be of two speakers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.speakers.clustering import centroids, cluster
from gemma_audio_cli.speakers.limits import MOST_SPEAKERS
from gemma_audio_cli.speakers.networks import FRAME, SpeakerNetworks
from gemma_audio_cli.speakers.segmentation import seconds_of
from gemma_audio_cli.speakers.voices import VoiceReader, Voices, overlaps

_CLEAR = 0.6
"""Seconds from which on an embedding may found a speaker; shorter ones only join."""
_SHORTEST = 0.25
_NEARLY = 0.05
"""Cosine that a second speaker of one moment may be less likely by."""
_PAUSE = 0.4
"""A shorter pause of one speaker is no end of the turn."""


@dataclass(frozen=True)
class Turn:
    """One speaker, without a pause that matters."""

    start: float
    """Seconds from the start of what was heard."""
    end: float
    speaker: int
    """From 0, in order of appearance."""


@dataclass(frozen=True)
class Diarization:
    """Who speaks when."""

    turns: tuple[Turn, ...]
    """In order of their starts. Two overlap where both speak."""
    voices: Floats
    """[speakers, 192]: what each is like."""


class Diarizer:
    """Who speaks when in one recording, told when all of it was heard."""

    def __init__(
        self, networks: SpeakerNetworks, speakers: int | None = None, most: int = MOST_SPEAKERS
    ) -> None:
        """`speakers`: how many there are; None: found, `most` at most."""
        self._reader, self._speakers, self._most = VoiceReader(networks), speakers, most

    def push(self, samples: Floats) -> None:
        """More samples [n] at 16 kHz."""
        self._reader.push(samples)

    def finish(self) -> Diarization:
        """Everything that can be said."""
        return diarize(self._reader.finish(), self._speakers, self._most)


def diarize(voices: Voices, speakers: int | None = None, most: int = MOST_SPEAKERS) -> Diarization:
    """The turns in a recording with these voices."""
    if not len(voices.vectors):
        return Diarization((), voices.vectors)
    clear = _clear_rows(voices)
    labels = cluster(voices.vectors[clear], speakers, most)
    centres = centroids(voices.vectors[clear], labels)
    found = turns_of(voices, centres)
    # Speakers are numbered as they appear; one who is nowhere the likeliest is none.
    order = list(dict.fromkeys(turn.speaker for turn in found))
    turns = tuple(replace(turn, speaker=order.index(turn.speaker)) for turn in found)
    return Diarization(turns, centres[order])


def turns_of(voices: Voices, speakers: Floats) -> list[Turn]:
    """The turns of speakers whose voices [k, 192] are known, by their rows."""
    speak = _whose(voices, speakers)
    turns = [
        Turn(seconds_of(start - 0.5), seconds_of(end - 0.5), speaker)
        for speaker in range(len(speakers))
        for start, end in _runs(speak[:, speaker])
    ]
    return sorted(turns, key=lambda turn: (turn.start, turn.end))


def _clear_rows(voices: Voices) -> npt.NDArray[np.int_]:
    """The vectors that may found a speaker: of sound that is long enough, of one voice. All, if none is."""
    mixed = np.concatenate([[0], np.cumsum(overlaps(voices.stretches, voices.frames))])
    rows, clear = [], []
    for stretch in voices.stretches:
        for row, (start, end) in enumerate(stretch.spans, stretch.first):
            n = int(mixed[min(end, voices.frames)] - mixed[min(start, voices.frames)])
            rows.append(row)
            if (end - start - n) * FRAME >= _CLEAR * SAMPLE_RATE and n <= 0.3 * (end - start):
                clear.append(row)
    return np.array(clear or rows, int)


def _whose(voices: Voices, centres: Floats) -> npt.NDArray[np.bool_]:
    """[frames, speakers]: who speaks. Each frame of a stretch is its likeliest speaker's, by the embeddings
    that it is in. Where two stretches meet in time, the one that is less sure takes another speaker than the
    other, if there is one that is nearly as likely: else one voice was heard as two.
    """
    speak = np.zeros((voices.frames, len(centres)), bool)
    scored = []
    for stretch in voices.stretches:
        if not stretch.spans:
            continue
        alike = voices.vectors[stretch.first : stretch.first + len(stretch.spans)] @ centres.T
        scores = np.zeros((stretch.end - stretch.start, len(centres)), np.float32)
        n = np.zeros((len(scores), 1), np.float32)
        for (start, end), score in zip(stretch.spans, alike, strict=True):
            scores[start - stretch.start : end - stretch.start] += score
            n[start - stretch.start : end - stretch.start] += 1
        scores /= np.maximum(n, 1)
        scored.append((float(scores.max(axis=1).mean()), stretch, scores))
    for _, stretch, scores in sorted(scored, key=lambda item: -item[0]):
        part = speak[stretch.start : stretch.end]
        best = scores.argmax(axis=1)
        others = np.where(part, scores - _NEARLY, scores).argmax(axis=1)
        part[np.arange(len(part)), np.where(part.any(axis=1), others, best)] = True
    return speak


def _runs(speaks: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """From and to frame of what is one turn each."""
    edges = np.flatnonzero(np.diff(speaks.astype(np.int8), prepend=0, append=0)).tolist()
    runs: list[tuple[int, int]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if runs and (start - runs[-1][1]) * FRAME <= _PAUSE * SAMPLE_RATE:
            start = runs.pop()[0]
        runs.append((start, end))
    return [(start, end) for start, end in runs if (end - start) * FRAME >= _SHORTEST * SAMPLE_RATE]
