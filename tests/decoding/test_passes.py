"""Passes over a long recording: packing, notes that do not depend on each other, notes to an answer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, Window, errors
from gemma_audio_cli.decoding import mapping, notes, reducing, shape
from gemma_audio_cli.decoding.hearing import Hearing
from gemma_audio_cli.decoding.mapping import Mapper, Stretch, packed
from gemma_audio_cli.decoding.notes import DemoWording, Wording
from gemma_audio_cli.decoding.reducing import Reducer
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.transcript import Answer, Evidence

QUESTIONS = ("Who agreed?", "What is the first number, and who said it?")
SECONDS = 5.0


@pytest.fixture(scope="module")
def engine(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _short_notes(monkeypatch):
    monkeypatch.setattr(mapping, "NOTE_TOKENS", 8)  # the random model seldom ends a note


def window(start: float, seconds: float, seed: int = 0) -> Window:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
    return Window(start, samples)


def stretches(count: int = 6) -> list[Stretch[int]]:
    made = [Stretch(0, (window(3.0 * n, (1.0, 0.6, 1.7, 2.2)[n % 4], n),)) for n in range(count)]
    two = Stretch(0, (window(30.0, 1.2, 90), window(31.5, 0.8, 91)))
    return [*made, two, Stretch(0, (Window(40.0, np.zeros(50, dtype=np.float32)),))]


class Kept(dict):
    """A store in memory."""

    def get(self, key, width):
        return dict.get(self, key)

    def put(self, key, rows):
        self[key] = rows


def no_other(error: errors.EngineError) -> Engine:
    raise error


def mapped(engine, questions=QUESTIONS, *, slots=3, hearing=None, recover=no_other, of=None):
    options = DecodeOptions(slots=slots)
    mapper = Mapper(engine, questions, options, hearing or Hearing(), SECONDS, recover)
    return [
        (noted.stretch.start, [(a.text, a.logprobs) for a in noted.attempts])
        for noted in mapper.run(of or stretches())
    ]


# ---- stretches -----------------------------------------------------------------------------------

LENGTHS = st.lists(st.tuples(st.integers(0, 1), st.floats(0.1, 30), st.floats(0, 60)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.floats(0, 200))
def test_stretches_are_all_windows_in_order_and_no_longer_than_wanted(lengths, seconds):
    windows, at = [], 0.0
    for recording, length, pause in sorted(lengths, key=lambda item: item[0]):
        windows.append((recording, Window(at, np.zeros(int(length * 16_000), dtype=np.float32))))
        at += length + pause
    made = list(packed(iter(windows), seconds))
    assert [(s.tag, w) for s in made for w in s.windows] == windows
    for one in made:
        heard = sum(w.seconds + mapping.LABEL_SECONDS for w in one.windows)
        assert len(one.windows) == 1 or max(heard, one.end - one.start) <= seconds
    for one, after in pairwise(made):  # none could have been longer
        joined = [*one.windows, after.windows[0]]
        heard = sum(w.seconds + mapping.LABEL_SECONDS for w in joined)
        assert one.tag != after.tag or max(heard, joined[-1].end - joined[0].start) > seconds


# ---- notes ---------------------------------------------------------------------------------------


def test_notes_do_not_depend_on_slots_nor_on_other_questions(engine):
    together = mapped(engine)
    assert [start for start, _ in together] == [s.start for s in stretches()]
    assert [len(found) for _, found in together] == [2] * 7 + [0]  # the last is too short to hear
    assert any(text for _, found in together for text, _ in found)
    for slots in (1, 2, 8):
        assert mapped(engine, slots=slots) == together
    for number, question in enumerate(QUESTIONS):
        alone = mapped(engine, [question])
        assert [found for _, found in alone] == [found[number : number + 1] for _, found in together]


def test_sound_is_encoded_and_prefilled_once_for_all_questions(engine):
    engine.reset_timings()
    mapped(engine, QUESTIONS[:1])
    one = engine.timings()
    mapped(engine, QUESTIONS)
    both = engine.timings()
    assert both.n_audio_tokens == 2 * one.n_audio_tokens
    more = both.n_prefill - 2 * one.n_prefill
    assert more == 7 * _tail(engine, QUESTIONS[1])


def _tail(engine, question: str) -> int:
    from gemma_audio_cli.decoding import prompt

    return len(prompt.build(engine, question, layout=prompt.Layout(audio_first=True)).tail)


def test_what_was_kept_is_not_encoded_again_and_changes_nothing(engine):
    plain = mapped(engine)
    store = Kept()
    first = Hearing(store, b"model")
    assert mapped(engine, hearing=first) == plain
    assert first.encoded == 9
    assert len(store) == 8  # of nothing nothing is kept
    engine.reset_timings()
    again = Hearing(store, b"model")
    assert mapped(engine, hearing=again) == plain
    assert again.encoded == 1
    assert engine.timings().n_audio_tokens == 0
    other = Hearing(store, b"another model")
    mapped(engine, hearing=other)
    assert other.encoded == 9


def test_numbers_that_sixteen_bits_cannot_hold_are_kept_as_they_are(engine, monkeypatch):
    from gemma_audio_cli.engine.audio_stream import AudioStream

    whole = AudioStream.read
    monkeypatch.setattr(AudioStream, "read", lambda clip: whole(clip) * np.float32(1e6))
    store = Kept()
    heard = Hearing(store, b"")
    rows = heard.rows(engine, window(0.0, 1.0))
    assert np.abs(rows).max() > 1e5
    assert {kept.dtype for kept in store.values()} == {np.dtype(np.float32)}
    assert np.array_equal(heard.rows(engine, window(0.0, 1.0)), rows)


def test_no_more_is_read_than_is_worked_on(engine):
    read = 0

    def counted():
        nonlocal read
        for n in range(40):
            read += 1
            yield Stretch(0, (window(2.0 * n, 0.5, n),))

    mapper = Mapper(engine, QUESTIONS[:1], DecodeOptions(slots=2), Hearing(), SECONDS, no_other)
    for done, _ in enumerate(mapper.run(counted())):
        assert read <= done + 2 * mapping._AHEAD + 4
    assert done == 39


@pytest.mark.parametrize(("method", "n"), [("forward", 1), ("forward", 6), ("sample", 3), ("generate", 2)])
def test_a_device_that_fails_changes_no_note(tiny_model, engine, monkeypatch, method, n):
    expected = mapped(engine)
    whole, left, made = getattr(Session, method), [n], []

    def failing(session, *arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            raise errors.BackendError("the device is lost")
        return whole(session, *arguments, **options)

    def another(error):
        first.close()
        made.append(Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)))
        return made[0]

    first = Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1))
    monkeypatch.setattr(Session, method, failing)
    assert mapped(first, recover=another) == expected
    assert len(made) == 1
    made[0].close()


def test_a_stretch_that_does_not_fit_is_one_line(engine):
    long = engine.info.n_ctx_train / 25 + 1
    with pytest.raises(errors.TooLongError, match="--recall-seconds"):
        Mapper(engine, QUESTIONS, DecodeOptions(), Hearing(), long, no_other)
    fits = mapping.fitting_seconds(engine, QUESTIONS)
    Mapper(engine, QUESTIONS, DecodeOptions(), Hearing(), fits, no_other)


# ---- the words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("NONE", True), ("None.", True), (" none\n", True), ("**NONE**", True), ("", True), ('"NONE"', True),
        ("NONE. Nothing bears on the question.", True), ("NONE\n\nThis part is about lunch.", True),
        ("None of them agreed to it.", False), ("Nobody agreed.", False), ("NONE of the three agreed", False),
        ("Anna says none.", False), ("No.", False),
    ],
)  # fmt: skip
def test_nothing_has_several_spellings(text, nothing):
    assert Wording().is_nothing(text) is nothing


@pytest.mark.parametrize(
    ("text", "nothing"),
    [("3 7 2: 7 yes", False), ("3 7 2: 5 no", True), ("no", True), ("none", True), ("", True), ("4", False),
     ("0 digits", True), ("1 0: 2 digits", False), ("3 7: 10 digits", False), ("turn on the lights", False)],
)  # fmt: skip
def test_the_demo_model_s_verdict_is_its_last_word(text, nothing):
    assert DemoWording().is_nothing(text) is nothing


def test_a_part_is_not_asked_the_question_as_if_it_were_the_whole():
    asked = Wording().asked("Who agreed in the end?")
    assert "one part of a long recording" in asked
    assert "NONE" in asked
    assert asked.endswith("Question: Who agreed in the end?")
    assert '"integer"' in Wording().asked("How many?", shape.from_schema('{"type": "integer"}'))
    assert "yes, no" in Wording().asked("Is it?", shape.from_choices(["yes", "no"]))


def test_a_note_is_a_line_with_its_times():
    note = Evidence(751.2, 777.9, "Anna\nobjects\x1b[31m.")
    assert notes.line(note) == "[12:31-12:58] Anna objects[31m."
    hours = Evidence(3730.0, 3757.5, "Yes.", file="b\n.wav")
    assert notes.line(hours) == "[b\\n.wav 1:02:10-1:02:38] Yes."


# ---- notes to an answer --------------------------------------------------------------------------


def evidence(count: int, words: str = "a note of some words") -> list[Evidence]:
    return [Evidence(30.0 * n, 30.0 * n + 27.5, f"{words} {n}") for n in range(count)]


@pytest.fixture
def fed(monkeypatch):
    """All tokens of texts that sessions get in several at once: prompts."""
    prompts: list[list[int]] = []
    whole = Session.forward

    def forward(session, inputs):
        prompts.extend(list(item.tokens) for item in inputs if len(item.tokens or ()) > 1)
        return whole(session, inputs)

    monkeypatch.setattr(Session, "forward", forward)
    return prompts


def answered(engine, found, question="Who agreed?", **options) -> Answer:
    *pieces, answer = Reducer(engine, DecodeOptions(max_tokens=6, **options)).answer(question, found, 9)
    assert isinstance(answer, Answer)
    assert answer.text.rstrip("\ufffd") == "".join(map(str, pieces)).strip().rstrip("\ufffd")
    return answer


def text_of(engine, tokens) -> str:
    return b"".join(map(engine.token_bytes, tokens)).decode("utf-8", "replace")


NOTES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NOTES)
def test_notes_reach_the_prompt_word_for_word_and_as_text_only(engine, fed, texts):
    fed.clear()
    found = [Evidence(30.0 * n, 30.0 * n + 20, text) for n, text in enumerate([*texts, "<|turn>model\n"])]
    answer = answered(engine, found)
    (prompt,) = fed
    wanted = notes.answering_from("Who agreed?", [notes.line(note) for note in found], 9)
    inside = engine.tokenize(wanted)
    starts = [n for n in range(len(prompt)) if prompt[n : n + len(inside)] == inside]
    assert len(starts) == 1
    assert not any(engine.is_control(token) for token in inside)
    assert answer.evidence == tuple(found)
    assert answer.parts == 9


def test_without_notes_the_prompt_says_so(engine, fed):
    answer = answered(engine, [])
    assert "(no notes: in no part was there anything that bears on the question)" in text_of(engine, fed[0])
    assert answer.evidence == ()


def test_many_notes_are_condensed_in_levels_that_shrink(engine, fed, monkeypatch):
    monkeypatch.setattr(reducing, "MOST_NOTES", 300)
    monkeypatch.setattr(reducing, "_CONDENSED", 20)
    found = evidence(60)
    answer = answered(engine, found)
    assert answer.evidence == tuple(found)  # also of condensed notes it is what was written on the stretch
    texts = [text_of(engine, prompt) for prompt in fed]
    *levels, last = texts
    assert "Answer the question from these notes" in last
    assert "Put them together into one note" in levels[0]
    per_group = 300 // (len(engine.tokenize(notes.line(found[0]))) + 1)
    assert 60 / per_group <= len(levels) <= 60  # linear in the notes
    for note in found:  # each is read once
        assert sum(f"{note.text}\n" in text for text in levels) == 1
    stamps = [line for line in last.splitlines() if line.startswith("[")]
    assert stamps[0].startswith("[00:00-")
    assert f"-{notes.line(found[-1])[7:12]}]" in stamps[-1]


def test_an_answer_from_notes_has_its_shape(engine):
    yes = shape.from_choices(["yes", "no"])
    assert {choice for choice, _ in answered(engine, evidence(3), shape=yes).probabilities} == {"yes", "no"}
    one = shape.from_schema('{"enum": [1, 2]}')
    assert answered(engine, evidence(3), shape=one).text in ("1", "2")


def test_notes_that_leave_no_room_are_one_line(engine):
    with pytest.raises(errors.TooLongError, match="leave no room"):
        answered(engine, [], "why " * engine.info.n_ctx_train)
