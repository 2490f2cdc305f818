"""A ring of samples between two threads, without a lock.

    sound card's thread ──write──► [ . . . . ] ──read──► the thread that works with them

Two counters that only grow: how many were written, which only the writer sets, and how many were read, which
only the reader sets. Each side looks at the other's and is at worst a moment behind: the writer then believes
the ring fuller than it is, the reader emptier. Neither ever waits.
"""

from __future__ import annotations

import numpy as np

from gemma_audio_cli.sound import Floats


class Ring:
    """At most `capacity_frames` samples, float32; for one thread that writes and one that reads."""

    def __init__(self, capacity_frames: int) -> None:
        if capacity_frames < 1:
            raise ValueError("a ring holds at least one sample")
        self._samples: Floats = np.zeros(capacity_frames, dtype=np.float32)
        self._written = self._read = 0
        self._lost = 0

    @property
    def written(self) -> int:
        """Samples that went in since the beginning."""
        return self._written

    @property
    def taken(self) -> int:
        """Samples that came out since the beginning."""
        return self._read

    @property
    def lost(self) -> int:
        """Samples that did not fit."""
        return self._lost

    def __len__(self) -> int:
        return self._written - self._read

    def write(self, block: Floats) -> int:
        """Copies float32 [n] in, as many as there is room for; how many that were."""
        written = self._written
        count = min(len(block), len(self._samples) - (written - self._read))
        at = written % len(self._samples)
        first = min(count, len(self._samples) - at)
        self._samples[at : at + first] = block[:first]
        self._samples[: count - first] = block[first:count]
        # Last: from here on the reader may take them.
        self._written = written + count
        self._lost += len(block) - count
        return count

    def read(self, most: int) -> Floats:
        """The oldest samples, at most so many, as a copy; empty if there are none."""
        read = self._read
        count = max(0, min(most, self._written - read))
        at = read % len(self._samples)
        first = min(count, len(self._samples) - at)
        out = np.empty(count, dtype=np.float32)
        out[:first] = self._samples[at : at + first]
        out[first:] = self._samples[: count - first]
        # Last: from here on the writer may overwrite them.
        self._read = read + count
        return out
