"""Word times: the words of an answer, the path through attention, pauses, heads, and what a person gets."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, Transcriber, Window
from gemma_audio_cli.decoding import calibration
from gemma_audio_cli.decoding.alignment import TOKEN_SECONDS, path, sounding, spans, word_ends
from gemma_audio_cli.decoding.prompt import Layout
from gemma_audio_cli.decoding.spoken import spoken_words
from gemma_audio_cli.decoding.transcriber import NO_HEADS
from gemma_audio_cli.engine.structs import Input, SessionOptions
from gemma_audio_cli.errors import TooLongError, UsageError
from gemma_audio_cli.transcript import Word, words_of

RATE = 16_000
CPU = EngineOptions(threads=1, device="CPU")
WORDS = DecodeOptions(max_seconds=10.0, slots=1, word_times=True)


@pytest.fixture(scope="module")
def demo(demo_model):
    with Engine(demo_model.text, demo_model.mmproj, CPU) as engine:
        yield engine


@pytest.fixture(scope="module")
def tiny(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, CPU) as engine:
        yield engine


# ---- words of tokens -------------------------------------------------------------------------------------


class Letters:
    """A vocabulary whose token is its bytes."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = [token.encode() for token in tokens]

    def token_bytes(self, token: int) -> bytes:
        return self._tokens[token]

    def is_control(self, token: int) -> bool:
        return self._tokens[token].startswith(b"<|")


def words_in(*tokens: str) -> list[tuple[str, int, int]]:
    found = spoken_words(Letters(*tokens), range(len(tokens)), [-0.1] * len(tokens))
    return [(word.text, word.first, word.last) for word in found]


def test_words_have_the_tokens_that_write_them():
    assert words_in("He", "llo", ",", " wor", "ld", ".") == [("Hello,", 0, 2), ("world.", 3, 5)]
    assert words_in(" a", " ", "b\n", "c") == [("a", 0, 0), ("b", 2, 2), ("c", 3, 3)]
    assert words_in("今天", "天气", "很好", "。") == [("今天", 0, 0), ("天气", 1, 1), ("很好。", 2, 3)]
    assert words_in("สวัส", "ดี", " ok") == [("สวัส", 0, 0), ("ดี", 1, 1), ("ok", 2, 2)]
    assert words_in("<|channel>", "thought", "<channel|>", "yes") == [("yes", 3, 3)]
    assert words_in("👩", "\u200d", "👧", "好") == [("👩\u200d👧", 0, 2), ("好", 3, 3)]
    scotland = "\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    assert words_in("🏴", *scotland) == [(f"🏴{scotland}", 0, 6)]
    assert words_in() == []


def test_the_probability_is_the_geometric_mean_of_the_tokens():
    (word,) = spoken_words(Letters("a", "b"), range(2), [np.log(0.5), np.log(0.02)])
    assert word.probability == pytest.approx(0.1)


@given(st.lists(st.text(min_size=1, max_size=4), max_size=12))
def test_no_letter_of_the_text_is_lost(pieces):
    tokens = [piece for piece in pieces if not piece.startswith("<")]
    vocabulary = Letters(*tokens)
    found = spoken_words(vocabulary, range(len(tokens)), [0.0] * len(tokens))
    from gemma_audio_cli.decoding.text import TextFilter

    texts = TextFilter(vocabulary)
    text = "".join([texts.feed(i) for i in range(len(tokens))]) + texts.finish()
    assert "".join(word.text for word in found) == "".join(text.split())
    assert all(word.first <= word.last for word in found)
    assert all(a.last <= b.first or a.last == b.first for a, b in itertools.pairwise(found))


def test_words_of_a_text_are_those_it_begins_with():
    words = [Word(text, i, i + 1, 1.0) for i, text in enumerate(["one", "two", "three"])]
    assert words_of(words, "one two") == tuple(words[:2])
    assert words_of(words, "onetwo three") == tuple(words)
    assert words_of(words, "") == ()
    assert words_of(words, "two") == ()


# ---- places and pauses -----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_the_path_goes_forward_and_no_other_is_better(steps, places, seed):
    rows = len(steps)
    weights = np.random.default_rng(seed).random((rows, places), dtype=np.float32)
    found = path(weights, steps)
    if sum(steps[1:]) >= places:  # no room for them
        steps = [0] * rows
    assert all(b - a >= step for a, b, step in zip(found, found[1:], steps[1:], strict=False))

    def total(way) -> float:
        return sum(np.log(float(weights[row, place]) + 1e-6) for row, place in enumerate(way))

    every = [
        way
        for way in itertools.combinations_with_replacement(range(places), rows)
        if all(b - a >= step for a, b, step in zip(way, way[1:], steps[1:], strict=False))
    ]
    assert total(found) == pytest.approx(max(map(total, every)), abs=1e-4)


