"""llama.cpp as an oracle: libllama and libmtmd driven through the ctypes bindings of the `llama_cpp` package.

with LlamaCpp(text_gguf, mmproj_gguf, threads=1) as ref:
    embeddings = ref.encode_audio(samples)                    # [n_tokens, width]
    logits = ref.forward([before, embeddings, after])         # [n_positions, n_vocab]

Tests use `oracles.apart`, which runs this in a process of its own; only benchmarks use it where they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp

from oracles.apart import FloatArray, OracleError, Part

_AUDIO_CHUNK = 2  # MTMD_INPUT_CHUNK_TYPE_AUDIO
_KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}  # ggml_type

BEFORE = "<bos><|turn>user\n<|audio>"
AFTER = "<audio|>{text}<turn|>\n<|turn>model\n"


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, user: Any) -> None:
    """Both libraries log to stderr by default; an oracle is quiet."""


def silence() -> None:
    """Both libraries say nothing from now on."""
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    mtmd_cpp.mtmd_log_set(_silent, ctypes.c_void_p(0))
    mtmd_cpp.mtmd_helper_log_set(_silent, ctypes.c_void_p(0))


class LlamaCpp:
    """One text model, optionally with its projector, and one sequence of context."""

    def __init__(
        self,
        text: Path,
        mmproj: Path | None = None,
        *,
        threads: int = 1,
        n_ctx: int = 2048,
        n_ubatch: int = 512,
        kv_type: str = "f16",
        flash: bool | None = None,
        repack: bool = True,
        gpu_layers: int = 0,
    ) -> None:
        """`gpu_layers`: on the first GPU, the projector too where it is not 0; a large number: all."""
        silence()
        self._ctx = self._model = self._mtmd = None
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.use_extra_bufts = repack
        self._model = llama_cpp.llama_model_load_from_file(str(text).encode(), params)
        if not self._model:
            raise OracleError(f"libllama does not load {text}")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = n_ctx
        options.n_batch = n_ctx
        options.n_ubatch = n_ubatch
        options.n_threads = options.n_threads_batch = threads
        options.type_k = options.type_v = _KV_TYPES[kv_type]
        options.flash_attn_type = -1 if flash is None else int(flash)
        self._ctx = llama_cpp.llama_init_from_model(self._model, options)
        if not self._ctx:
            raise OracleError(f"libllama makes no context for {text}")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.width = llama_cpp.llama_model_n_embd(self._model)
        self.n_past = 0
        if mmproj is not None:
            settings = mtmd_cpp.mtmd_context_params_default()
            settings.use_gpu = gpu_layers != 0
            settings.print_timings = False
            settings.n_threads = threads
            settings.warmup = False
            self._mtmd = mtmd_cpp.mtmd_init_from_file(str(mmproj).encode(), self._model, settings)
            if not self._mtmd:
                raise OracleError(f"libmtmd does not load {mmproj}")

    def __enter__(self) -> LlamaCpp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._mtmd:
            mtmd_cpp.mtmd_free(self._mtmd)
        if self._ctx:
            llama_cpp.llama_free(self._ctx)
        if self._model:
            llama_cpp.llama_model_free(self._model)
        self._mtmd = self._ctx = self._model = None

    def tokenize(self, text: str, special: bool = True) -> list[int]:
        """Token ids of `text`; nothing is added in front. `special`: control tokens are found in it."""
        data = text.encode()
        tokens = (llama_cpp.llama_token * (len(data) + 16))()
        n = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, len(tokens), False, special)
        if n < 0:
            raise OracleError("llama_tokenize failed")
        return list(tokens[:n])

    def prompt(self, text: str, audio: FloatArray) -> list[Part]:
        """The model's chat prompt of one clip (as embeddings) and an instruction."""
        return [self.tokenize(BEFORE), audio, self.tokenize(AFTER.format(text=text))]

    def encode_audio(self, samples: FloatArray) -> FloatArray:
        """16 kHz mono samples to projected embeddings `[n_tokens, width]`."""
        return self.encode(self.preprocess(samples))

    def preprocess(self, samples: FloatArray) -> Any:
        """16 kHz mono samples to mel frames, in libmtmd's own form; `encode` takes and frees it."""
        if self._mtmd is None:
            raise OracleError("no mmproj was given")
        audio = np.ascontiguousarray(samples, dtype=np.float32)
        pointer = audio.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        bitmap = mtmd_cpp.mtmd_bitmap_init_from_audio(audio.size, pointer)
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        try:
            marker = mtmd_cpp.mtmd_default_marker()
            text = mtmd_cpp.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd_cpp.mtmd_tokenize(self._mtmd, chunks, ctypes.byref(text), bitmaps, 1):
                mtmd_cpp.mtmd_input_chunks_free(chunks)
                raise OracleError("mtmd_tokenize failed")
        finally:
            mtmd_cpp.mtmd_bitmap_free(bitmap)
        return chunks

    def encode(self, chunks: Any) -> FloatArray:
        """What `preprocess` made to projected embeddings `[n_tokens, width]`."""
        try:
            return np.concatenate([self._encode_chunk(c) for c in self._audio_chunks(chunks)])
        finally:
            mtmd_cpp.mtmd_input_chunks_free(chunks)

    def _audio_chunks(self, chunks: Any) -> list[Any]:
        every = [
            mtmd_cpp.mtmd_input_chunks_get(chunks, i) for i in range(mtmd_cpp.mtmd_input_chunks_size(chunks))
        ]
        return [c for c in every if mtmd_cpp.mtmd_input_chunk_get_type(c) == _AUDIO_CHUNK]

    def _encode_chunk(self, chunk: Any) -> FloatArray:
        if mtmd_cpp.mtmd_encode_chunk(self._mtmd, chunk):
            raise OracleError("mtmd_encode_chunk failed")
        shape = (mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk), self.width)
        return np.ctypeslib.as_array(mtmd_cpp.mtmd_get_output_embd(self._mtmd), shape).copy()

    def reset(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._ctx), True)
        self.n_past = 0

    def forward(self, parts: Sequence[Part], *, every: bool = True) -> FloatArray:
        """Append parts to the context; logits `[n, n_vocab]` of every new position, or of the last."""
        rows = [
            self._decode(part, every or i == len(parts) - 1, every)
            for i, part in enumerate(parts)
            if len(part)
        ]
        return np.concatenate([r for r in rows if r is not None])

    def _decode(self, part: Part, wanted: bool, every: bool) -> FloatArray | None:
        embeddings = isinstance(part, np.ndarray)
        n = len(part)
        batch = llama_cpp.llama_batch_init(n, self.width if embeddings else 0, 1)
        try:
            values = np.ascontiguousarray(part, dtype=np.float32 if embeddings else np.int32)
            ctypes.memmove(batch.embd if embeddings else batch.token, values.ctypes.data, values.nbytes)
            for i in range(n):
                batch.pos[i] = self.n_past + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = int(wanted and (every or i == n - 1))
            batch.n_tokens = n
            if status := llama_cpp.llama_decode(self._ctx, batch):
                raise OracleError(f"llama_decode returned {status}")
        finally:
            llama_cpp.llama_batch_free(batch)
        self.n_past += n
        llama_cpp.llama_synchronize(self._ctx)
        if not wanted:
            return None
        picked = range(n) if every else [n - 1]
        return np.stack([self._logits(i) for i in picked])

    def _logits(self, index: int) -> FloatArray:
        pointer = llama_cpp.llama_get_logits_ith(self._ctx, index)
        return np.ctypeslib.as_array(pointer, (self.n_vocab,)).copy()

    def answer(self, parts: Sequence[Part], budget: int) -> tuple[str, bool]:
        """The greedy answer to a prompt in an empty context, and whether the model itself ended it."""
        self.reset()
        token, data, whole = int(np.argmax(self.forward(parts, every=False)[-1])), b"", False
        for _ in range(budget):
            whole = bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))
            if whole:
                break
            data += self._piece(token)
            token = int(np.argmax(self.forward([[token]], every=False)[-1]))
        return data.decode("utf-8", "replace").strip(), whole

    def _piece(self, token: int) -> bytes:
        piece = ctypes.create_string_buffer(64)
        n = llama_cpp.llama_token_to_piece(self._vocab, token, piece, len(piece), 0, False)
        return piece.raw[: max(n, 0)]

    def greedy(self, parts: Sequence[Part], n: int) -> list[int]:
        """`n` greedy tokens after a prompt, past any end token."""
        token = int(np.argmax(self.forward(parts, every=False)[-1]))
        return [token, *self.generate(token, n - 1)]

    def generate(self, token: int, n: int) -> list[int]:
        """`n` greedy tokens after `token`, which is fed first; end tokens are tokens like any other."""
        tokens = []
        for _ in range(n):
            token = int(np.argmax(self.forward([[token]], every=False)[-1]))
            tokens.append(token)
        return tokens
