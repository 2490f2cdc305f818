"""llama.cpp in a process of its own: where it crashes, one test fails and says how, and the run goes on.

with LlamaCpp(text_gguf, mmproj_gguf, threads=1) as ref:      # as in `oracles.llamacpp`, all values copied
    logits = ref.forward([before, embeddings, after])
quantise(f32_gguf, q4_k_gguf, "Q4_K")

A process serves one model after another, so that a test does not wait for imports; one that died is replaced.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Part = Sequence[int] | FloatArray
"""What a prompt is made of: token ids, or embeddings `[n, width]`."""

_WORKER = Path(__file__).with_name("worker.py")
_ENVIRONMENT = os.environ | {"GGML_NO_BACKTRACE": "1", "OMP_WAIT_POLICY": "passive"}
"""No debugger where ggml aborts; no threads that spin while they wait."""


class OracleError(RuntimeError):
    """A call into llama.cpp failed, or ended its process."""


class _Worker:
    """One process that runs `worker.py`: a pickled (job, arguments) goes in, a pickled answer comes back."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - read where the process died
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=_ENVIRONMENT
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def call(self, job: str, *arguments: Any) -> Any:
        try:
            pickle.dump((job, arguments), self._to)
            self._to.flush()
            good, value = pickle.load(self._from)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise OracleError(f"llama.cpp died in {job}: {self._how()}") from None
        if not good:
            raise OracleError(value)
        return value

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._to.close()
        self._from.close()
        self._process.wait()
        self._said.close()

    def _how(self) -> str:
        """How the process ended, and the last that it said."""
        with contextlib.suppress(BrokenPipeError):
            self._to.close()
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-5:]
        return "\n  ".join([how, *last])


_idle: list[_Worker] = []


def _take() -> _Worker:
    while _idle:
        worker = _idle.pop()
        if worker.alive():
            return worker
        worker.end()
    return _Worker([sys.executable, os.fspath(_WORKER)])


def _give_back(worker: _Worker) -> None:
    if worker.alive():
        _idle.append(worker)
    else:
        worker.end()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def run(job: str, *arguments: Any) -> Any:
    """One job of `worker.py` that leaves nothing open."""
    worker = _take()
    try:
        return worker.call(job, *arguments)
    finally:
        _give_back(worker)


def quantise(source: Path, target: Path, kind: str) -> dict[str, int]:
    """libllama's own quantiser from a float32 file; tensors of each type in the result. See
    `quantise.KINDS`."""
    counts: dict[str, int] = run("quantise", source, target, kind)
    return counts


def quantise_projector(source: Path, target: Path, wide: Path, kind: str) -> dict[str, int]:
    """The same for a projector file; `wide` gets what `target` holds, in float32."""
    counts: dict[str, int] = run("quantise_projector", source, target, wide, kind)
    return counts


def quantise_tables(source: Path, target: Path) -> dict[str, int]:
    """The same for the tables alone, to Q6_K; `quantise` makes other types of the result in seconds."""
    counts: dict[str, int] = run("quantise_tables", source, target)
    return counts


def widen(source: Path, target: Path) -> None:
    """A file with the values that `source` holds, in float32, decoded by ggml."""
    run("widen", source, target)


def decode(path: Path, rows: dict[str, list[int]]) -> dict[str, FloatArray]:
    """All tensors of a file in float32, by ggml; of those that `rows` names only these rows."""
    tensors: dict[str, FloatArray] = run("decode", path, rows)
    return tensors


class LlamaCpp:
    """`oracles.llamacpp.LlamaCpp` with the same arguments and results, in another process."""

    def __init__(self, text: Path, mmproj: Path | None = None, **options: Any) -> None:
        self._worker = _take()
        try:
            self.n_vocab, self.width = self._worker.call("open", text, mmproj, options)
        except BaseException:
            _give_back(self._worker)
            raise

    def __enter__(self) -> LlamaCpp:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._worker.alive():
                self._worker.call("close")
        finally:
            _give_back(self._worker)

    def tokenize(self, text: str, special: bool = True) -> list[int]:
        return self._ask("tokenize", text, special)

    def prompt(self, text: str, audio: FloatArray) -> list[Part]:
        """The model's chat prompt of one clip (as embeddings) and an instruction."""
        return self._ask("prompt", text, audio)

    def encode_audio(self, samples: FloatArray) -> FloatArray:
        """16 kHz mono samples to projected embeddings `[n_tokens, width]`."""
        return self._ask("encode_audio", samples)

    def reset(self) -> None:
        self._ask("reset")

    def forward(self, parts: Sequence[Part]) -> FloatArray:
        """Append parts to the context; logits `[n, n_vocab]` of every new position."""
        return self._ask("forward", parts)

    def greedy(self, parts: Sequence[Part], n: int) -> list[int]:
        """`n` greedy tokens after a prompt, past any end token."""
        return self._ask("greedy", parts, n)

    def _ask(self, method: str, *arguments: Any) -> Any:
        return self._worker.call("ask", method, *arguments)
