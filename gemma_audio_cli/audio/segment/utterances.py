"""A live stream as utterances, given while they are spoken.

    blocks [n] ──► detector ──► Segmenter ──► Speech(samples) ... Speech(samples), End ──► Speech ...

`Segmenter` says where a window ended once it is over. Whoever hears a person speak cannot wait for that: here
every sample that is certain to belong to the utterance is given as soon as it is certain, silence that may
turn out to be its end is held back, and the end says how much of what was given belongs to it: all of it, but
where speech went on without a pause up to the limit and had to be cut further back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gemma_audio_cli.audio.segment.segmenter import SegmentationOptions, Segmenter
from gemma_audio_cli.audio.segment.vad import FRAME, Framer, SpeechDetector
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.sound import SAMPLE_RATE, Floats


@dataclass(frozen=True)
class Speech:
    """More of the utterance."""

    samples: Floats
    """float32 [n], 16 kHz mono."""
    end: int
    """Samples from the start of the stream to the end of these."""


@dataclass(frozen=True)
class End:
    """The utterance is over."""

    start: float
    """Where it began, in seconds from the start of the stream."""
    samples: int
    """It is the first so many of those given since the end before."""
    rest: int = 0
    """The last so many of those given are the beginning of the next one."""


Event = Speech | End
Detector = Callable[[Floats], float]
"""The probability of speech in a frame."""


def all_speech(_frame: Floats) -> float:
    """A detector for which everything is speech: only `end` and the limit end an utterance."""
    return 1.0


def live_cut(pause: float, max_seconds: float) -> SegmentationOptions:
    """Any pause of so many seconds ends an utterance. Raises ValueError where that makes no sense."""
    if not 0.1 <= pause <= 10.0:
        raise ValueError("the pause that ends an utterance must be from 0.1 to 10 seconds long")
    return SegmentationOptions(max_seconds=max_seconds, skip_pause=pause, tidy_pause=pause)


class Utterances:
    """Blocks in, events out; one stream."""

    def __init__(self, options: SegmentationOptions | None = None, detector: Detector | None = None) -> None:
        """`detector` tells speech from silence in frames of 512 samples; default: Silero VAD."""
        self._cutter = Segmenter(options)
        self._detector = detector or SpeechDetector()
        self._framer = Framer()
        self._next = -1  # the frame to give next; -1: the utterance has not begun
        self._given = 0  # samples of the utterance

    @property
    def in_speech(self) -> bool:
        """Is someone speaking just now?"""
        return self._cutter.in_speech

    def push(self, block: Floats) -> Iterator[Event]:
        """What this block, float32 [n] of any size, brings."""
        for frame in self._framer.push(block):
            yield from self._frame(frame)

    def end(self) -> Iterator[Event]:
        """The utterance ends here, whatever is being said. What follows is another one."""
        yield from self._ended(self._cutter.finish())

    def finish(self) -> Iterator[Event]:
        """The stream is over."""
        if len(self._framer.rest):
            yield from self._frame(self._framer.rest)
        yield from self.end()

    def _frame(self, frame: Floats) -> Iterator[Event]:
        window = self._cutter.push(frame, self._detector(frame))
        if window is not None:
            yield from self._ended(window)
        yield from self._claim()

    def _claim(self) -> Iterator[Event]:
        """What has become certain."""
        first, end = self._cutter.claimed
        if first == end:
            return
        if self._next < 0:
            self._next = first
        if end > self._next:
            samples = np.concatenate(self._cutter.held(self._next, end))
            begin, self._next = self._next, end
            self._given += len(samples)
            yield Speech(samples, begin * FRAME + len(samples))

    def _ended(self, window: Window | None) -> Iterator[Event]:
        if window is None:
            return
        lacking = len(window.samples) - self._given
        if lacking > 0:
            yield Speech(window.samples[-lacking:], round(window.end * SAMPLE_RATE))
        first, end = self._cutter.claimed
        # A cut further back: what was given beyond it begins the next utterance.
        rest = max(0, self._next - first) if first < end else 0
        self._given = rest * FRAME
        if not rest:
            self._next = -1
        yield End(window.start, len(window.samples), self._given)
