"""What the encoder makes of a window, and where it is kept for the next question.

    window ──► kept from before? ──► rows
           └─► encoder, rounded to what is kept ──► rows

The same sound gives the same rows, kept or not: each window is encoded alone, for sums round otherwise beside
others, and its rows are rounded to 16 bits also where nobody keeps them. Gemma's own weights have 8 bits of
precision, these rows have 11.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.engine.audio_stream import encode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.sound import Floats

Kept = np.ndarray[tuple[int, int], np.dtype[np.float16] | np.dtype[np.float32]]
"""Rows [n, n_embd] as they are kept: of 16 bits, or of 32 where those are too few for a number."""
KEY_BYTES = 32


class Store(Protocol):
    """Where rows are kept."""

    def get(self, key: bytes, width: int) -> Kept | None:
        """The rows of this key, `width` numbers each; None: there are none, or they are damaged."""

    def put(self, key: bytes, rows: Kept) -> None:
        """Keep them; a store that cannot says so elsewhere and goes on."""


class Hearing:
    """Windows to rows of embeddings, float32 [n, n_embd]; those of a store are not computed again."""

    def __init__(self, store: Store | None = None, model: bytes = b"") -> None:
        """`model`: what tells the encoder's weights, and the program that runs them, from others."""
        self._store, self._model = store, model
        self.encoded = 0
        """Windows that were not kept."""

    def rows(self, engine: Engine, window: Window) -> Floats:
        """The rows of a window; none where it is too short to hear anything in."""
        key = self._key(engine, window)
        width = engine.info.n_embd
        kept = self._store.get(key, width) if self._store is not None else None
        if kept is None:
            kept = self._encoded(engine, window)
            if self._store is not None and len(kept) and np.isfinite(kept).all():
                self._store.put(key, kept)
        rows: Floats = kept.astype(np.float32)
        return rows

    def _encoded(self, engine: Engine, window: Window) -> Kept:
        (clip,) = encode(engine, [window.samples])
        self.encoded += 1
        try:
            rows = clip.read()
        finally:
            clip.close()
        with np.errstate(over="ignore"):
            short = rows.astype(np.float16)
        return short if np.isfinite(short).all() else rows

    def _key(self, engine: Engine, window: Window) -> bytes:
        """Another device rounds otherwise."""
        about = b"\0".join((self._model, engine.info.device.encode(), b""))
        digest = hashlib.blake2b(about, digest_size=KEY_BYTES)
        digest.update(np.ascontiguousarray(window.samples, dtype="<f4").tobytes())
        return digest.digest()
