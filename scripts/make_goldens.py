#!/usr/bin/env python3
"""Make `tests/goldens` with transformers: small random models, a clip each, and all that follows from it.

    python scripts/make_goldens.py            # needs the parity extra (torch, transformers)

The default test suite compares our engine with these files, so it needs neither torch nor a download. Seeds
are chosen so that in 64 greedy steps the best token never leads by less than `MIN_MARGIN`: then an engine
within its bound of 2e-3 must produce the same tokens.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import torch  # noqa: E402
import transformers  # noqa: E402
from oracles import goldens, hf  # noqa: E402

from export_gguf import export_pair  # noqa: E402

MIN_MARGIN = 0.02
N_GREEDY = 64
N_LOGITS = 8
PROMPT = "Transcribe the speech, then 3 words."
BEFORE, AFTER = "<bos><|turn>user\n<|audio>", "<audio|>{text}<turn|>\n<|turn>model\n"
# Long enough to cross the conformer's blocks of 12 tokens and the sliding window of 16; ends off any grid.
SECONDS = {"e2b": 1.337, "e4b": 1.01, "plain": 0.53, "v_is_k": 0.9, "unified": 1.015}


def mel_samples() -> dict[str, hf.FloatArray]:
    """Clips for the mel frontend: around the first frame's length, silence, clipping, speech-like."""
    clip = hf.speech_like(0.45, seed=5)
    signals = {f"short{n}": clip[3000 : 3000 + n] for n in (161, 320, 321, 481, 1000)}
    signals["silence"] = np.zeros(1600, dtype=np.float32)
    signals["clipped"] = np.clip(clip[:4000] * 8, -1, 32767 / 32768).astype(np.float32)
    signals["speech"] = clip
    return signals


def make_mel(directory: Path) -> None:
    extractor = transformers.Gemma4AudioFeatureExtractor()
    stored: dict[str, Any] = {}
    for name, samples in mel_samples().items():
        samples = (np.round(samples * 32768) / 32768).astype(np.float32)
        batch = extractor([samples], return_tensors="np")
        frames = batch["input_features"][0][batch["input_features_mask"][0].astype(bool)]
        stored[f"{name}_samples"] = np.round(samples * 32768).astype(np.int16)
        stored[f"{name}_frames"] = frames.astype(np.float32)
    np.savez_compressed(directory / "mel.npz", **stored)


def make_case(name: str, directory: Path) -> dict[str, float | int]:
    """Write one case; returns what the manifest says about it."""
    samples = hf.speech_like(SECONDS[name], seed=len(name))
    tokenizer = None
    for seed in range(1, 200):
        model = hf.build(hf.CASES[name], seed)
        with tempfile.TemporaryDirectory() as scratch:
            hf.save(model, Path(scratch))
            if tokenizer is None:
                tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=f"{scratch}/tokenizer.json")
            before = tokenizer.encode(BEFORE, add_special_tokens=False)
            after = tokenizer.encode(AFTER.format(text=PROMPT), add_special_tokens=False)
            truth = hf.compute(model, samples, before, after, N_GREEDY)
            if truth.margin < MIN_MARGIN:
                continue
            export_pair(Path(scratch), directory, "f16", "f16", name)
        encoder = (
            truth.encoder[:0] if hf.CASES[name].unified else truth.encoder
        )  # there it is the samples again
        golden = goldens.Golden(
            samples, before, after, encoder, truth.embeddings, truth.logits[-N_LOGITS:], truth.greedy
        )
        goldens.store(name, golden, directory)
        return {"seed": seed, "seconds": SECONDS[name], "margin": round(truth.margin, 4)}
    raise SystemExit(f"{name}: no seed keeps greedy decoding clear of ties")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=goldens.DIRECTORY)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    make_mel(args.out)
    made = {name: make_case(name, args.out) for name in hf.CASES}
    manifest = {
        "made_by": "scripts/make_goldens.py",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "cases": made,
    }
    (args.out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {len(made)} cases, {size / 1e6:.2f} MB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
