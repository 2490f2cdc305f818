"""What the voices of a recording are like: stretches of one voice, and an embedding for each 1.5 s of them.

    samples ──► Segmentation ──► stretches ──► mel frames of 1.5 s every 0.75 s ──► vectors

It works as the samples come and keeps those of the stretch at hand only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.speakers.networks import (
    EMBEDDING_SIZE,
    FRAME,
    MEL_BINS,
    SpeakerNetworks,
    mel_frames,
)
from gemma_audio_cli.speakers.segmentation import TRACKS, Segmentation, sample_of

LENGTH, HOP = round(1.5 * SAMPLE_RATE), round(0.75 * SAMPLE_RATE)
"""Samples of which one embedding is made, and from one to the next."""
_MELS = 1 + (LENGTH - 400) // 160  # frames of 25 ms, one every 10 ms
_LEAST_MELS = 10
_BATCH = 8
_SOMEBODY = 0.5
_LONGEST = 30 * SAMPLE_RATE // FRAME
"""Frames at which a stretch is ended: samples do not pile up."""


@dataclass(frozen=True)
class Stretch:
    """A time in which one voice speaks without a pause; another may speak at the same time."""

    start: int
    """Frames of the segmentation, from the recording's start."""
    end: int
    first: int
    """Its embeddings are the rows of the vectors from here on, as many as it has spans."""
    spans: tuple[tuple[int, int], ...]
    """What each of them was made of, in frames; none where the stretch is too short."""


@dataclass(frozen=True)
class Voices:
    """All of a recording's."""

    stretches: tuple[Stretch, ...]
    """In order of their starts."""
    vectors: Floats
    """[n, 192], of length 1."""
    frames: int


class VoiceReader:
    """The voices of one recording."""

    def __init__(self, networks: SpeakerNetworks) -> None:
        self._networks = networks
        self._segmentation = Segmentation(networks)
        self._samples = np.zeros(0, np.float32)  # from sample `_at` on
        self._at = 0
        self._frames = 0
        self._open: list[int | None] = [None] * TRACKS  # the frame at which each track's voice began
        self._stretches: list[Stretch] = []
        self._vectors: list[Floats] = []
        self._mels: list[Floats] = []  # of embeddings to be made

    def push(self, samples: Floats) -> None:
        """More samples [n] at 16 kHz."""
        self._samples = np.concatenate([self._samples, samples])
        self._take(self._segmentation.push(samples))

    def finish(self) -> Voices:
        """All that was heard."""
        self._take(self._segmentation.finish())
        for track in range(TRACKS):
            self._close(track, self._frames)
        self._embed()
        vectors = np.array(self._vectors, np.float32).reshape(-1, EMBEDDING_SIZE)
        # In order of time, however the samples came.
        stretches: list[Stretch] = []
        rows: list[int] = []
        for stretch in sorted(self._stretches, key=lambda s: (s.start, s.end, s.first)):
            stretches.append(replace(stretch, first=len(rows)))
            rows.extend(range(stretch.first, stretch.first + len(stretch.spans)))
        return Voices(tuple(stretches), vectors[rows], self._frames)

    def _take(self, activity: Floats) -> None:
        """More of the segmentation."""
        active = speaking(activity)
        events = [
            (self._frames + int(frame), track)
            for track in range(TRACKS)
            for frame in np.flatnonzero(np.diff(active[:, track], prepend=self._open[track] is not None))
        ]
        for frame, track in sorted(events):
            self._end_long(frame)
            if self._open[track] is None:
                self._open[track] = frame
            else:
                self._close(track, frame)
        self._frames += len(activity)
        self._end_long(self._frames)
        first = min((start for start in self._open if start is not None), default=self._frames)
        gone = max(0, _edge(first) - self._at)
        self._samples, self._at = self._samples[gone:], self._at + gone

    def _end_long(self, now: int) -> None:
        """Stretches that have become too long by the frame `now` are ended, and begin anew."""
        for track in range(TRACKS):
            while (start := self._open[track]) is not None and now - start > _LONGEST:
                self._close(track, start + _LONGEST)
                self._open[track] = start + _LONGEST

    def _close(self, track: int, end: int) -> None:
        """The voice on this track ends."""
        start, self._open[track] = self._open[track], None
        if start is None or end <= start:
            return
        first, last = _edge(start), _edge(end)
        places = [first] if last - first <= LENGTH else [*range(first, last - LENGTH, HOP), last - LENGTH]
        n, spans = len(self._vectors) + len(self._mels), []
        for place in places:
            until = min(place + LENGTH, last)
            mels = mel_frames(self._samples[place - self._at : until - self._at])
            if len(mels) >= _LEAST_MELS:
                self._mels.append(
                    np.resize(mels, (_MELS, MEL_BINS))
                )  # what is short is heard again and again
                spans.append((round((place - first) / FRAME) + start, round((until - first) / FRAME) + start))
        self._stretches.append(Stretch(start, end, n, tuple(spans)))
        if len(self._mels) >= _BATCH:
            self._embed()

    def _embed(self) -> None:
        if self._mels:
            self._vectors.extend(self._networks.embed(np.stack(self._mels)))
            self._mels = []


def _edge(frame: int) -> int:
    """The sample between a frame and the one before it."""
    return max(0, sample_of(frame) - FRAME // 2)


def speaking(activity: Floats) -> npt.NDArray[np.bool_]:
    """[frames, 3]: who speaks. Somebody does where the tracks together say so: two windows may have put one
    voice on different tracks.
    """
    active = activity > 0.5
    lost = (activity.sum(axis=1) > _SOMEBODY) & ~active.any(axis=1)
    active[lost, activity[lost].argmax(axis=1)] = True
    return np.asarray(active)


def overlaps(stretches: tuple[Stretch, ...], frames: int) -> npt.NDArray[np.bool_]:
    """[frames]: more than one voice speaks."""
    n = np.zeros(frames + 1, int)
    for stretch in stretches:
        n[stretch.start] += 1
        n[stretch.end] -= 1
    return np.cumsum(n)[:frames] > 1
