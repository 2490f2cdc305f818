"""Word times by forced alignment: what is said for a text, and where pocketsphinx hears it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.decoding.forced import ForcedAligner
from gemma_audio_cli.decoding.pronunciation import guess, number, said
from gemma_audio_cli.decoding.spoken import Spoken

pytest.importorskip("pocketsphinx")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("Hello,", ["hello"]),
        ("don't", ["don't"]),
        ("Don’t!", ["don't"]),
        ("42", ["forty", "two"]),
        ("1,961", ["one", "thousand", "nine", "hundred", "sixty", "one"]),
        ("100%", ["one", "hundred", "percent"]),
        ("007", ["zero", "zero", "seven"]),
        ("...", []),
        ("R2D2", ["r", "two", "d", "two"]),
    ],
)
def test_what_is_said(word, words):
    assert said(word) == words


@given(st.integers(0, 999_999_999))
def test_numbers_are_read_back(n):
    values = {word: int(value) for value in "0123456789" for word in number(value)}
    values |= {word: n for n in range(10, 20) for word in number(str(n))}
    values |= {number(str(n))[0]: n for n in range(20, 100, 10)}
    total = part = 0
    for word in number(str(n)):
        if word == "hundred":
            part *= 100
        elif word in ("thousand", "million"):
            total, part = total + part * {"thousand": 1000, "million": 10**6}[word], 0
        else:
            part += values[word]
    assert total + part == n


@given(st.text(max_size=30))
def test_any_text_has_something_to_say_or_nothing(text):
    for word in said(text):
        assert word
        assert not any(c.isspace() for c in word)
        assert set(guess(word)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")


@pytest.fixture(scope="module")
def aligner() -> ForcedAligner:
    return ForcedAligner()


def spoken(*words: str) -> list[Spoken]:
    return [Spoken(word, i, i, 1.0) for i, word in enumerate(words)]


def test_joints_of_digits_are_found(aligner, speech):
    """Strings made of single takes: every word lies where its take does."""
    random = np.random.default_rng(0)
    errors = []
    for speaker in ("george", "jackson", "lucas", "nicolas", "yweweler"):
        digits = random.integers(0, 10, 5).tolist()
        sound, joints = [], []
        for digit in digits:
            take, _ = soundfile.read(speech / f"digits/{digit}_{speaker}_3.wav", dtype="float32")
            take = np.interp(np.arange(0, len(take), 0.5), np.arange(len(take)), take)
            gap = np.zeros(int(random.integers(1600, 4800)), np.float32)
            start = sum(map(len, sound))
            joints.append((start / 16_000, (start + len(take)) / 16_000))
            sound += [take, gap]
        spans = aligner._spans(spoken(*map(str, digits)), np.concatenate(sound).astype(np.float32))
        assert spans is not None
        errors += [abs(span.start - start) for span, (start, _) in zip(spans, joints, strict=True)]
    assert np.median(errors) < 0.06
    assert np.percentile(errors, 95) < 0.25


def test_a_speech(aligner, speech):
    samples, _ = soundfile.read(speech / "jfk.wav", dtype="float32")
    words = (speech / "jfk.txt").read_text(encoding="utf-8").split()
    spans = aligner._spans(spoken(*words, "—"), samples)
    assert spans is not None
    assert len(spans) == len(words) + 1
    assert all(a.start <= a.end <= b.start + 1e-9 for a, b in pairwise(spans))
    assert 10 < spans[-1].end < 11.1
    ask = next(i for i, word in enumerate(words) if word.lower().startswith("ask"))
    assert abs(spans[ask].start - 3.3) < 0.3  # heard


def test_words_that_no_dictionary_has(aligner, speech):
    samples, _ = soundfile.read(speech / "jfk.wav", dtype="float32")
    assert aligner._spans(spoken("Umspannwerk", "Käthe"), samples[:48_000]) is not None
    assert aligner._spans(spoken("日本"), samples[:48_000]) is None
    assert aligner._spans(spoken("...", "!"), samples[:48_000]) is None


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(100), np.zeros(1600), np.full(16_000, 9.0)])
def test_what_is_too_short_or_no_speech(aligner, samples):
    spans = aligner._spans(spoken(*["seven"] * 20), samples.astype(np.float32))
    assert spans is None or len(spans) == 20
