"""Our engine against transformers, live, in float32: the named shapes with fresh weights, and random shapes.

`GEMMA_AUDIO_PARITY_SEED` sets where the random shapes start (default 0), `GEMMA_AUDIO_PARITY_SHAPES` how many
there are.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from oracles import checks

from export_gguf import export_pair
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, Input, SessionOptions

torch = pytest.importorskip("torch", reason="needs the parity extra (torch)")
pytest.importorskip("transformers", reason="needs the parity extra (transformers)")
hf = importlib.import_module("oracles.hf")

pytestmark = pytest.mark.parity

FIRST = int(os.environ.get("GEMMA_AUDIO_PARITY_SEED", "0"))
SHAPES = int(os.environ.get("GEMMA_AUDIO_PARITY_SHAPES", "6"))
N_GREEDY = 64
# An engine within the bound on logits may still swap two tokens that lie closer than this.
CLEAR = 2 * checks.LOGIT_BOUND


@dataclass(frozen=True)
class Clip:
    samples: checks.FloatArray
    before: list[int]
    after: list[int]


@dataclass(frozen=True)
class Live(checks.Opened):
    truth: Any
    unified: bool
    model: Any


def _case(name: str) -> tuple[Any, int]:
    if name in hf.CASES:
        return hf.CASES[name], 1000 + FIRST
    seed = FIRST + int(name.removeprefix("random"))
    return hf.random_case(np.random.default_rng(seed)), seed


@pytest.fixture(scope="module", params=[*hf.CASES, *(f"random{i}" for i in range(SHAPES))])
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A fresh model, its truth, and our engine on its exported float32 pair."""
    torch.set_num_threads(1)
    case, seed = _case(request.param)
    directory = tmp_path_factory.mktemp(request.param)
    samples = hf.speech_like(0.4 + np.random.default_rng(seed).random() * 1.4, seed)
    for attempt in range(20):
        model = hf.build(case, seed + 10_000 * attempt)
        hf.save(model, directory / "checkpoint")
        text, mmproj = export_pair(directory / "checkpoint", directory, "f32", "f32", "live")
        with Engine(text, mmproj, EngineOptions(threads=1)) as engine:
            before = engine.tokenize("<bos><|turn>user\n<|audio>", special=True)
            after = engine.tokenize("<audio|>Transcribe 3 words.<turn|>\n<|turn>model\n", special=True)
            truth = hf.compute(model, samples, before, after, N_GREEDY)
            if truth.margin >= CLEAR:
                yield Live(engine, Clip(samples, before, after), truth, case.unified, model)
                return
    pytest.fail("no weights keep greedy decoding clear of ties")


def test_mel(live: Live) -> None:
    if live.unified:
        pytest.skip("no mel frontend")
    checks.mel_close(checks.mel_frames(live.golden.samples), live.truth.mel)


def test_encoder(live: Live) -> None:
    if live.unified:
        pytest.skip("no encoder")
    checks.cosine_close(live.encode(stage=1), live.truth.encoder)


def test_embeddings(live: Live) -> None:
    checks.cosine_close(live.encode(), live.truth.embeddings)


@pytest.mark.parametrize("seed", range(2))
def test_any_slicing(live: Live, seed: int) -> None:
    cuts = checks.random_cuts(len(live.golden.samples), np.random.default_rng(seed))
    np.testing.assert_allclose(live.encode(cuts), live.encode(), rtol=0, atol=checks.SLICING_BOUND)


def test_logits_at_every_position(live: Live) -> None:
    logits = live.logits(live.truth.embeddings, len(live.truth.logits))
    assert np.abs(logits - live.truth.logits).max() <= checks.LOGIT_BOUND


def test_logits_of_few_rows_are_the_same(live: Live) -> None:
    """Rows stop early where nobody reads them; what is read must not notice."""
    for rows in (1, 5):
        logits = live.logits(live.truth.embeddings, rows)
        assert np.abs(logits - live.truth.logits[-rows:]).max() <= checks.LOGIT_BOUND
        full = live.logits(live.truth.embeddings, rows, SessionOptions(512, kv_type="f32", skip_rows=False))
        # Few rows and many have attention kernels of their own, which add up in another order.
        np.testing.assert_allclose(logits, full, rtol=0, atol=5e-5)


def test_logits_in_small_graphs_are_the_same(live: Live) -> None:
    """A prompt longer than one graph is cut; the pieces see each other through the cache."""
    options = SessionOptions(n_ctx=512, n_batch=7, kv_type="f32")
    logits = live.logits(live.truth.embeddings, 3, options)
    assert np.abs(logits - live.truth.logits[-3:]).max() <= checks.LOGIT_BOUND


def test_attention_of_every_global_layer(live: Live) -> None:
    """What word times are found with; of text rows on text rows, in layers that see them all."""
    rng = np.random.default_rng(FIRST)
    ids = rng.integers(5, hf.VOCAB, 40).tolist()
    layers = [index for index, layer in enumerate(live.engine.layers) if not layer.window]
    truth = hf.attention(live.model, ids, slice(30, 40), slice(4, 27))
    session = live.engine.session(SessionOptions(n_ctx=64, kv_type="f32"))
    session.forward([Input(tokens=ids[:30])])
    ours = session.attention(ids[30:], layers, range(4, 27))
    session.close()
    for index, weights in zip(layers, ours, strict=True):
        np.testing.assert_allclose(weights, truth[index], atol=2e-4)


def test_greedy_tokens(live: Live) -> None:
    assert live.greedy(live.truth.embeddings, N_GREEDY) == live.truth.greedy


def test_greedy_tokens_from_samples(live: Live) -> None:
    ours = live.greedy(live.encode(), N_GREEDY)
    assert ours == live.truth.greedy
