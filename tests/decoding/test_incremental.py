"""An utterance heard in pieces says what it says as a whole, whatever was asked on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.guards import GuardOptions
from gemma_audio_cli.decoding.incremental import Incremental
from gemma_audio_cli.decoding.sequence import Reply
from gemma_audio_cli.decoding.transcriber import DecodeOptions, Transcriber
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
NO_LOOPS = GuardOptions(attempts=(0.0,), split=False, min_logprob=float("-inf"), min_repeats=1 << 30)


def budget(seconds: float) -> int:
    return 24


@pytest.fixture(scope="module")
def demo(demo_model):
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.fixture(scope="module", params=["conformer", "unified"])
def tiny(request, tiny_model):
    """A random model of each kind of projector."""
    files = (tiny_model.text, tiny_model.mmproj)
    if request.param == "unified":
        files = (GOLDENS / "unified.gguf", GOLDENS / "mmproj-unified.gguf")
    with Engine(*files, EngineOptions(threads=1)) as engine:
        yield engine


def listener(engine: Engine, guards: GuardOptions | None = None, **options: int) -> Incremental:
    options_ = DecodeOptions(slots=1, max_seconds=10.0, guards=guards or GuardOptions())
    (decoder,) = Transcriber(engine, options_)._decoders(prompt.transcription(None), 1, budget(10.0))
    return Incremental(decoder, budget, **options)


def in_pieces(ear: Incremental, samples: np.ndarray, seed: int) -> tuple[Reply, list[Reply]]:
    """The final answer, and the partial ones, with pushes of random sizes and partials at random moments."""
    rng = np.random.default_rng(seed)
    partials, at = [], 0
    while at < len(samples):
        n = int(rng.choice([1, 80, 160, 1280, 4000, 20_000]))
        ear.push(samples[at : at + n])
        at += n
        if rng.random() < 0.3:
            partials.append(ear.partial())
    return ear.finish(), partials


@pytest.fixture(scope="module")
def sample(demo_model) -> np.ndarray:
    samples, rate = soundfile.read(demo_model.text.parent / "sample.wav", dtype="float32")
    assert rate == 16_000
    return samples


def test_the_final_text_is_that_of_transcribe(demo, sample):
    (segment,) = Transcriber(demo, DecodeOptions(slots=1)).transcribe([Window(0.0, sample)])
    ear = listener(demo)
    for seed in range(6):
        heard, partials = in_pieces(ear, sample, seed)
        assert (heard.text, heard.complete) == (segment.text, True)
        assert len(heard.tokens) == segment.tokens
        assert heard.logprob == pytest.approx(segment.logprob, abs=1e-4)
        assert partials
    ear.close()


@pytest.mark.parametrize("step_tokens", [1, 7, 250])
def test_any_pushes_and_partials_leave_the_same_tokens(tiny, step_tokens):
    # The random model writes until its budget is spent: every token is compared.
    # Sound of a seed whose answers have no near ties, which another order of a sum would tip.
    samples = (np.random.default_rng(3).standard_normal(50_000) * 0.1).astype(np.float32)
    whole = listener(tiny, NO_LOOPS)
    whole.push(samples)
    expected = whole.finish()
    assert len(expected.tokens) == 24
    ear = listener(tiny, NO_LOOPS, step_tokens=step_tokens)
    for seed in range(4):
        heard, _ = in_pieces(ear, samples, seed)
        assert heard.tokens == expected.tokens
        # Keys are kept in 16 bits and activations rounded to 8: another order of a sum tips a rounding.
        assert heard.logprobs == pytest.approx(expected.logprobs, abs=0.2)
    whole.close()
    ear.close()


def test_a_right_draft_is_taken_over(demo, sample):
    ear = listener(demo)
    ear.push(sample)
    first = ear.partial()
    again = ear.partial()
    assert (first.accepted, again.accepted) == (0, len(first.tokens))
    assert again.tokens == first.tokens
    assert again.logprobs == pytest.approx(first.logprobs, abs=1e-4)
    final = ear.finish()
    assert final.text == first.text
    assert final.accepted > 0
    ear.close()


def test_nothing_said_is_nothing_heard(demo, sample):
    ear = listener(demo)
    assert ear.partial().text == ear.finish().text == ""
    ear.push(sample[:100])  # less than a frame
    assert ear.partial().tokens == ()
    assert ear.finish().tokens == ()
    ear.push(sample)
    assert ear.seconds == pytest.approx(len(sample) / 16_000)
    assert ear.finish().text
    assert ear.seconds == 0.0
    ear.close()