@given(
    st.lists(st.floats(-1, 12), min_size=1, max_size=12),
    st.floats(0, 8),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_words_stay_in_order_and_in_the_window(ends, seconds, seed, loud):
    rng = np.random.default_rng(seed)
    samples = (rng.standard_normal(round(seconds * RATE)) * (0.1 if loud else 0)).astype(np.float32)
    for start in range(0, len(samples) - 2000, 7000):  # pauses
        samples[start : start + 2000] = 0
    found = spans(sorted(ends), samples)
    assert len(found) == len(ends)
    edges = [edge for span in found for edge in (span.start, span.end)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(edges))
    assert edges[0] >= 0
    assert edges[-1] <= seconds + 0.05


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(1, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_words_take_their_time_where_there_is_any(tokens, places, seed):
    """Whatever the heads say: two ends are 0.12 s apart, also of words of several tokens."""
    last = [int(row) - 1 for row in np.cumsum(tokens)]
    weights = np.random.default_rng(seed).random((sum(tokens), places), dtype=np.float32) ** 8
    ends = word_ends(weights, last, 0.0)
    least = 0.12 if 3 * len(tokens) <= places else 0.0
    assert all(b - a >= least - 1e-9 for a, b in itertools.pairwise(ends))


@given(st.lists(st.floats(0.12, 0.5), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_no_word_is_shorter_than_a_sound(gaps, seed):
    """Pauses anywhere: one that begins with a word is not its end."""
    rng = np.random.default_rng(seed)
    ends = list(np.cumsum(gaps))
    samples = rng.normal(0, 0.1, round((ends[-1] + 0.2) * RATE)).astype(np.float32)
    for at in rng.uniform(0, ends[-1], 8):
        samples[round(at * RATE) : round((at + rng.uniform(0.03, 0.3)) * RATE)] = 0
    found = spans(ends, samples)
    assert min(span.end - span.start for span in found) >= 0.06 - 1e-9


def test_a_word_ends_where_a_pause_begins():
    rng = np.random.default_rng(1)
    samples = np.zeros(2 * RATE, dtype=np.float32)
    for start, end in ((0.3, 0.7), (0.9, 1.4)):
        samples[round(start * RATE) : round(end * RATE)] = rng.normal(0, 0.1, round((end - start) * RATE))
    first, second = spans([0.62, 1.5], samples)
    assert [first.start, first.end, second.start, second.end] == pytest.approx(
        [0.3, 0.7, 0.9, 1.4], abs=0.011
    )
    heard = sounding(samples)
    assert [heard.start, heard.end] == pytest.approx([0.3, 1.4], abs=0.011)


# ---- attention -------------------------------------------------------------------------------------------


def test_looking_changes_nothing(tiny):
    rng = np.random.default_rng(3)
    before, tokens = rng.integers(4, 400, 20).tolist(), rng.integers(4, 400, 6).tolist()
    layers = [index for index, layer in enumerate(tiny.layers) if not layer.window]
    assert layers
    with closing(tiny.session(SessionOptions(n_ctx=64, kv_type="f32"))) as session:
        session.forward([Input(tokens=before)])
        found = session.attention(tokens, layers, range(5, 17))
        assert session.length() == 20
        for index, weights in zip(layers, found, strict=True):
            assert weights.shape == (tiny.layers[index].n_head, 6, 12)
            np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-5)
        # A row does not see those behind it, and one layer's attention does not depend on which are read.
        few = session.attention(tokens[:2], layers[-1:], range(5, 17))
        np.testing.assert_allclose(few[0], found[-1][:, :2], atol=1e-5)
        session.forward([Input(tokens=tokens, n_logits=1)])
        looked = session.logits()
        session.rewind()
        session.forward([Input(tokens=before)])
        session.forward([Input(tokens=tokens, n_logits=1)])
        np.testing.assert_array_equal(session.logits(), looked)


def test_what_cannot_be_looked_at_is_refused(tiny):
    whole = next(index for index, layer in enumerate(tiny.layers) if not layer.window)
    sliding = next(index for index, layer in enumerate(tiny.layers) if layer.window)
    with closing(tiny.session(SessionOptions(n_ctx=40))) as session:
        session.forward([Input(tokens=[5] * 30)])
        for tokens, layers, keys in (
            ([5], [whole, whole], range(3)),
            ([5], [tiny.info.n_layer], range(3)),
            ([5], [-1], range(3)),
            ([5], [whole], range(20, 31)),
            ([5], [whole], range(0)),
            ([5], [sliding], range(3)),
            ([5] * 11, [whole], range(3)),
            ([], [whole], range(3)),
            ([tiny.info.n_vocab], [whole], range(3)),
        ):
            with pytest.raises((UsageError, TooLongError)):
                session.attention(tokens, layers, keys)
        assert session.length() == 30


# ---- heads -----------------------------------------------------------------------------------------------


def test_the_joints_of_the_sample_are_where_it_is_silent():
    samples, rate = soundfile.read(calibration.SAMPLE, dtype="float32")
    text = calibration.SAMPLE.with_suffix(".txt").read_text().split()
    assert [word for word, _, _ in calibration.JOINTS] == text
    edges = [0.0, *(edge for _, *span in calibration.JOINTS for edge in span), len(samples) / rate]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        assert not samples[round(start * rate) : round(end * rate)].any()


@pytest.mark.parametrize("audio_first", [False, True])
def test_the_demo_has_heads_that_follow_speech(demo, audio_first):
    heads = calibration.calibrate(demo, Layout(audio_first))
    assert heads is not None
    assert heads.error < 0.06
    # Held against strings that they were not chosen on.
    for string in calibration.utterances(4, seed=9):
        ((weights, rows),) = [calibration._attention(demo, Layout(audio_first), string, heads.layers)]
        n_head = demo.layers[heads.layers[0]].n_head
        split = [weights[at : at + n_head] for at in range(0, len(weights), n_head)]
        late = np.subtract(string.ends, word_ends(heads.mean(split), rows, heads.offset))
        assert np.abs(late).mean() < 2 * TOKEN_SECONDS


def test_random_weights_have_none_and_words_are_spread(tiny):
    assert calibration.calibrate(tiny, Layout()) is None
    notices: list[str] = []
    noise = np.random.default_rng(5).normal(0, 0.1, 2 * RATE).astype(np.float32)
    transcriber = Transcriber(
        tiny, replace(WORDS, min_tokens=8, tokens_per_second=2.0), notice=notices.append
    )
    try:
        (segment,) = transcriber.transcribe([Window(7.0, noise)])
    finally:
        transcriber.close()
    assert notices == [NO_HEADS]
    assert segment.words
    assert {word.source for word in segment.words} == {"estimated"}
    assert segment.words[0].start == pytest.approx(7.0, abs=0.05)
    assert segment.words[-1].end == pytest.approx(9.0, abs=0.05)


# ---- the whole of it -------------------------------------------------------------------------------------


def strings(speech, count: int, seed: int) -> list[tuple[Window, list[tuple[str, float, float]]]]:
    """Digits of one speaker each, test takes, with pauses of 0 to 0.3 s."""
    import soxr

    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        speaker = str(rng.choice(["george", "jackson", "lucas", "nicolas", "yweweler"]))
        parts, words = [np.zeros(round(rng.uniform(0.1, 0.4) * RATE))], []
        for _ in range(rng.integers(3, 8)):
            digit, take = rng.integers(10), rng.integers(5)
            samples, rate = soundfile.read(speech / "digits" / f"{digit}_{speaker}_{take}.wav")
            samples = soxr.resample(samples, rate, RATE)
            loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
            samples = samples[max(0, loud[0] - 160) : loud[-1] + 160]
            start = sum(map(len, parts)) / RATE
            parts.append(samples * 0.1 / np.sqrt(np.mean(samples**2)))
            words.append((str(digit), start, sum(map(len, parts)) / RATE))
            parts.append(np.zeros(round(rng.uniform(0, 0.3) * RATE)))
        whole = np.concatenate([*parts, np.zeros(round(rng.uniform(0.1, 0.4) * RATE))])
        found.append((Window(0.0, (whole + rng.normal(0, 0.001, len(whole))).astype(np.float32)), words))
    return found


def shown(words) -> list[Word]:
    """As results give them: sums are made in another order for another number of windows."""
    return [replace(word, probability=round(word.probability, 2)) for word in words]


def test_words_of_strings_with_known_joints(demo, speech):
    """Median error at most 60 ms, 95 % at most 200 ms; any number of windows at once gives the same."""
    made = strings(speech, 40, 11)
    results = []
    for slots in (1, 4):
        transcriber = Transcriber(demo, replace(WORDS, slots=slots))
        try:
            results.append(list(transcriber.transcribe([window for window, _ in made])))
        finally:
            transcriber.close()
    one, four = ([shown(segment.words) for segment in segments] for segments in results)
    assert one == four
    errors, right = [], 0
    for words, (_, true) in zip(one, made, strict=True):
        if [word.text for word in words] != [text for text, _, _ in true]:
            continue  # it heard something else
        right += 1
        for word, (_, start, end) in zip(words, true, strict=True):
            errors += [abs(word.start - start), abs(word.end - end)]
            assert word.source == "attention"
    assert right >= 36
    print(f"\n{len(errors)} edges: median {np.median(errors):.3f}, 95 % {np.quantile(errors, 0.95):.3f} s")
    assert np.median(errors) <= 0.06
    assert np.quantile(errors, 0.95) <= 0.2
