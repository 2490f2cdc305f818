"""The Python surface."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gemma_audio_cli
from gemma_audio_cli import (
    DecodeOptions,
    Engine,
    InputError,
    ModelError,
    Segment,
    WindowOptions,
    ask,
    transcribe,
)
from gemma_audio_cli.engine.data import EngineOptions, SamplerOptions
from gemma_audio_cli.engine.guards import GuardOptions


@pytest.fixture(scope="module")
def engine(tiny_model):
    with Engine.open(tiny_model.text, options=EngineOptions(threads=1)) as opened:
        yield opened


def test_every_name_is_there():
    for name in gemma_audio_cli.__all__:
        assert getattr(gemma_audio_cli, name) is not None
    with pytest.raises(AttributeError):
        _ = gemma_audio_cli.no_such_name


def test_importing_the_package_imports_nothing_else():
    code = "import sys, gemma_audio_cli; print([m for m in sys.modules if m in ('numpy', 'cffi', 'typer')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


PLAIN = GuardOptions(attempts=(0.0,), split=False)
"""The random model runs into every guard: one try is enough here."""


def test_segments_come_one_by_one(engine, recording):
    told: list[str] = []
    options = WindowOptions(max_seconds=1.0, search_seconds=0.5)
    segments = transcribe(
        recording, engine=engine, decode=DecodeOptions(guards=PLAIN), cut=options, on_text=told.append
    )
    first = next(segments)
    assert isinstance(first, Segment)
    assert first.start == 0.0
    rest = list(segments)
    assert rest[-1].end == pytest.approx(2.0)
    assert "".join("".join(told).split()) == "".join("".join(s.text for s in [first, *rest]).split())


def test_windows_do_not_influence_each_other(engine, recording):
    options = WindowOptions(max_seconds=1.0, search_seconds=0.0)
    many = list(transcribe(recording, engine=engine, cut=options))
    again = list(transcribe(recording, engine=engine, cut=options))
    assert [s.text for s in many] == [s.text for s in again]


def test_the_budget_follows_the_duration(engine, recording):
    decode = DecodeOptions(tokens_per_second=2.0, min_tokens=3, guards=PLAIN)
    (segment,) = transcribe(recording, engine=engine, decode=decode)
    assert segment.tokens <= 3 + 4
    if segment.tokens == 7:
        assert not segment.complete


def test_an_answer(engine, recording):
    decode = DecodeOptions(
        max_tokens=10, sampler=SamplerOptions(temperature=1.0, top_k=64, top_p=0.95, seed=7)
    )
    answer = ask("What is said?", recording, engine=engine, decode=decode)
    assert answer.tokens <= 10
    assert answer.text == ask("What is said?", recording, engine=engine, decode=decode).text


def test_a_recording_too_long_for_the_context_is_an_input_error(engine, tmp_path, make_tone):
    import soundfile

    path = tmp_path / "long.flac"
    soundfile.write(path, make_tone(240.0), 16_000)
    with pytest.raises(InputError, match="positions"):
        ask("What?", path, engine=engine)


def test_a_text_model_alone_cannot_hear(tiny_model, recording):
    with Engine(tiny_model.text) as deaf, pytest.raises(ModelError, match="projector"):
        list(transcribe(recording, engine=deaf))
