"""Segments are cut where the speaker changes, and nothing of them is lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.speakers.assignment import SpeakerTimes, by_speaker
from gemma_audio_cli.speakers.diarization import Turn
from gemma_audio_cli.transcript import FLAG_OVERLAP, Segment, Word, Written


def name(speaker: int) -> str:
    return f"S{speaker}"


def said(*words: tuple[str, float, float], text: str | None = None) -> Segment:
    return Segment(
        words[0][1],
        words[-1][2],
        text or " ".join(word for word, _, _ in words),
        tokens=2 * len(words),
        words=tuple(Word(word, start, end, 0.5) for word, start, end in words),
        written=tuple(Written(word, 0.5) for word, _, _ in words),
    )


def test_a_segment_of_two_speakers_is_two():
    segment = said(("one", 0.0, 0.5), ("two", 0.5, 1.0), ("three", 2.0, 2.5), text="one two\nthree")
    first, second = by_speaker(segment, SpeakerTimes([Turn(0, 1.2, 0), Turn(1.8, 3, 1)]), name)
    assert (first.text, first.start, first.end, first.speaker) == ("one two", 0.0, 1.0, "S0")
    assert (second.text, second.start, second.end, second.speaker) == ("three", 2.0, 2.5, "S1")
    assert [word.speaker for word in first.words + second.words] == ["S0", "S0", "S1"]
    assert (first.tokens, second.tokens) == (4, 2)


def test_a_segment_of_one_speaker_keeps_its_times():
    segment = replace(said(("one", 0.5, 0.9)), start=0.2, end=1.4)
    assert by_speaker(segment, SpeakerTimes([Turn(0.4, 1, 0)]), name) == [
        replace(segment, speaker="S0", words=(replace(segment.words[0], speaker="S0"),))
    ]


def test_a_word_in_a_pause_is_of_the_nearest_turn():
    times = SpeakerTimes([Turn(0, 1, 0), Turn(2, 3, 1)])
    assert times.of(1.1, 1.2) == 0
    assert times.of(1.7, 1.9) == 1
    assert times.of(9.0, 9.5) is None


def test_where_two_speak_the_one_before_goes_on():
    times = SpeakerTimes([Turn(0, 2, 0), Turn(1, 3, 1)])
    assert times.of(1.2, 1.6, before=0) == 0
    assert times.of(1.2, 1.6, before=1) == 1
    assert times.of(2.1, 2.4, before=0) == 1


def test_overlapping_speech_is_flagged():
    times = SpeakerTimes([Turn(0, 2, 0), Turn(1, 3, 1)])
    assert times.overlapped(0, 3) == 1
    [segment] = by_speaker(said(("yes", 1.1, 1.7)), times, name)
    assert segment.flags == (FLAG_OVERLAP,)
    [alone] = by_speaker(said(("yes", 0.1, 0.7)), times, name)
    assert alone.flags == ()


def test_a_translation_is_not_cut():
    segment = replace(said(("eins", 0, 1), ("zwei", 2, 3)), translation="one two")
    [whole] = by_speaker(segment, SpeakerTimes([Turn(0, 1, 0), Turn(1.5, 3.5, 1)]), name)
    assert (whole.text, whole.speaker) == ("eins zwei", "S1")


TURNS = st.lists(
    st.tuples(st.floats(0, 30), st.floats(0.1, 8), st.integers(0, 4)).map(
        lambda t: Turn(t[0], t[0] + t[1], t[2])
    ),
    max_size=12,
)
WORDS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4), st.floats(0.05, 3)
    ),
    min_size=1,
    max_size=12,
)


@given(TURNS, WORDS, st.lists(st.sampled_from([" ", "  ", "\n", ""]), min_size=12, max_size=12))
def test_nothing_is_lost(turns, words, spaces):
    at, timed = 0.0, []
    for word, seconds in words:
        timed.append((word, at, at + seconds))
        at += seconds
    text = "".join(word + space for (word, _), space in zip(words, spaces, strict=False)).strip()
    segment = said(*timed, text=text)
    parts = by_speaker(segment, SpeakerTimes(turns), name)
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    assert [replace(w, speaker=None) for part in parts for w in part.words] == list(segment.words)
    assert sum((part.written for part in parts), ()) == segment.written
    assert all(part.start <= part.end for part in parts)
    for part in parts:
        assert {word.speaker for word in part.words} == {part.speaker}
        assert "".join(word.text for word in part.words) == "".join(part.text.split())
    assert all(a.speaker != b.speaker for a, b in pairwise(parts))


@given(TURNS, st.floats(0, 40), st.floats(0.01, 10))
def test_overlaps_are_what_counting_finds(turns, start, seconds):
    end = start + seconds
    times = SpeakerTimes(turns)
    step = seconds / 500
    counted = sum(
        step
        for i in range(500)
        if sum(turn.start <= start + (i + 0.5) * step < turn.end for turn in turns) > 1
    )
    assert abs(times.overlapped(start, end) - counted) <= (2 * len(turns) + 1) * step


def test_who_speaks_in_a_stretch():
    times = SpeakerTimes([Turn(0, 5, 2), Turn(5, 5.3, 1), Turn(6, 9, 0), Turn(20, 30, 1)])
    assert times.speaking(0, 10) == [2, 0]  # a cough of 0.3 s is no contribution
    assert times.speaking(8, 25) == [0, 1]
    assert times.speaking(10, 20) == []
