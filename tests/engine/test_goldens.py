"""Our engine against what transformers computed for small random models (tests/goldens), without torch.

Bounds are those of the design: mel 1e-4, encoder tokens cosine 0.99999, any slicing 1e-5, logits 2e-3, greedy
tokens equal. On a GPU, which rounds what it multiplies to float16, slicing 5e-3 and logits 0.1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles import checks, goldens

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, SessionOptions

DEVICE = os.environ.get("GEMMA_AUDIO_DEVICE")
"""With GEMMA_AUDIO_LIBRARY: another backend under the same bounds (docs/BACKENDS.md)."""


@pytest.fixture(scope="module", params=goldens.cases())
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[checks.Opened]:
    """A golden case with its model opened in float32, one thread."""
    text, mmproj = goldens.float32_pair(request.param, tmp_path_factory.mktemp(request.param))
    with Engine(text, mmproj, EngineOptions(threads=1, device=DEVICE)) as engine:
        yield checks.Opened(engine, goldens.load(request.param))


def test_there_are_goldens() -> None:
    assert len(goldens.cases()) >= 4


@pytest.mark.parametrize("name", goldens.mel_cases())
def test_mel_frames_equal_transformers(name: str) -> None:
    samples, frames = goldens.mel_cases()[name]
    checks.mel_close(checks.mel_frames(samples), frames)


@pytest.mark.parametrize("seed", range(3))
def test_mel_frames_do_not_depend_on_slicing(seed: int) -> None:
    samples, _ = goldens.mel_cases()["speech"]
    whole = checks.mel_frames(samples)
    sliced = checks.mel_frames(samples, checks.random_cuts(len(samples), np.random.default_rng(seed)))
    assert np.array_equal(whole, sliced)


def test_encoder_tokens_equal_transformers(case: checks.Opened) -> None:
    if case.engine.info.projector != "gemma4a":
        pytest.skip("this model has no encoder")
    checks.cosine_close(case.encode(stage=1), case.golden.encoder)


def test_embeddings_equal_transformers(case: checks.Opened) -> None:
    checks.cosine_close(case.encode(), case.golden.embeddings)


@pytest.mark.parametrize("seed", range(3))
def test_sliced_clip_equals_whole_clip(case: checks.Opened, seed: int) -> None:
    cuts = checks.random_cuts(len(case.golden.samples), np.random.default_rng(seed))
    np.testing.assert_allclose(case.encode(cuts), case.encode(), rtol=0, atol=checks.slicing_bound(DEVICE))


def test_logits_equal_transformers(case: checks.Opened) -> None:
    golden = case.golden
    logits = case.logits(golden.embeddings, len(golden.logits))
    assert np.abs(logits - golden.logits).max() <= checks.logit_bound(DEVICE)


def test_logits_from_samples_equal_transformers(case: checks.Opened) -> None:
    golden = case.golden
    logits = case.logits(case.encode(), len(golden.logits))
    assert np.abs(logits - golden.logits).max() <= checks.logit_bound(DEVICE)


def test_skipping_rows_changes_nothing(case: checks.Opened) -> None:
    rows = [case.logits(case.golden.embeddings, 3, SessionOptions(n_ctx=512, kv_type="f32", skip_rows=s))
            for s in (True, False)]  # fmt: skip
    bound = checks.logit_bound(DEVICE) if checks.in_half(DEVICE) else 1e-5
    np.testing.assert_allclose(rows[0], rows[1], rtol=0, atol=bound)


def test_greedy_tokens_equal_transformers(case: checks.Opened) -> None:
    golden = case.golden
    assert case.greedy(golden.embeddings, len(golden.greedy)) == golden.greedy


def test_prompt_tokens_equal_the_reference_tokenizer(case: checks.Opened) -> None:
    before = "<bos><|turn>user\n<|audio>"
    assert case.engine.tokenize(before, special=True) == case.golden.before
    after = "<audio|>Transcribe the speech, then 3 words.<turn|>\n<|turn>model\n"
    assert case.engine.tokenize(after, special=True) == case.golden.after


@pytest.mark.skipif(not checks.in_half(DEVICE), reason="all layers lie on the CPU's memory")
@pytest.mark.parametrize("name", goldens.cases())
def test_layers_on_either_side_compute_the_same(name: str, tmp_path: Path) -> None:
    text, mmproj = goldens.float32_pair(name, tmp_path)
    golden = goldens.load(name)
    found = []
    for layers in (0, 1, 3, 999):
        with Engine(text, mmproj, EngineOptions(threads=1, device=DEVICE, gpu_layers=layers)) as engine:
            assert engine.info.n_gpu_layers == min(layers, engine.info.n_layer + 1)
            case = checks.Opened(engine, golden)
            found.append(case.greedy(golden.embeddings, len(golden.greedy)))
    assert found == [golden.greedy] * 4
