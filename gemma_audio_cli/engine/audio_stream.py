"""AudioStream: one clip, samples in, embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gemma_audio_cli import errors
from gemma_audio_cli.engine._binding import native
from gemma_audio_cli.engine._native import Handle
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from gemma_audio_cli.engine.engine import Engine


class AudioStream(Handle):
    """One clip on its way from samples to embeddings. Any slicing gives the same tokens as the whole."""

    _what = "the audio stream"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._n, _ = engine.adopt(self)
        handle = self._n.ffi.new("ga_audio **")
        engine.check(self._n.lib.ga_audio_open(engine.handle, handle))
        self._handle = handle[0]

    def push(self, samples: Floats) -> None:
        """Samples float32 [n], 16 kHz mono in [-1, 1]."""
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if samples.ndim != 1:
            raise errors.UsageError(f"samples must have one dimension, not shape {samples.shape}")
        data = self._n.ffi.from_buffer("float[]", samples)
        self._engine.check(self._n.lib.ga_audio_push(self.handle, data, samples.size))

    def finish(self) -> None:
        """End the clip: its last tokens come out."""
        self._engine.check(self._n.lib.ga_audio_finish(self.handle))

    def __len__(self) -> int:
        """Tokens determined so far."""
        return int(self._n.lib.ga_audio_count(self.handle))

    def keep_encoder(self) -> None:
        """Keep the encoder's output too, for `read(stage=1)`; before the first push."""
        self._engine.check(self._n.lib.ga_audio_keep_encoder(self.handle))

    def read(self, first: int = 0, count: int | None = None, *, stage: int = 0) -> Floats:
        """Embeddings float32 [count, n_embd], or with stage 1 the encoder's output [count, n_audio_out]."""
        count = len(self) - first if count is None else count
        info = self._engine.info
        out = np.empty((count, info.n_audio_out if stage else info.n_embd), dtype=np.float32)
        data = self._n.ffi.from_buffer("float[]", out, require_writable=True)
        self._engine.check(self._n.lib.ga_audio_read(self.handle, stage, first, count, data))
        return out

    def close(self) -> None:
        """Free it. Closing twice is allowed. Raises UsageError while a call is going on."""
        self._free(self._n, self._n.lib.ga_audio_close)


def encode(engine: Engine, clips: Sequence[Floats]) -> list[AudioStream]:
    """Whole clips, float32 [n] each, encoded together: one pass over the encoder's weights for all of them.

    The caller closes them.
    """
    n = native()
    streams: list[AudioStream] = []
    try:
        for _ in clips:
            streams.append(engine.audio())
        arrays = [np.ascontiguousarray(clip, dtype=np.float32) for clip in clips]
        handles = n.ffi.new("ga_audio *[]", [stream.handle for stream in streams])
        buffers = [n.ffi.from_buffer("float[]", array) for array in arrays]
        samples = n.ffi.new("float *[]", buffers)
        lengths = n.ffi.new("size_t[]", [array.size for array in arrays])
        ends = n.ffi.new("int32_t[]", [1] * len(arrays))
        engine.check(n.lib.ga_audio_push_batch(handles, samples, lengths, ends, len(arrays)))
    except BaseException:
        for stream in streams:
            stream.close()
        raise
    return streams
