"""Speech windows: where to cut a stream so that no word is lost, and which silence to leave out.

    blocks [n] ──► speech probability every 32 ms ──► Segmenter ──► Window(start, samples [≤ 30 s])

A window holds speech with a little room around it. Speech is packed into a window up to its limit; a window
that fills up is cut in the longest pause of its last seconds, through speech only where there is no pause at
all. Between windows lies only what is no speech. The cutter works on a stream, so a file and a microphone are
cut by the same rules; it holds one window, whatever the length of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gemma_audio_cli.audio.segment.level import levelled
from gemma_audio_cli.audio.segment.vad import FRAME, Framer, SpeechDetector
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.errors import AudioError
from gemma_audio_cli.sound import MAX_CLIP_SECONDS, SAMPLE_RATE, Floats


@dataclass(frozen=True)
class SegmentationOptions:
    """When speech begins and ends, and where windows are cut. Seconds, probabilities."""

    max_seconds: float = MAX_CLIP_SECONDS
    min_pause: float = 0.12
    """The shortest stretch without speech that counts as a pause."""
    search_seconds: float = 10.0
    """A full window is cut in the longest pause of this much of its end."""
    skip_pause: float = 2.5
    """A pause that long ends a window: what follows is silence to be left out."""
    tidy_pause: float = 1.0
    """So does a shorter one, once the window is `tidy_seconds` long."""
    tidy_seconds: float = 10.0
    room: float = 0.3
    """Kept around speech: soft beginnings and ends of words the detector does not see."""
    onset: float = 0.5
    """Speech begins where the probability reaches this ..."""
    offset: float = 0.35
    """... and goes on until it falls below this."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.max_seconds <= MAX_CLIP_SECONDS:
            raise ValueError(f"the window must be from 1 to {MAX_CLIP_SECONDS:.0f} seconds long")
        if not 0.05 <= self.min_pause <= 2.0:
            raise ValueError("the shortest pause must be from 0.05 to 2 seconds long")


@dataclass(frozen=True)
class _Pause:
    """Frames [first, end) of the window hold no speech."""

    first: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.first

    @property
    def middle(self) -> int:
        return (self.first + self.end) // 2


