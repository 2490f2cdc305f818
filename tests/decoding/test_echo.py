"""Context words that were not said: found, replaced, or flagged.

The demo model answers questions about digits, also where one stands among the terms of a context. So it is
led to write a term alone where six digits were said.
"""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, InstructionOptions, Transcriber, Window
from gemma_audio_cli.decoding.context import Hints
from gemma_audio_cli.decoding.guards import GuardOptions
from gemma_audio_cli.decoding.scheduler import Result
from gemma_audio_cli.decoding.sequence import likelihoods
from gemma_audio_cli.transcript import FLAG_CONTEXT_ECHO, Segment

SAID = "4 1 7 3 9 2"
LEADING = ("2", "last digit")
"""Makes the model write the last digit alone."""
ONE_TRY = GuardOptions(attempts=(0.0,), split=False)


@pytest.fixture(scope="module")
def engine(demo_model):
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.fixture(scope="module")
def sample(demo_model) -> np.ndarray:
    samples, _ = soundfile.read(demo_model.text.parent / "sample.wav", dtype="float32")
    return samples


def segments(engine, samples, terms, *, options=None, looked_for=True, slots=1) -> list[Segment]:
    instruction = InstructionOptions(context=", ".join(terms))
    hints = Hints(tuple(terms), InstructionOptions().text()) if looked_for else None
    transcriber = Transcriber(engine, options or DecodeOptions())
    windows = [(None, Window(float(10 * n), samples)) for n in range(slots)]
    found = transcriber.transcribe_many(windows, instruction.text(), hints=hints)
    result = [item.segment for item in found if isinstance(item, Result)]
    transcriber.close()
    return result


def test_the_model_is_led(engine, sample):
    """What the tests below rest on."""
    (segment,) = segments(engine, sample, LEADING, looked_for=False)
    assert (segment.text, segment.flags) == ("2", ())


@pytest.mark.parametrize("windows", [1, 6])
def test_what_was_said_takes_the_place_of_an_echo(engine, sample, windows):
    found = segments(engine, sample, LEADING, slots=windows)
    assert [(segment.text, segment.flags) for segment in found] == [(SAID, ())] * windows


def test_an_echo_of_silence_becomes_silence(engine):
    noise = np.random.default_rng(0).normal(0, 0.01, 32000).astype(np.float32)
    terms = ("1", "last digit")
    (led,) = segments(engine, noise, terms, looked_for=False)
    assert led.text == "1"
    (segment,) = segments(engine, noise, terms)
    assert (segment.text, segment.flags) == ("", ("no_speech",))


def test_an_echo_that_stays_is_flagged_and_not_reliable(engine, sample):
    """With room for two tokens: what was said does not fit, so the echo is the better of the two."""
    short = DecodeOptions(min_tokens=2, tokens_per_second=0.0, guards=ONE_TRY)
    (segment,) = segments(engine, sample, LEADING, options=short)
    assert (segment.text, segment.flags, segment.reliable) == ("2", (FLAG_CONTEXT_ECHO,), False)


@pytest.mark.parametrize("terms", [tuple(SAID.split()), (SAID,), ("2", "4 1 7", "3 9")])
def test_terms_that_were_said_stay_as_they_are(engine, sample, terms):
    (plain,) = segments(engine, sample, terms, looked_for=False)
    (segment,) = segments(engine, sample, terms)
    assert segment == plain
    assert segment.text == SAID


def test_a_text_with_other_words_is_not_looked_at(engine, sample, monkeypatch):
    monkeypatch.setattr("gemma_audio_cli.decoding.echo.likelihoods", None)
    (segment,) = segments(engine, sample, ("4", "1", "7", "3"))
    assert segment.text.startswith("4 1 7 3")


def test_another_spelling_of_what_was_said_stays(engine, sample, monkeypatch):
    """As a name that the context spells, and the model alone would spell otherwise. Here the model hears the
    same digits; that they are far less likely is made up.
    """
    monkeypatch.setattr("gemma_audio_cli.decoding.echo.FALL", -1e9)
    (segment,) = segments(engine, sample, tuple(SAID.split()))
    assert (segment.text, segment.flags) == (SAID, ())


def test_likelihoods_are_those_of_decoding_in_one_batch(engine, sample, monkeypatch):
    instruction = InstructionOptions(context=", ".join(LEADING)).text()
    transcriber = Transcriber(engine, DecodeOptions())
    (decoder,) = transcriber._decoders(instruction, 1, 40)
    clip = engine.audio()
    clip.push(sample)
    clip.finish()
    decoder.begin(decoder.prompt.sound([clip]), budget=40)
    while decoder.running:
        from gemma_audio_cli.decoding.sequence import decode

        decode([decoder])
    reply = decoder.reply()
    check = transcriber.echo_check(instruction, Hints(LEADING, InstructionOptions().text()))
    pair = check._open()
    batches = []
    forward = type(pair[0].session).forward
    monkeypatch.setattr(type(pair[0].session), "forward", lambda s, i: batches.append(i) or forward(s, i))
    sounds = [one.prompt.sound([clip], one.seq) for one in pair]
    told, untold = likelihoods(pair, sounds, reply.tokens)
    assert len(batches) == 1
    end = told - sum(reply.logprobs)
    assert -0.1 < end <= 1e-3, "the rest is the end of the answer"
    assert untold < told - 5
    again = likelihoods(pair, sounds, reply.tokens)
    assert again == pytest.approx([told, untold], abs=1e-3)
    pair[0].session.close()
    clip.close()
    decoder.session.close()
