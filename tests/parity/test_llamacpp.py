"""Our engine against llama.cpp on random pairs in float types; llama.cpp's loaders on what we export.

llama.cpp's own distance from transformers is larger than ours (its GELU is a float16 table), so the bounds
here are the design's looser ones. Quantised types are judged by each engine's own error, in
`tests/engine/test_weight_types.py` and `test_real_format.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from oracles import checks, goldens
from oracles.apart import LlamaCpp, OracleError

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, SessionOptions
from make_random_model import make_pair

pytestmark = pytest.mark.parity

# Logits of these models spread by 4 and, unlike trained ones, lie evenly. Rounding activations moves them,
# between llama.cpp's own attention kernels too: a smaller lead means nothing.
TIE = 0.1
F32_CACHE = SessionOptions(n_ctx=1024, kv_type="f32")


class Clip:
    """Speech-like noise between random tokens: 40 audio tokens, then enough text to judge agreement by."""

    def __init__(self, n_vocab: int, n_text: int = 300) -> None:
        rng = np.random.default_rng(4)
        self.samples = (rng.standard_normal(25_600) * 0.1).astype(np.float32)
        self.before = rng.integers(4, n_vocab, 9).tolist()
        self.after = rng.integers(4, n_vocab, n_text).tolist()


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_logits_agree_on_float_types(kind: str, tmp_path: Path) -> None:
    text, mmproj = make_pair("tiny", kind, "f16", 5, tmp_path)
    with LlamaCpp(text, mmproj, kv_type="f32") as ref:
        clip = Clip(ref.n_vocab)
        audio = ref.encode_audio(clip.samples)
        theirs = ref.forward([clip.before, audio, clip.after])[-len(clip.after) :]
    with Engine(text, mmproj, EngineOptions(threads=1)) as engine:
        ours = checks.Opened(engine, clip).logits(audio, len(clip.after), F32_CACHE)
    assert checks.cosines(ours, theirs).min() >= checks.QUANTISED_COSINE
    best = np.sort(theirs, axis=-1)
    clear = best[:, -1] - best[:, -2] > TIE
    assert clear.mean() > 0.5
    assert np.mean((ours.argmax(-1) == theirs.argmax(-1))[clear]) >= checks.QUANTISED_TOP1


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0"])
def test_audio_embeddings_agree(kind: str, tmp_path: Path) -> None:
    text, mmproj = make_pair("tiny", "q8_0", kind, 5, tmp_path, vision=True)
    with LlamaCpp(text, mmproj) as ref:
        clip = Clip(ref.n_vocab)
        theirs = ref.encode_audio(clip.samples)
    with Engine(text, mmproj, EngineOptions(threads=1)) as engine:
        ours = checks.Opened(engine, clip).encode()
    assert ours.shape == theirs.shape
    # libmtmd itself lies this far from transformers on float32 files (see the design's facts page).
    assert checks.cosines(ours, theirs).min() >= 0.998


@pytest.mark.parametrize("case", goldens.cases())
def test_llamacpp_runs_what_we_export(case: str, tmp_path: Path) -> None:
    """Its loaders take both files, and its greedy tokens are those of transformers and of our engine."""
    golden = goldens.load(case)
    text, mmproj = goldens.float32_pair(case, tmp_path)
    with LlamaCpp(text, mmproj, kv_type="f32") as ref:
        assert ref.tokenize("<bos><|turn>user\n<|audio>") == golden.before
        audio = ref.encode_audio(golden.samples)
        assert checks.cosines(audio, golden.embeddings).min() >= 0.998
        assert (
            ref.greedy([golden.before, golden.embeddings, golden.after], len(golden.greedy)) == golden.greedy
        )


def test_libmtmd_refuses_a_projector_of_another_width(tmp_path: Path) -> None:
    """So `--width-mismatch` makes the pair it is meant to make."""
    text, mmproj = make_pair("tiny", "q4_0", "bf16", 1, tmp_path, mismatch=True)
    with pytest.raises(OracleError, match="libmtmd does not load"):
        LlamaCpp(text, mmproj)
