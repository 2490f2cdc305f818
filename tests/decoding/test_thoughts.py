"""A model that thinks where it should answer: tried again without thoughts, never an empty success.

The demo model is made to think: the token with which it answers the sample trades its word with the mark that
opens a thought. Nothing else about it changes, so the thought never closes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from gguf import GGUFValueType

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, Transcriber, Window, transcript
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.guards import GuardOptions
from tests.models.rewrite import rewrite, tokens_of

TEXT = "gemma-audio-demo.gguf"
OPEN = "<|channel>"


@pytest.fixture(scope="module")
def sample_path(demo_model) -> Path:
    return demo_model.text.parent / "sample.wav"


@pytest.fixture(scope="module")
def sample(sample_path) -> np.ndarray:
    samples, _ = soundfile.read(sample_path, dtype="float32")
    return samples


def swapped(words: list[str], *pairs: tuple[int, int]) -> list[str]:
    for a, b in pairs:
        words[a], words[b] = words[b], words[a]
    return words


@pytest.fixture(scope="module")
def thinker(demo_model, sample, tmp_path_factory) -> Path:
    """The text model whose first word about the sample is the mark of a thought."""
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        decoder = Transcriber(engine).incremental(prompt.transcription())
        decoder.push(sample)
        first = decoder.finish().tokens[0]
        decoder.close()
    words = tokens_of(demo_model.text)
    words = swapped(words, (first, words.index(OPEN)))
    path = tmp_path_factory.mktemp("thinker") / TEXT
    key = "tokenizer.ggml.tokens"
    return rewrite(demo_model.text, path, {key: (words, GGUFValueType.STRING)})


@pytest.fixture(scope="module")
def engine(thinker, demo_model):
    with Engine(thinker, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


LENIENT = GuardOptions(attempts=(0.0,), split=False, min_logprob=-100.0)


def test_the_model_does_think(engine, sample):
    """What the tests below rest on."""
    transcriber = Transcriber(engine)
    (decoder,) = transcriber._decoders(prompt.transcription(), 1, 40)
    clip = engine.audio()
    clip.push(sample)
    clip.finish()
    decoder.begin(decoder.prompt.sound([clip]), budget=40)
    assert engine.token_bytes(decoder._tokens[0]) == OPEN.encode()


def test_a_thought_without_end_is_tried_again_without_thoughts(engine, sample):
    transcriber = Transcriber(engine, DecodeOptions(guards=LENIENT))
    (segment,) = transcriber.transcribe([Window(0.0, sample)])
    transcriber.close()
    assert segment.text.split()[1:] == ["1", "7", "3", "9", "2"]
    assert segment.flags == ()


@pytest.mark.parametrize("partials", [False, True])
def test_live_is_the_same(engine, sample, partials):
    transcriber = Transcriber(engine, DecodeOptions(guards=LENIENT))
    live = transcriber.incremental(prompt.transcription())
    (segment,) = transcriber.transcribe([Window(0.0, sample)])
    for _ in range(2):  # the second utterance may think again
        live.push(sample)
        if partials:
            assert live.partial().text == segment.text
        reply = live.finish()
        assert (reply.text, reply.thinking) == (segment.text, False)
    live.close()
    transcriber.close()


def test_a_question_is_answered_all_the_same(engine, sample):
    pieces: list[str] = []
    transcriber = Transcriber(engine)
    answer = transcriber.ask(prompt.transcription(), [Window(0.0, sample)], on_text=pieces.append)
    transcriber.close()
    assert answer.text.split()[1:] == ["1", "7", "3", "9", "2"]
    assert "".join(pieces).strip() == answer.text
    assert (answer.complete, "thinking" in answer.flags) == (True, False)


def test_a_thought_that_comes_back_is_flagged_and_never_silent(engine, sample, monkeypatch):
    """As with a model that spells its thoughts in a way that no ban reaches."""
    transcriber = Transcriber(engine, DecodeOptions(guards=LENIENT))
    decoders = transcriber._decoders(prompt.transcription(), 1, 100)
    begin = type(decoders[0]).begin
    monkeypatch.setattr(
        type(decoders[0]), "begin", lambda self, *a, thinking=True, **named: begin(self, *a, **named)
    )
    (segment,) = transcriber.transcribe([Window(0.0, sample)])
    answer = transcriber.ask("What?", [Window(0.0, sample)])
    transcriber.close()
    assert (segment.text, segment.complete, segment.reliable) == ("", False, False)
    assert transcript.FLAG_THINKING in segment.flags
    assert answer.text or transcript.FLAG_THINKING in answer.flags


def test_the_command_shows_no_mark(cli, thinker, demo_model, sample_path):
    result = cli("transcribe", "-m", thinker, "--mmproj", demo_model.mmproj, "--jsonl", "-q", sample_path)
    event = json.loads(result.out.splitlines()[0])
    assert event["text"].split()[1:] == ["1", "7", "3", "9", "2"]
    assert OPEN not in result.out
