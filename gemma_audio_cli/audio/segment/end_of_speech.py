"""Has the speaker finished? So many seconds without speech, once someone has spoken."""

from __future__ import annotations

from gemma_audio_cli.audio.resample import Resampler
from gemma_audio_cli.audio.segment.segmenter import SegmentationOptions
from gemma_audio_cli.audio.segment.vad import FRAME, Framer, SpeechDetector
from gemma_audio_cli.sound import SAMPLE_RATE, Floats

_MIN_SPEECH = 4
"""Frames of speech in a row that make someone who has spoken; a click is shorter."""


class EndOfSpeech:
    """Listens to one stream, float32 [n] at `rate`, and says when it is over."""

    def __init__(self, seconds: float, rate: int) -> None:
        """`seconds` without speech are the end."""
        self._patience = round(seconds * SAMPLE_RATE / FRAME)
        self._resampler = Resampler(rate, SAMPLE_RATE)
        self._detector, self._options = SpeechDetector(), SegmentationOptions()
        self._framer = Framer()
        self._speech, self._spoken = 0, False
        self._silent = 0

    def hear(self, block: Floats) -> bool:
        """True from the block on in which the silence after speech has lasted long enough."""
        for frame in (frame for piece in self._resampler.push(block) for frame in self._framer.push(piece)):
            probability = self._detector(frame)
            threshold = self._options.offset if self._speech else self._options.onset
            if probability >= threshold:
                self._speech += 1
                self._silent = 0
                self._spoken = self._spoken or self._speech >= _MIN_SPEECH
            else:
                self._speech = 0
                self._silent += 1
        return self._spoken and self._silent >= self._patience
