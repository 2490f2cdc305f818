"""Session: a K/V cache, and prefill, decode and sampling on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from gemma_audio_cli import errors
from gemma_audio_cli.descriptors import without_stderr
from gemma_audio_cli.engine._native import Handle, int32
from gemma_audio_cli.engine.structs import Generation, Input, SamplerOptions, SessionOptions
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from gemma_audio_cli.engine.engine import Engine

OnToken = Callable[[int, int, float], bool | None]
"""(index of the generation, token, log-probability) -> go on with it? None: yes, but pause all."""

_STOPS = ("running", "end", "budget", "caller")
_KV_TYPES = {"f16": 0, "q8_0": 1, "f32": 2}


class Session(Handle):
    """The K/V cache of several sequences, with prefill, decode and sampling."""

    _what = "the session"

    def __init__(self, engine: Engine, options: SessionOptions) -> None:
        self._engine = engine
        self._n, self._callbacks = engine.adopt(self)
        self.options = options
        self._grammars: set[str | None] = {None}
        value = self._n.ffi.new("ga_session_options *")
        self._n.lib.ga_session_defaults(value)
        value.n_ctx, value.n_seq = int32(options.n_ctx), int32(options.n_seq)
        value.n_batch = int32(options.n_batch)
        value.kv_type = _KV_TYPES[options.kv_type]
        value.skip_rows = int(options.skip_rows)
        handle = self._n.ffi.new("ga_session **")
        engine.check(self._n.lib.ga_session_open(engine.handle, value, handle))
        self._handle = handle[0]

    def forward(self, inputs: Sequence[Input]) -> None:
        """Append the inputs to their sequences, in order. On failure no sequence has changed its length."""
        n = self._n
        values = n.ffi.new("ga_input[]", len(inputs))
        alive = []  # what the structs point to
        for value, item in zip(values, inputs, strict=True):
            value.seq, value.n_logits = item.seq, item.n_logits
            if item.tokens is not None:
                value.n = len(item.tokens)
                alive.append(n.ffi.new("int32_t[]", list(item.tokens)))
                value.tokens = alive[-1]
            elif item.embeddings is not None:
                rows = np.ascontiguousarray(item.embeddings, dtype=np.float32)
                value.n = rows.shape[0]
                alive.append(n.ffi.from_buffer("float[]", rows))
                value.embeddings = alive[-1]
            elif item.audio is not None:
                first, count = item.audio_range or (0, len(item.audio))
                value.audio, value.audio_first, value.n = item.audio.handle, first, count
        self._engine.check(n.lib.ga_session_forward(self.handle, values, len(inputs)))

    def logits(self, row: int = 0) -> Floats:
        """A copy of one row of the last forward, float32 [n_vocab], soft-capped."""
        pointer = self._n.lib.ga_session_logits(self.handle, row)
        if pointer == self._n.ffi.NULL:
            raise errors.UsageError(f"the last forward has no logits in row {row}")
        count = self._engine.info.n_vocab
        data = self._n.ffi.buffer(pointer, count * 4)
        row_values: Floats = np.frombuffer(data, dtype=np.float32).copy()
        return row_values

    def n_logits(self) -> int:
        """Rows of the last forward."""
        return int(self._n.lib.ga_session_n_logits(self.handle))

    def length(self, seq: int = 0) -> int:
        """Positions held by a sequence."""
        return int(self._n.lib.ga_session_length(self.handle, seq))

    def rewind(self, n: int = 0, seq: int = 0) -> None:
        """Forget all positions of a sequence from n on."""
        self._engine.check(self._n.lib.ga_session_rewind(self.handle, seq, n))

    def copy(self, source: int, target: int, n: int) -> None:
        """Give sequence `target` the first n positions of `source` in place of all it held."""
        self._engine.check(self._n.lib.ga_session_copy(self.handle, source, target, n))

    def attention(
        self, tokens: Sequence[int], layers: Sequence[int], keys: range, seq: int = 0
    ) -> list[Floats]:
        """Where tokens look, if they come next: for each layer float32 [n_head, len(tokens), len(keys)], the
        softmax of each head over the positions in `keys` alone. The sequence stays as it is.

        `layers` ascend. Raises UsageError where a layer does not see all of the keys.
        """
        n, known = self._n, self._engine.layers
        if not all(0 <= index < len(known) for index in layers):
            raise errors.UsageError(f"the model has no such layers: {list(layers)}")
        shapes = [(known[index].n_head, len(tokens), len(keys)) for index in layers]
        found = np.empty(sum(map(math.prod, shapes)), dtype=np.float32)
        self._engine.check(
            n.lib.ga_session_attention(
                self.handle, seq, list(tokens), len(tokens), list(layers), len(layers), keys.start, len(keys),
                n.ffi.cast("float *", n.ffi.from_buffer(found)), found.size,
            )
        )  # fmt: skip
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(found, ends[:-1]), shapes, strict=True)]

    def sampler(self, options: SamplerOptions, seq: int = 0) -> None:
        """Set and restart the sampler chain of a sequence."""
        value = self._n.ffi.new("ga_sampler_options *")
        self._n.lib.ga_sampler_defaults(value)
        value.temperature, value.top_k, value.top_p = options.temperature, options.top_k, options.top_p
        value.min_p, value.seed = options.min_p, options.seed
        value.text_only, value.no_thinking = int(options.text_only), int(options.no_thinking)
        grammar = self._n.ffi.new("char[]", options.grammar.encode()) if options.grammar else self._n.ffi.NULL
        value.grammar = grammar
        # libllama prints a grammar that it cannot parse.
        with without_stderr() if options.grammar not in self._grammars else nullcontext():
            status = self._n.lib.ga_session_sampler(self.handle, seq, value)
        self._engine.check(status)
        self._grammars.add(options.grammar)

    def sample(self, row: int = 0, seq: int = 0) -> tuple[int, float]:
        """Draw (token, log-probability) from a row of the last forward."""
        token = self._n.ffi.new("int32_t *")
        logprob = self._n.ffi.new("float *")
        self._engine.check(self._n.lib.ga_session_sample(self.handle, seq, row, token, logprob))
        return int(token[0]), float(logprob[0])

    def generate(
        self, generations: Sequence[Generation], on_token: OnToken, *, return_on_stop: bool = False
    ) -> None:
        """Decode all running generations together until each has stopped (or, with return_on_stop, any has).

        `on_token` gets every new token but the end token. What it raises ends the call; where it answers
        None, the call returns after this step and may be made again.
        """
        n = self._n

        def relay(index: int, token: int, logprob: float, _user_data: object) -> int:
            wanted = on_token(index, token, logprob)
            return 2 if wanted is None else 0 if wanted else 1

        callback = n.ffi.callback(
            "int32_t(size_t, int32_t, float, void *)", relay, error=2, onerror=self._callbacks.keep
        )
        values = n.ffi.new("ga_generation[]", len(generations))
        for value, item in zip(values, generations, strict=True):
            value.seq, value.next_token, value.n_max = item.seq, item.next_token, item.n_max
            value.stop, value.ignore_end = _STOPS.index(item.stop), int(item.ignore_end)
        status = n.lib.ga_session_generate(
            self.handle, values, len(generations), int(return_on_stop), callback, n.ffi.NULL
        )
        for value, item in zip(values, generations, strict=True):
            item.next_token, item.n_max = int(value.next_token), int(value.n_max)
            item.stop = _STOPS[int(value.stop)]
        self._engine.check(status)

    def close(self) -> None:
        """Free it. Closing twice is allowed. Raises UsageError while a call is going on."""
        self._free(self._n, self._n.lib.ga_session_close)