class Segmenter:
    """Takes frames with their speech probabilities, gives windows as soon as their end is known."""

    def __init__(self, options: SegmentationOptions | None = None) -> None:
        self.options = options or SegmentationOptions()
        frames = SAMPLE_RATE / FRAME
        o = self.options
        self._limit = int(o.max_seconds * frames)
        self._search = min(int(o.search_seconds * frames), self._limit - 1)
        self._min_pause = max(1, round(o.min_pause * frames))
        self._skip = round(o.skip_pause * frames)
        self._tidy_pause, self._tidy = round(o.tidy_pause * frames), round(o.tidy_seconds * frames)
        self._room = max(1, round(o.room * frames))
        self._start = 0  # frame of the recording the held audio begins with
        self._audio: list[Floats] = []  # one entry a frame
        self._speech: list[bool] = []
        self._probability: list[float] = []
        self.speech: list[bool] = []
        """Is it speech, for each frame of the window given last."""
        self._in_speech = False
        self._first_speech = -1  # frame of the held audio; -1: none yet
        self._last_speech = -1

    @property
    def in_speech(self) -> bool:
        """Was the last frame speech?"""
        return self._in_speech

    @property
    def claimed(self) -> tuple[int, int]:
        """Frames [first, end) of the recording that the window being filled will hold, whatever comes, unless
        it fills up and is cut before their end. None before any speech: first is end.
        """
        if self._first_speech < 0:
            return self._start + len(self._audio), self._start + len(self._audio)
        first = max(0, self._first_speech - self._room)
        end = min(self._last_speech + 1 + self._room, len(self._audio))
        return self._start + first, self._start + end

    def held(self, first: int, end: int) -> list[Floats]:
        """Frames [first, end) of the recording, as far as they are still held."""
        return self._audio[max(0, first - self._start) : max(0, end - self._start)]

    def push(self, frame: Floats, probability: float) -> Window | None:
        """One frame (float32 [512]; the recording's last may be shorter); a window where one ends with it."""
        self._in_speech = probability >= (self.options.offset if self._in_speech else self.options.onset)
        self._audio.append(frame)
        self._speech.append(self._in_speech)
        self._probability.append(probability)
        if self._in_speech:
            self._last_speech = len(self._audio) - 1
            if self._first_speech < 0:
                self._first_speech = self._last_speech
        if self._first_speech < 0:
            self._forget(len(self._audio) - self._room)  # silence: only room before speech is kept
            return None
        pause = len(self._audio) - 1 - self._last_speech
        long_enough = len(self._audio) >= self._tidy
        if pause >= self._skip or (long_enough and pause >= self._tidy_pause):
            return self._take(min(self._last_speech + 1 + self._room, len(self._audio)))
        if len(self._audio) >= self._limit:
            return self._take(self._cut())
        return None

    def finish(self) -> Window | None:
        """The last window, where there is speech left."""
        if self._first_speech < 0:
            self._forget(len(self._audio))
            return None
        return self._take(min(self._last_speech + 1 + self._room, len(self._audio)))

    def _pauses(self, first: int) -> list[_Pause]:
        """Pauses that reach into the held frames from `first` on."""
        found: list[_Pause] = []
        begin = -1
        for i, speech in enumerate([*self._speech, True]):
            if not speech and begin < 0:
                begin = i
            elif speech and begin >= 0:
                if i - begin >= self._min_pause and i > first and begin > self._first_speech:
                    found.append(_Pause(begin, i))
                begin = -1
        return found

    def _cut(self) -> int:
        """Frame in which a full window is cut."""
        first = len(self._audio) - self._search
        pauses = [_Pause(max(p.first, first), p.end) for p in self._pauses(first)]
        pauses = [p for p in pauses if p.length >= self._min_pause]
        if pauses:
            best = max(pauses, key=lambda p: (p.length, p.first))
            return best.middle
        # No pause at all: where speech is least likely, and the softest of those.
        behind = max(first, self._first_speech + 1)  # a window has speech in it
        return min(range(behind, len(self._audio)), key=self._softness, default=len(self._audio))

    def _softness(self, frame: int) -> tuple[float, float]:
        loudness = float(np.abs(self._audio[frame]).max(initial=0.0))
        return round(self._probability[frame], 1), loudness

    def _take(self, end: int) -> Window:
        """The frames before `end` as a window; the rest stays for the next one."""
        end = max(end, 1)
        stop = end
        speech = [i for i in range(min(end, len(self._speech))) if self._speech[i]]
        if speech:  # trailing silence is left out, but for some room
            stop = min(end, speech[-1] + 1 + self._room)
        begin = max(0, self._first_speech - self._room)
        window = Window((self._start + begin) * FRAME / SAMPLE_RATE, np.concatenate(self._audio[begin:stop]))
        self.speech = self._speech[begin:stop]
        self._forget(end)
        return window

    def _forget(self, n: int) -> None:
        """Drop the first n held frames."""
        if n <= 0:
            return
        del self._audio[:n], self._speech[:n], self._probability[:n]
        self._start += n
        held = [i for i, speech in enumerate(self._speech) if speech]
        self._first_speech = held[0] if held else -1
        self._last_speech = held[-1] if held else -1


def frames(blocks: Iterable[Floats]) -> Iterator[Floats]:
    """Blocks of any size as frames of 512 samples; the last one is what is left."""
    framer = Framer()
    for block in blocks:
        yield from framer.push(block)
    if len(framer.rest):
        yield framer.rest


class SpeechWindows:
    """Blocks in, windows of speech out: a detector and a cutter for one stream."""

    def __init__(self, options: SegmentationOptions | None = None) -> None:
        self._detector, self._cutter = SpeechDetector(), Segmenter(options)
        self._framer = Framer()

    def push(self, block: Floats) -> Iterator[Window]:
        """The windows that end within this block, float32 [n] of any size."""
        return self._cut(self._framer.push(block))

    def finish(self) -> Iterator[Window]:
        """The windows that the end of the stream brings."""
        if len(self._framer.rest):
            yield from self._cut([self._framer.rest])
        last = self._cutter.finish()
        if last is not None:
            yield levelled(last, self._cutter.speech)

    def _cut(self, frames: Iterable[Floats]) -> Iterator[Window]:
        for frame in frames:
            window = self._cutter.push(frame, self._detector(frame))
            if window is not None:
                yield levelled(window, self._cutter.speech)


def channel_windows(
    blocks: Iterable[Floats], channels: Sequence[int], options: SegmentationOptions | None = None
) -> Iterator[tuple[int | None, Window]]:
    """Windows of speech with the channel they are of, each as soon as its end is known.

    Blocks are float32 [n, channels], of any n; without channels they are mono, [n], and None stands for it.
    """
    streams: list[tuple[int | None, SpeechWindows]] = [
        (c, SpeechWindows(options)) for c in channels or (None,)
    ]
    failure: AudioError | None = None
    try:
        for block in blocks:
            columns = block.T if channels else (block,)
            for (channel, stream), column in zip(streams, columns, strict=True):
                for window in stream.push(column):
                    yield channel, window
    except AudioError as error:  # a recording damaged in the middle: what came before it counts
        failure = error
    for channel, stream in streams:
        for window in stream.finish():
            yield channel, window
    if failure is not None:
        raise failure
