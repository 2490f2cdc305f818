"""Several questions about one recording: what they cost, and that they do not hear each other."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, Transcriber, Window
from gemma_audio_cli.decoding import conversation, prompt
from gemma_audio_cli.decoding.conversation import Conversation, by_time
from gemma_audio_cli.engine.audio_stream import encode
from gemma_audio_cli.errors import TooLongError
from gemma_audio_cli.transcript import Answer

QUESTIONS = ("How many digits are spoken?", "What is the first digit?", "What is the last digit?")


@pytest.fixture(scope="module")
def sample(demo_model) -> np.ndarray:
    samples, _ = soundfile.read(demo_model.text.parent / "sample.wav", dtype="float32")
    return samples


@pytest.fixture(scope="module")
def demo(demo_model):
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.fixture(scope="module")
def tiny(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def said(talk: Conversation, question: str) -> Answer:
    *pieces, answer = talk.ask(question)
    assert isinstance(answer, Answer)
    # A character that the budget cut in half comes at the end only.
    assert answer.text.rstrip("\ufffd") == "".join(map(str, pieces)).strip().rstrip("\ufffd")
    return answer


def talking(engine: Engine, windows: list[Window], **options: bool) -> Conversation:
    talk = Conversation(engine, DecodeOptions(max_tokens=12), **options)
    assert talk.hear((by_time(window), window) for window in windows)
    return talk


def test_the_second_question_costs_its_own_tokens(tiny):
    engine = tiny
    engine.reset_timings()
    with talking(engine, [Window(0.0, noise(30.0))]) as talk:
        said(talk, QUESTIONS[0])
        first = engine.timings()
        said(talk, QUESTIONS[1])
        second = engine.timings()
    assert first.n_audio_tokens == second.n_audio_tokens >= 749
    behind = second.n_prefill - first.n_prefill
    # The random model's vocabulary spells a question in letters, a real one in words.
    assert 0 < behind <= len(prompt.build(engine, QUESTIONS[1], layout=prompt.Layout(audio_first=True)).tail)
    assert behind <= first.n_prefill * 0.05


def test_questions_do_not_hear_each_other(demo, sample):
    windows = [Window(0.0, sample)]
    alone = []
    for question in QUESTIONS:
        with talking(demo, windows) as talk:
            alone.append(said(talk, question).text)
    with talking(demo, windows) as talk:
        together = [said(talk, question).text for question in (*QUESTIONS, *QUESTIONS[::-1])]
    assert together == alone + alone[::-1]
    assert alone == ["4 1 7 3 9 2: 6 digits", "4", "2"]


def test_it_is_what_ask_says_with_the_audio_first(demo, sample):
    transcriber = Transcriber(demo, DecodeOptions(audio_first=True))
    with talking(demo, [Window(0.0, sample)]) as talk:
        for question in QUESTIONS:
            assert said(talk, question).text == transcriber.ask(question, [Window(0.0, sample)]).text
    transcriber.close()


def test_what_is_remembered_is_not_computed_again_and_changes_nothing(tiny):
    """The K/V cache that grew turn by turn holds what one forward of the whole talk would."""
    windows = [Window(0.0, noise(2.0)), Window(2.0, noise(1.0, 1))]
    with talking(tiny, windows, remember=True) as talk:
        answers = []
        for question in QUESTIONS:
            before = tiny.timings().n_prefill
            answers.append(said(talk, question))
            follow = prompt.follow_up(tiny, question)
            assert tiny.timings().n_prefill - before <= len(follow) + 2  # and the answer's last token
        turns = talk.turns
        with talking(tiny, windows) as again:  # all of it in one forward
            again._turns = list(turns[:-1])
            whole = said(again, QUESTIONS[-1])
    assert [turn.question for turn in turns] == list(QUESTIONS)
    # Another order of a sum tips a rounding of activations to 8 bits; what follows a tie is another answer.
    assert whole.logprob == pytest.approx(answers[-1].logprob, abs=0.3)
    assert whole.text[:1] == answers[-1].text[:1]


def test_a_turn_can_be_taken_back(demo, sample):
    with talking(demo, [Window(0.0, sample)], remember=True) as talk:
        first = said(talk, QUESTIONS[0])
        second = said(talk, QUESTIONS[1])
        assert talk.drop_last().question == QUESTIONS[1]
        assert said(talk, QUESTIONS[1]).text == second.text
        talk.forget()
        assert talk.turns == ()
        assert said(talk, QUESTIONS[0]).text == first.text


def test_the_oldest_turns_go_first_with_a_notice_and_never_the_sound(tiny, monkeypatch):
    monkeypatch.setattr(conversation, "_ROOM", 150)
    notices: list[str] = []
    with talking(tiny, [Window(0.0, noise(2.0))], remember=True, notice=notices.append) as talk:
        heard = talk._sound
        for number in range(8):
            said(talk, f"Question {number}?")
            assert talk._decoder.session.length() <= talk._decoder.session.options.n_ctx
        assert talk._sound == heard
        assert talk.turns[-1].question == "Question 7?"
        assert len(talk.turns) < 8
    assert len(notices) == 1, "once is enough"


def test_a_question_that_is_too_long_is_refused_and_the_talk_goes_on(tiny, monkeypatch):
    monkeypatch.setattr(conversation, "_ROOM", 150)
    with talking(tiny, [Window(0.0, noise(1.0))]) as talk:
        with pytest.raises(TooLongError, match="the question is too long"):
            said(talk, "why " * 2000)
        assert said(talk, "Why?").tokens


def test_what_does_not_fit_says_what_the_answer_takes_and_what_helps(tiny):
    """In the same words where it is asked once and where it is talked about."""
    limit = tiny.info.n_ctx_train
    said_of_it = []
    with Conversation(tiny, DecodeOptions(max_tokens=limit)) as talk:
        with pytest.raises(TooLongError, match=f"{limit} of them for the answer") as caught:
            talk.hear([("", Window(0.0, noise(1.0)))])
        said_of_it.append(str(caught.value))
        assert not talk.hears_something
    transcriber = Transcriber(tiny, DecodeOptions(max_tokens=limit))
    with pytest.raises(TooLongError) as caught:
        transcriber.ask("What?", [Window(0.0, noise(1.0))])
    transcriber.close()
    said_of_it.append(str(caught.value))
    assert len(set(said_of_it)) == 1
    assert all(option in said_of_it[0] for option in ("--start", "--end", "--max-tokens"))


def test_sound_that_fits_without_its_prompt_only_is_refused(tiny):
    """Not by the engine, which speaks of positions alone."""
    (clip,) = encode(tiny, [noise(1.0)])
    budget = tiny.info.n_ctx_train - len(clip)
    clip.close()
    talk = Conversation(tiny, DecodeOptions(max_tokens=budget))
    with talk, pytest.raises(TooLongError, match="--max-tokens"):
        talk.hear([("", Window(0.0, noise(1.0)))])


def test_of_nothing_nothing_is_said(demo):
    with Conversation(demo, DecodeOptions()) as talk:
        assert not talk.hear([("", Window(0.0, np.zeros(50, dtype=np.float32)))])
        assert list(talk.ask("What?")) == [Answer("", 0, None, True)]
