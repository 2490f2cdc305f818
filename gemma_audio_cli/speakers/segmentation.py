"""Where voices begin, end and overlap: windows of 10 s, every 5 s, stitched into three tracks.

    samples ──► 10 s windows ──► who of three speaks, in each ──► tracks [frames, 3] of the whole recording

A window numbers its voices as it likes. The next window's numbers are exchanged so that they agree best with
this one's in the 5 s that both have heard. Which person a track is stays open, and may change after a pause.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.speakers.networks import (
    CLASSES,
    FIRST_FRAME,
    FRAME,
    FRAME_LENGTH,
    WINDOW,
    SpeakerNetworks,
)

HOP = WINDOW // 2 // FRAME * FRAME
"""Samples from one window to the next: whole frames, so that the frames of all windows fall together."""
TRACKS = 3
_BATCH = 2
_ORDERS = [list(order) for order in permutations(range(TRACKS))]


class Segmentation:
    """The voices of one recording, as its samples come; it keeps the samples of a few windows."""

    def __init__(self, networks: SpeakerNetworks) -> None:
        self._networks = networks
        self._samples = np.zeros(0, np.float32)  # from sample `_at` on
        self._at = 0
        self._first = 0  # frame at which `_open` begins
        self._open = np.zeros((0, TRACKS), np.float32)  # what the next window may still change

    def push(self, samples: Floats) -> Floats:
        """Takes samples [n]; returns the activities [frames, 3], 0 to 1, that no later sample changes: each
        frame once, in order.
        """
        self._samples = np.concatenate([self._samples, samples])
        n = (len(self._samples) - WINDOW) // HOP + 1
        return self._run(n) if n >= _BATCH else self._open[:0]

    def finish(self) -> Floats:
        """The rest of the activities."""
        end = self._at + len(self._samples)
        n = max(0, (len(self._samples) - WINDOW) // HOP + 1)
        heard = n * HOP + HOP if n or self._at else 0  # of the samples kept
        if len(self._samples) > heard:  # a last window, filled up with silence
            self._samples = np.pad(self._samples, (0, max(0, n * HOP + WINDOW - len(self._samples))))
            n += 1
        settled = self._run(n)
        frames = max(0, (end - FRAME_LENGTH) // FRAME + 1)
        return np.concatenate([settled, self._open])[: frames - (self._first - len(settled))]

    def _run(self, n: int) -> Floats:
        """Runs `n` windows and lets go of their samples."""
        settled = [self._open[:0]]
        for i in range(0, n, _BATCH):
            starts = [j * HOP for j in range(i, min(n, i + _BATCH))]
            logs = self._networks.segment(np.stack([self._samples[s : s + WINDOW] for s in starts]))
            for start, log in zip(starts, logs, strict=True):
                settled.append(self._stitch((self._at + start) // FRAME, np.exp(log) @ CLASSES))
        self._samples = self._samples[n * HOP :]
        self._at += n * HOP
        return np.concatenate(settled)

    def _stitch(self, first: int, found: Floats) -> Floats:
        """Takes in a window that begins at frame `first`; returns what is settled."""
        settled, shared = (
            np.split(self._open, [first - self._first]) if len(self._open) else (self._open,) * 2
        )
        n = len(shared)
        agreement = [float((shared * found[:n, order]).sum()) for order in _ORDERS]
        found = found[:, _ORDERS[int(np.argmax(agreement))]]
        # The later window takes over little by little: each knows least at its edges.
        weight = np.linspace(0, 1, n, dtype=np.float32)[:, None]
        self._open = np.concatenate([shared + (found[:n] - shared) * weight, found[n:]])
        self._first = first
        return settled


def seconds_of(frame: float) -> float:
    """The time of a frame's middle."""
    return (FIRST_FRAME + frame * FRAME) / SAMPLE_RATE


def sample_of(frame: int) -> int:
    """The sample in a frame's middle."""
    return FIRST_FRAME + frame * FRAME
