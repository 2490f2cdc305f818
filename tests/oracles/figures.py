#!/usr/bin/env python3
"""Print every parity figure beside its bound, worst over the golden cases and over all weight types.

    python tests/oracles/figures.py             # from the golden files: no torch needed
    GEMMA_AUDIO_LIBRARY=... GEMMA_AUDIO_DEVICE=Vulkan0 python tests/oracles/figures.py

With a device: the golden cases only, on it, each figure by a process of its own, so that a driver that ends
one of them does not end the others; logits also with none and with two of the text model's layers on it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")]

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, SessionOptions
from make_random_model import make_pair
from oracles import checks, goldens

DEVICE = os.environ.get("GEMMA_AUDIO_DEVICE")
ONE_THREAD = EngineOptions(threads=1, device=DEVICE)


def line(what: str, figure: str, bound: str) -> None:
    print(f"{what:58s} {figure:>12s}   {bound}", flush=True)


def mel() -> None:
    worst = max(
        float(np.abs(checks.mel_frames(samples) - frames).max(initial=0.0))
        for samples, frames in goldens.mel_cases().values()
    )
    line("mel, max abs difference", f"{worst:.1e}", f"<= {checks.MEL_BOUND:.0e}")


def _encoder(case: str, opened: checks.Opened, truth: goldens.Golden) -> None:
    if len(truth.encoder):
        cosine = checks.cosines(opened.encode(stage=1), truth.encoder).min()
        line(f"{case}: encoder, worst token's cosine", f"{cosine:.7f}", f">= {checks.COSINE_BOUND}")


def _embeddings(case: str, opened: checks.Opened, truth: goldens.Golden) -> None:
    cosine = checks.cosines(opened.encode(), truth.embeddings).min()
    line(f"{case}: embeddings, worst token's cosine", f"{cosine:.7f}", f">= {checks.COSINE_BOUND}")


def _sliced(case: str, opened: checks.Opened, truth: goldens.Golden) -> None:
    whole = opened.encode()
    seeds = range(2 if DEVICE else 5)
    slicings = [checks.random_cuts(len(truth.samples), np.random.default_rng(seed)) for seed in seeds]
    sliced = max(float(np.abs(opened.encode(cuts) - whole).max()) for cuts in slicings)
    line(f"{case}: sliced against whole, max abs", f"{sliced:.1e}", f"<= {checks.slicing_bound(DEVICE):.0e}")


def _logits(case: str, opened: checks.Opened, truth: goldens.Golden) -> None:
    logits = opened.logits(truth.embeddings, len(truth.logits))
    difference = np.abs(logits - truth.logits).max()
    info = opened.engine.info
    placed = f", {info.n_gpu_layers} of {info.n_layer + 1} layers" if DEVICE else ""
    bound = f"<= {checks.logit_bound(DEVICE):.0e}"
    line(f"{case}: logits{placed}, max abs difference", f"{difference:.1e}", bound)


def _greedy(case: str, opened: checks.Opened, truth: goldens.Golden) -> None:
    tokens = opened.greedy(truth.embeddings, len(truth.greedy))
    same = sum(a == b for a, b in zip(tokens, truth.greedy, strict=True))
    line(f"{case}: greedy tokens that agree", f"{same}/{len(tokens)}", "all")


MEASURES = {
    "encoder": _encoder, "embeddings": _embeddings, "sliced": _sliced, "logits": _logits, "greedy": _greedy,
}  # fmt: skip


def golden(
    case: str, scratch: Path, measures: Sequence[str] = tuple(MEASURES), layers: int | None = None
) -> None:
    """One small random model against transformers, float32."""
    truth = goldens.load(case)
    text, mmproj = goldens.float32_pair(case, scratch)
    with Engine(text, mmproj, EngineOptions(threads=1, device=DEVICE, gpu_layers=layers)) as engine:
        for measure in measures:
            MEASURES[measure](case, checks.Opened(engine, truth), truth)


class _Clip:
    """Audio between random tokens, enough of them to judge agreement by."""

    def __init__(self, n_vocab: int) -> None:
        rng = np.random.default_rng(4)
        self.samples = (rng.standard_normal(25_600) * 0.1).astype(np.float32)
        self.before = rng.integers(4, n_vocab, 9).tolist()
        self.after = rng.integers(4, n_vocab, 300).tolist()


def quantised(kind: str, scratch: Path) -> None:
    """The tiny random model against libllama, and libllama against itself without flash attention."""
    from oracles.apart import LlamaCpp

    text, mmproj = make_pair("tiny", kind, "f16", 5, scratch)
    rows = []
    for flash in (None, False):
        with LlamaCpp(text, mmproj, kv_type="f32", flash=flash) as ref:
            clip = _Clip(ref.n_vocab)
            audio = ref.encode_audio(clip.samples)
            rows.append(ref.forward([clip.before, audio, clip.after])[-len(clip.after) :])
    with Engine(text, mmproj, ONE_THREAD) as engine:
        options = SessionOptions(n_ctx=1024, kv_type="f32")
        ours = checks.Opened(engine, clip).logits(audio, len(clip.after), options)
    for name, values in (("ours", ours), ("libllama's other attention kernel", rows[1])):
        cosine = checks.cosines(values, rows[0]).min()
        agree = np.mean(values.argmax(-1) == rows[0].argmax(-1))
        line(f"{kind}: {name} / libllama, cosine", f"{cosine:.6f}", f">= {checks.QUANTISED_COSINE}")
        line(f"{kind}: {name} / libllama, top-1, ties counted", f"{agree:.1%}", "")


def on_device() -> int:
    """Everything by this program, once more; the number of processes that did not come to their end."""
    lost = 0
    runs = [(measure, "-1") for measure in MEASURES] + [("logits", "0"), ("logits", "2"), ("greedy", "0")]
    for case in goldens.cases():
        for measure, layers in runs:
            code = subprocess.run([sys.executable, __file__, case, measure, layers]).returncode
            if code:
                lost += 1
                line(f"{case}: {measure} ended with code {code}", "", "0")
    return lost


def main(arguments: list[str]) -> int:
    if DEVICE and not arguments:
        return on_device()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments:
            case, measure, layers = arguments
            golden(case, Path(scratch), [measure], None if layers == "-1" else int(layers))
            return 0
        mel()
        for case in goldens.cases():
            golden(case, Path(scratch))
        for kind in ("f32", "f16", "bf16", "q8_0", "q4_0"):
            quantised(kind, Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
