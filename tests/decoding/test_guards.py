"""Loops in answers: found when they are loops, left alone when people just repeat themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.decoding.guards import (
    FLAG_REPETITION,
    FLAG_TRUNCATED,
    FLAG_UNLIKELY,
    Attempt,
    GuardOptions,
    better,
    is_looping,
    repeats,
    still_repeats,
    without_loop,
)

OPTIONS = GuardOptions()


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(10, 99), min_size=1, max_size=24))
def test_a_phrase_without_end_is_a_loop_and_is_cut_to_one_turn(before, phrase):
    answer = before + phrase * 30
    assert is_looping(answer, OPTIONS)
    kept = without_loop(answer, OPTIONS)
    assert answer[:kept][: len(before)] == before
    assert len(before) < kept <= len(before) + len(phrase)


@given(st.lists(st.integers(0, 10_000), max_size=200, unique=True))
def test_words_that_never_come_again_are_no_loop(tokens):
    assert not is_looping(tokens, OPTIONS)
    assert without_loop(tokens, OPTIONS) == len(tokens)


@pytest.mark.parametrize(
    "answer", [[7] * 8, [1, 2] * 6, [5, 6, 7, 8] * 3, [*range(30), 4, 4, 4, 4, 4]], ids=str
)
def test_people_may_repeat_themselves(answer):
    assert not is_looping(answer, OPTIONS)


def test_a_loop_is_found_as_soon_as_it_is_long_enough():
    answer = [1, 2, 3]
    while not is_looping(answer, OPTIONS):
        answer += [9, 8, 7, 6, 5, 4]
    assert (len(answer) - 3) // 6 == 4


def attempt(*flags: str, logprobs=(-0.1, -0.2)) -> Attempt:
    return Attempt("text", tuple(logprobs), frozenset(flags))


def test_the_best_of_bad_tries_has_fewest_troubles_then_is_likeliest():
    loop = attempt(FLAG_REPETITION)
    both = attempt(FLAG_REPETITION, FLAG_UNLIKELY, logprobs=(-3.0,))
    cut = attempt(FLAG_TRUNCATED, logprobs=(-1.0,))
    assert better(both, loop) is loop
    assert better(cut, loop) is loop
    assert better(loop, attempt(FLAG_REPETITION)) is loop
    assert attempt().good
    assert not loop.good


def test_what_comes_faster_than_people_speak_is_a_loop_the_sooner():
    phrase, before = [1, 2, 5] * 7, [9]
    assert not is_looping([*before, *phrase], OPTIONS)
    assert repeats([*before, *phrase], 4.6, OPTIONS)
    assert repeats([*before, *phrase, 8, 8, 3], 4.6, OPTIONS)  # the model found its way out
    assert not repeats([*before, *phrase], 9.0, OPTIONS)  # said slowly, it may have been said
    assert not repeats([4, 1, 7, 3, 9, 2] * 3, 1.0, OPTIONS)  # not often enough at any speed


@given(
    st.lists(st.integers(0, 3), max_size=60),
    st.floats(0.1, 30.0, allow_nan=False),
    st.floats(1.0, 4.0, allow_nan=False),
)
def test_the_same_answer_in_more_time_is_no_more_of_a_loop(tokens, seconds, longer):
    if repeats(tokens, seconds * longer, OPTIONS):
        assert repeats(tokens, seconds, OPTIONS)
    if is_looping(tokens, OPTIONS):
        assert repeats(tokens, seconds, OPTIONS)


def test_a_second_try_that_copies_itself_is_no_better():
    assert still_repeats(list(map(int, "66350112515152581251512515121251515")), OPTIONS)
    assert not still_repeats([4, 1, 7, 3, 9, 2, 5, 0, 8, 6, 4, 1, 9, 9, 3, 7, 2, 0, 8, 5, 5, 1], OPTIONS)
    words = "ask not what your country can do for you ask what you can do for your country"
    assert not still_repeats([hash(word) for word in words.split()], OPTIONS)


@given(st.lists(st.integers(0, 3), max_size=80))
def test_copies_are_counted_like_a_person_would(tokens):
    """Straight from the definition, without an index."""
    i = copied = 0
    while i < len(tokens):
        lengths = range(3, len(tokens) - i + 1)
        found = (n for n in lengths for j in range(i) if tokens[j : j + n] == tokens[i : i + n])
        longest = max(found, default=0)
        copied, i = copied + longest, i + max(1, longest)
    assert still_repeats(tokens, OPTIONS) == (copied >= OPTIONS.repeated_tokens / 2)
