"""The outline of a recording: how loud it is from moment to moment, for a picture of it.

blocks of samples, as they go by ──► Outline ──► Waveform of at most MOST peaks

Memory is the same for any length: whenever there are too many peaks, two become one.
"""

from __future__ import annotations

import numpy as np

from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.transcript import Waveform

MOST = 4000
"""Peaks: more than a screen has columns for."""
FIRST_STEP = 320
"""Samples of a peak of a short recording: 20 ms."""
_FULL = 255


class Outline:
    """Of one recording."""

    def __init__(self, start: float = 0.0) -> None:
        """`start`: seconds of the recording before the first block."""
        self._start, self._step = start, FIRST_STEP
        self._peaks: list[float] = []
        self._rest: Floats = np.zeros(0, np.float32)  # loudness of samples that are no whole step

    def push(self, samples: Floats) -> None:
        """More of the recording, [n] or [n, channels]."""
        loud = np.abs(samples)
        loud = np.concatenate([self._rest, loud if loud.ndim == 1 else loud.max(axis=1)])
        whole = len(loud) // self._step * self._step
        self._peaks += loud[:whole].reshape(-1, self._step).max(axis=1).tolist()
        self._rest = loud[whole:]
        while len(self._peaks) > MOST:
            self._halve()

    def waveform(self) -> Waveform:
        """What was heard so far, the loudest moment 255."""
        peaks = [*self._peaks, *([float(self._rest.max())] if len(self._rest) else [])]
        loudest = max(peaks, default=0.0) or 1.0
        shown = tuple(round(_FULL * peak / loudest) for peak in peaks)
        return Waveform(self._start, self._step / SAMPLE_RATE, shown)

    def _halve(self) -> None:
        if len(self._peaks) % 2:  # the last one is half of what comes next
            self._rest = np.concatenate([np.full(self._step, self._peaks.pop(), np.float32), self._rest])
        self._peaks = np.asarray(self._peaks).reshape(-1, 2).max(axis=1).tolist()
        self._step *= 2
