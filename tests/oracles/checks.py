"""Running our engine as the oracles are run, and the design's bounds on how far it may be from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.engine._binding import native
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import Input, SessionOptions

FloatArray = npt.NDArray[np.float32]

MEL_BOUND = 1e-4
COSINE_BOUND = 0.99999
SLICING_BOUND = 1e-5
LOGIT_BOUND = 2e-3
HALF_SLICING_BOUND = 5e-3
HALF_LOGIT_BOUND = 0.1
"""Where a device multiplies in float16, of the small random models' logits of 7 at most."""
QUANTISED_COSINE = 0.9995
QUANTISED_TOP1 = 0.99
NOT_WORSE = 1.05
"""Our error over llama.cpp's, each against float32 with the very weights of a quantised file."""
ROUNDING = 2e-6
"""Errors below this are float32's own."""

_SESSION = SessionOptions(n_ctx=512, kv_type="f32")


def in_half(device: str | None) -> bool:
    """Does a device of that name round what it multiplies to float16? The CPU, BLAS and OpenVINO do not."""
    return device not in (None, "CPU", "BLAS") and not device.startswith("OPENVINO")


def slicing_bound(device: str | None) -> float:
    return HALF_SLICING_BOUND if in_half(device) else SLICING_BOUND


def logit_bound(device: str | None) -> float:
    return HALF_LOGIT_BOUND if in_half(device) else LOGIT_BOUND


class Prompted(Protocol):
    """A clip and the tokens around it: a `goldens.Golden`, or made on the spot."""

    samples: FloatArray
    before: list[int]
    after: list[int]


def random_cuts(n: int, rng: np.random.Generator, pieces: int = 12) -> list[int]:
    """Sorted positions at which to cut `n` samples, crowded enough for empty and one-sample pieces."""
    cuts = rng.integers(0, n + 1, pieces)
    return sorted([*cuts.tolist(), int(cuts[0]), min(n, int(cuts[1]) + 1)])


def cut(samples: FloatArray, cuts: Sequence[int]) -> list[FloatArray]:
    return np.split(samples, list(cuts))


def cosines(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Cosine of each row, in float64."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    return np.asarray((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1)), dtype=np.float64)


def error(values: FloatArray, truth: FloatArray) -> float:
    """Root mean square of a row's error, as a share of the row's own; the mean of all rows."""
    squares = [np.mean(np.square(rows, dtype=np.float64), axis=-1) for rows in (values - truth, truth)]
    return float(np.sqrt(squares[0] / squares[1]).mean())


def cosine_close(ours: FloatArray, theirs: FloatArray, bound: float = COSINE_BOUND) -> None:
    assert ours.shape == theirs.shape
    assert cosines(ours, theirs).min() >= bound
    # A cosine is blind to scale, which the next stage is not.
    assert np.abs(ours - theirs).max() <= 1e-2 * np.abs(theirs).max()


def mel_close(ours: FloatArray, theirs: FloatArray) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max(initial=0.0) <= MEL_BOUND


def mel_frames(samples: FloatArray, cuts: Sequence[int] = ()) -> FloatArray:
    """Frames `[n, 128]` of the native frontend, the samples pushed in pieces."""
    n = native()
    handle = n.ffi.new("ga_mel **")
    assert n.lib.ga_mel_open(handle) == 0
    count = n.ffi.new("size_t *")
    buffer = np.empty((64, 128), dtype=np.float32)
    data = n.ffi.from_buffer("float[]", buffer, require_writable=True)
    frames = [np.empty((0, 128), dtype=np.float32)]
    for piece in cut(samples, cuts):
        piece = np.ascontiguousarray(piece)
        assert n.lib.ga_mel_push(handle[0], n.ffi.from_buffer("float[]", piece), piece.size) == 0
        while True:
            assert n.lib.ga_mel_pop(handle[0], data, len(buffer), count) == 0
            if count[0] == 0:
                break
            frames.append(buffer[: count[0]].copy())
    n.lib.ga_mel_close(handle[0])
    return np.concatenate(frames)


@dataclass(frozen=True)
class Opened:
    """An engine and the prompt it is asked."""

    engine: Engine
    golden: Prompted

    def encode(self, cuts: Sequence[int] = (), stage: int = 0) -> FloatArray:
        """Embeddings of the clip (stage 1: the encoder's output), pushed in pieces."""
        stream = self.engine.audio()
        if stage:
            stream.keep_encoder()
        for piece in cut(self.golden.samples, cuts):
            stream.push(piece)
        stream.finish()
        values = stream.read(stage=stage)
        stream.close()
        return values

    def _inputs(self, embeddings: FloatArray, n_logits: int) -> list[Input]:
        """Before, audio and after, with logits wanted for the last `n_logits` positions of them all."""
        parts = [(len(self.golden.before), {"tokens": self.golden.before}),
                 (len(embeddings), {"embeddings": embeddings}),
                 (len(self.golden.after), {"tokens": self.golden.after})]  # fmt: skip
        inputs: list[Input] = []
        left = n_logits
        for n, content in reversed(parts):
            inputs.append(Input(seq=0, n_logits=min(left, n), **content))  # type: ignore[arg-type]
            left -= min(left, n)
        return inputs[::-1]

    def logits(self, embeddings: FloatArray, rows: int, options: SessionOptions = _SESSION) -> FloatArray:
        """Logits `[rows, n_vocab]` of the prompt's last positions."""
        session = self.engine.session(options)
        session.forward(self._inputs(embeddings, rows))
        assert session.n_logits() == rows
        values = np.stack([session.logits(i) for i in range(rows)])
        session.close()
        return values

    def greedy(self, embeddings: FloatArray, n: int, options: SessionOptions = _SESSION) -> list[int]:
        """`n` greedy tokens after the prompt, past any end token."""
        session = self.engine.session(options)
        session.forward(self._inputs(embeddings, 1))
        tokens = [int(np.argmax(session.logits()))]
        while len(tokens) < n:
            session.forward([Input(seq=0, tokens=tokens[-1:], n_logits=1)])
            tokens.append(int(np.argmax(session.logits())))
        session.close()
        return tokens
