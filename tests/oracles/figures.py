#!/usr/bin/env python3
"""Print every parity figure beside its bound, worst over the golden cases and over all weight types.

    python tests/oracles/figures.py             # from the golden files: no torch needed
    GEMMA_AUDIO_LIBRARY=... GEMMA_AUDIO_DEVICE=Vulkan0 python tests/oracles/figures.py [CASE ...]

With a device: the golden cases only, on it, each in a process of its own, so that a driver that ends one of
them does not end the others; as it is, then with the text model's layers on the CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")]

from gemma_audio_cli.engine.data import EngineOptions, SessionOptions
from gemma_audio_cli.engine.engine import Engine
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


def golden(case: str, scratch: Path) -> None:
    """One small random model against transformers, float32."""
    truth = goldens.load(case)
    text, mmproj = goldens.float32_pair(case, scratch)
    with Engine(text, mmproj, ONE_THREAD) as engine:
        opened = checks.Opened(engine, truth)
        if len(truth.encoder):
            cosine = checks.cosines(opened.encode(stage=1), truth.encoder).min()
            line(f"{case}: encoder, worst token's cosine", f"{cosine:.7f}", f">= {checks.COSINE_BOUND}")
        whole = opened.encode()
        cosine = checks.cosines(whole, truth.embeddings).min()
        line(f"{case}: embeddings, worst token's cosine", f"{cosine:.7f}", f">= {checks.COSINE_BOUND}")
        slicings = [checks.random_cuts(len(truth.samples), np.random.default_rng(s)) for s in range(5)]
        sliced = max(float(np.abs(opened.encode(cuts) - whole).max()) for cuts in slicings)
        line(f"{case}: sliced against whole, max abs", f"{sliced:.1e}", f"<= {checks.SLICING_BOUND:.0e}")
        logits = opened.logits(truth.embeddings, len(truth.logits))
        difference = np.abs(logits - truth.logits).max()
        line(f"{case}: logits, max abs difference", f"{difference:.1e}", f"<= {checks.LOGIT_BOUND:.0e}")
        tokens = opened.greedy(truth.embeddings, len(truth.greedy))
        same = sum(a == b for a, b in zip(tokens, truth.greedy, strict=True))
        line(f"{case}: greedy tokens that agree", f"{same}/{len(tokens)}", "all")
    if DEVICE:
        with Engine(text, mmproj, EngineOptions(threads=1, device=DEVICE, gpu_layers=0)) as engine:
            logits = checks.Opened(engine, truth).logits(truth.embeddings, len(truth.logits))
            difference = np.abs(logits - truth.logits).max()
            line(f"{case}: logits, layers on the CPU", f"{difference:.1e}", f"<= {checks.LOGIT_BOUND:.0e}")


class _Clip:
    """Audio between random tokens, enough of them to judge agreement by."""

    def __init__(self, n_vocab: int) -> None:
        rng = np.random.default_rng(4)
        self.samples = (rng.standard_normal(25_600) * 0.1).astype(np.float32)
        self.before = rng.integers(4, n_vocab, 9).tolist()
        self.after = rng.integers(4, n_vocab, 300).tolist()


def quantised(kind: str, scratch: Path) -> None:
    """The tiny random model against libllama, and libllama against itself without flash attention."""
    from oracles.llamacpp import LlamaCpp  # loads its own ggml, which may be another than that of the device

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
    """Every golden case by this program, once more; the number of those that did not come to their end."""
    lost = 0
    for case in goldens.cases():
        code = subprocess.run([sys.executable, __file__, case]).returncode
        if code:
            lost += 1
            line(f"{case}: ended with code {code}", "", "0")
    return lost


def main(cases: list[str]) -> int:
    if DEVICE and not cases:
        return on_device()
    with tempfile.TemporaryDirectory() as scratch:
        if cases:
            for case in cases:
                golden(case, Path(scratch))
            return 0
        mel()
        for case in goldens.cases():
            golden(case, Path(scratch))
        for kind in ("f32", "f16", "bf16", "q8_0", "q4_0"):
            quantised(kind, Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
