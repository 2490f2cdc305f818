"""A device that fails while computing: what was under way is done again, nothing lost or doubled."""

from __future__ import annotations

import pytest

from gemma_audio_cli import Engine, Transcriber, Window, errors
from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
from gemma_audio_cli.audio.read.samples import samples
from gemma_audio_cli.audio.segment.utterances import End, Speech
from gemma_audio_cli.audio.segment.windows import WindowOptions, windows
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.transcriber import DecodeOptions
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.models.resolve import demo_sample
from gemma_audio_cli.pipeline.listener import Listener
from gemma_audio_cli.pipeline.talking import answered

OPTIONS = DecodeOptions(slots=2, max_seconds=2.0)


def engine() -> Engine:
    return Engine.open("demo", options=EngineOptions(threads=1))


@pytest.fixture(scope="module")
def heard() -> list[Window]:
    cut = WindowOptions(max_seconds=2.0, search_seconds=1.0)
    return list(windows(samples(str(demo_sample())), cut))


class Failing:
    """Session's method that fails at its n-th call, once."""

    def __init__(self, name: str, n: int) -> None:
        self.whole, self.left, self.failed = getattr(Session, name), n, False

    def bound(self):
        def method(session, *arguments, **options):
            self.left -= 1
            if self.left == 0:
                self.failed = True
                raise errors.BackendError("the device is lost")
            return self.whole(session, *arguments, **options)

        return method


def run(heard, fall_back=None):
    transcriber = Transcriber(engine(), OPTIONS, fall_back=fall_back)
    try:
        return [(s.start, s.text) for s in transcriber.transcribe(heard)]
    finally:
        transcriber.close()
        transcriber.engine.close()


@pytest.mark.parametrize(
    ("method", "n"),
    [(m, n) for m in ("forward", "sample") for n in (1, 2, 3)] + [("generate", 1), ("generate", 2)],
)
def test_the_text_is_that_of_an_undisturbed_run(heard, monkeypatch, method, n):
    expected = run(heard)
    assert len(expected) >= 2
    failing = Failing(method, n)
    monkeypatch.setattr(Session, method, failing.bound())
    reported = []

    def fall_back(old, error):
        reported.append(str(error))
        old.close()
        return engine()

    assert run(heard, fall_back) == expected
    assert failing.failed
    assert reported == ["the device is lost"]


def test_without_another_engine_the_error_comes_out(heard, monkeypatch):
    monkeypatch.setattr(Session, "generate", Failing("generate", 1).bound())
    with pytest.raises(errors.BackendError, match="lost"):
        run(heard)


def test_a_question_is_asked_again(heard, monkeypatch):
    question = "How many digits are spoken?"
    with engine() as first:
        expected = Transcriber(first, OPTIONS).ask(question, iter(heard)).text
    monkeypatch.setattr(Session, "forward", Failing("forward", 1).bound())
    transcriber = Transcriber(engine(), OPTIONS, fall_back=lambda _old, _error: engine())
    assert transcriber.ask(question, iter(heard)).text == expected


@pytest.mark.parametrize("remember", [False, True])
@pytest.mark.parametrize(("method", "n"), [("forward", 1), ("forward", 2), ("forward", 4), ("sample", 2)])
def test_a_conversation_goes_on(heard, monkeypatch, remember, method, n):
    """It hears the sound again, and knows the turns before."""
    questions = [
        "How many digits are spoken?",
        "Which digit is the last one?",
        "Which digit is the first one?",
    ]
    rest: list[tuple[str, Window]] = []

    def asked(fall_back=None) -> list[str]:
        transcriber = Transcriber(engine(), OPTIONS, fall_back=fall_back)
        talk = transcriber.conversation(remember=remember)
        rest[:] = [("", window) for window in heard]
        texts = []
        try:
            for question in questions:
                said = list(answered(transcriber, talk, lambda: talk.hear(rest), question))
                texts.append(said[-1].text)
                assert "".join(said[:-1]).strip() == said[-1].text
            return texts
        finally:
            talk.close()
            transcriber.close()
            transcriber.engine.close()

    expected = asked()
    assert all(expected)
    failing = Failing(method, n)
    monkeypatch.setattr(Session, method, failing.bound())

    def fall_back(old, error):
        old.close()
        return engine()

    assert asked(fall_back) == expected
    assert failing.failed


@pytest.mark.parametrize(("method", "n"), [("forward", 2), ("forward", 4), ("sample", 1), ("generate", 1)])
def test_a_live_stream_goes_on_too(heard, monkeypatch, method, n):
    def listened(fall_back=None) -> list[str]:
        transcriber = Transcriber(engine(), DecodeOptions(slots=1), fall_back=fall_back)
        speech_queue = SpeechQueue()
        for window in heard:
            speech_queue.put(Speech(window.samples, round(window.end * 16_000)))
            speech_queue.put(End(window.start, len(window.samples)))
        speech_queue.close()
        ear = Listener(transcriber, prompt.transcription(None))
        try:
            return [event.text for event in ear.listen(speech_queue)]
        finally:
            ear.close()
            transcriber.close()
            transcriber.engine.close()

    def another(old: Engine, _error: Exception) -> Engine:
        old.close()
        return engine()

    expected = listened()
    failing = Failing(method, n)
    monkeypatch.setattr(Session, method, failing.bound())
    assert listened(another) == expected
    assert failing.failed
