"""Several windows at once on a real engine with a random model: order, equality, and every guard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, Transcriber, Window, transcript
from gemma_audio_cli.decoding.guards import GuardOptions

ONCE = GuardOptions(attempts=(0.0,), split=False, min_logprob=-100.0)
"""No second try: what the random model says first is what there is."""
SHORT = DecodeOptions(max_seconds=5.0, min_tokens=6, tokens_per_second=2.0, guards=ONCE)


@pytest.fixture(scope="module")
def engine(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


def noise(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


@pytest.fixture(scope="module")
def windows():
    lengths = [1.0, 0.4, 2.0, 1.5, 0.8, 2.4, 0.6]
    made = [Window(3.0 * i, noise(seconds, i)) for i, seconds in enumerate(lengths)]
    return [*made, Window(30.0, np.zeros(16_000, dtype=np.float32)), Window(33.0, noise(1.0, 99))]


def run(engine, windows, options, **more):
    transcriber = Transcriber(engine, options)
    try:
        return list(transcriber.transcribe(windows, **more))
    finally:
        transcriber.close()


def test_any_number_of_slots_gives_the_same_segments_in_order(engine, windows):
    truth = run(engine, windows, replace(SHORT, slots=1))
    assert [s.start for s in truth] == [w.start for w in windows]
    for slots in (2, 3, 8):
        assert run(engine, windows, replace(SHORT, slots=slots)) == truth


def test_slots_make_no_difference_when_windows_are_tried_again_either(engine, windows):
    options = replace(SHORT, guards=GuardOptions())
    assert run(engine, windows, replace(options, slots=1)) == run(engine, windows, replace(options, slots=3))


def test_the_earliest_window_streams_and_the_pieces_are_the_texts(engine, windows):
    pieces: list[str] = []
    segments = run(engine, windows, replace(SHORT, slots=3), on_text=pieces.append)
    assert "".join("".join(pieces).split()) == "".join("".join(s.text for s in segments).split())


def test_silence_is_not_given_to_the_model(engine, windows):
    segments = run(engine, windows, SHORT)
    assert segments[7].flags == (transcript.FLAG_NO_SPEECH,)
    assert (segments[7].text, segments[7].tokens) == ("", 0)


def test_the_budget_ends_an_answer_and_is_reported(engine, windows):
    options = replace(SHORT, min_tokens=3, tokens_per_second=0.0)
    segments = run(engine, windows[:3], options)
    cut = [s for s in segments if transcript.FLAG_TRUNCATED in s.flags]
    assert cut
    assert all(s.tokens == 3 and not s.complete and not s.reliable for s in cut)


def test_an_unlikely_answer_is_tried_again_warmer_then_in_halves_then_marked(engine, windows):
    hard = GuardOptions(min_logprob=-1e-9)
    (segment,) = run(engine, [windows[5]], replace(SHORT, guards=hard))
    assert transcript.FLAG_UNLIKELY in segment.flags
    assert segment.text
    tokens = engine.timings().n_decode
    run(engine, [windows[5]], replace(SHORT, guards=hard))
    assert engine.timings().n_decode - tokens > 3 * 5, "less was decoded than three tries take"


def test_a_loop_is_cut_off_and_marked(engine, windows):
    # A bound so low that any two equal tokens in a row are a loop: the random model gives some.
    loops = GuardOptions(attempts=(0.0,), split=False, min_logprob=-100.0, repeated_tokens=2, min_repeats=2)
    options = DecodeOptions(max_seconds=5.0, min_tokens=200, tokens_per_second=0.0, guards=loops)
    segments = run(engine, windows[:4], options)
    marked = [s for s in segments if transcript.FLAG_REPETITION in s.flags]
    assert marked
    assert all(s.tokens < 200 for s in marked)


def test_windows_of_several_recordings_come_back_with_their_tags(engine, windows):
    transcriber = Transcriber(engine, replace(SHORT, slots=3))
    tagged = [(name, window) for name in "abc" for window in windows[:2]]
    try:
        found = [(r.tag, r.segment) for r in transcriber.transcribe_many(tagged, "what is said?")]
    finally:
        transcriber.close()
    assert [tag for tag, _ in found] == list("aabbcc")
    assert [s for _, s in found[:2]] == [s for _, s in found[2:4]] == [s for _, s in found[4:]]
