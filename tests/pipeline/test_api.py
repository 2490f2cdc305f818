"""The Python surface."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import pytest

import gemma_audio_cli
from gemma_audio_cli import (
    AskOptions,
    CutOptions,
    DecodeOptions,
    Engine,
    Final,
    InputError,
    InstructionOptions,
    LiveOptions,
    ModelError,
    PassesOptions,
    Segment,
    SegmentDone,
    TextDelta,
    TranscribeOptions,
    UsageError,
    aask,
    ask,
    atranscribe,
    listen,
    transcribe,
    transcribe_many,
)
from gemma_audio_cli.decoding.guards import GuardOptions
from gemma_audio_cli.engine.structs import EngineOptions, SamplerOptions


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


def covered(window: float | None = None, **decode: object) -> TranscribeOptions:
    """Everything is heard, tones too, which are no speech."""
    return TranscribeOptions(
        cut=CutOptions(vad=False, window=window),
        decode=DecodeOptions(**{"guards": PLAIN, **decode}),  # type: ignore[arg-type]
    )


def asked(**decode: object) -> AskOptions:
    return AskOptions(cut=CutOptions(vad=False), decode=DecodeOptions(**decode))  # type: ignore[arg-type]


def test_segments_come_one_by_one(engine, recording):
    reported: list[str] = []
    segments = transcribe(recording, covered(1.0), engine=engine, on_text=reported.append)
    first = next(segments)
    assert isinstance(first, Segment)
    assert first.start == 0.0
    rest = list(segments)
    assert rest[-1].end == pytest.approx(2.0)
    assert "".join("".join(reported).split()) == "".join("".join(s.text for s in [first, *rest]).split())


def test_windows_do_not_influence_each_other(engine, recording):
    many = list(transcribe(recording, covered(1.0), engine=engine))
    again = list(transcribe(recording, covered(1.0), engine=engine))
    assert [s.text for s in many] == [s.text for s in again]


def test_the_budget_follows_the_duration(engine, recording):
    options = covered(tokens_per_second=2.0, min_tokens=3)
    (segment,) = transcribe(recording, options, engine=engine)
    assert segment.tokens <= 3 + 4
    assert segment.complete == (segment.tokens < 7)


def test_an_answer(engine, recording):
    options = asked(max_tokens=10, sampler=SamplerOptions(temperature=1.0, top_k=64, top_p=0.95, seed=7))
    answer = ask("What is said?", recording, options, engine=engine)
    assert 0 < answer.tokens <= 10
    assert answer.text == ask("What is said?", recording, options, engine=engine).text


def test_a_recording_too_long_for_the_context_is_an_input_error(engine, tmp_path, make_tone):
    import soundfile

    path = tmp_path / "long.flac"
    soundfile.write(path, make_tone(240.0), 16_000)
    whole = replace(asked(), passes=PassesOptions(wanted=False))
    with pytest.raises(InputError, match=r"positions.*or leave out --whole"):
        ask("What?", path, whole, engine=engine)
    assert ask("What?", path, asked(), engine=engine).parts > 1


def test_a_text_model_alone_cannot_hear(tiny_model, recording):
    with Engine(tiny_model.text) as deaf, pytest.raises(ModelError, match="projector"):
        list(transcribe(recording, covered(), engine=deaf))


def test_an_instruction_that_replaces_the_language_is_no_silent_choice():
    with pytest.raises(UsageError, match="--language"):
        InstructionOptions(language="de", replacement="What is said?")


def test_several_recordings_are_events_in_order(engine, recording, tmp_path):
    missing = tmp_path / "missing.wav"
    events = list(transcribe_many([recording, missing, recording], covered(1.0), engine=engine))
    kinds = [type(event).__name__ for event in events]
    first = kinds.index("RecordingDone") + 1
    assert kinds[:first] == ["RecordingStarted", *["SegmentDone"] * (first - 2), "RecordingDone"]
    assert first > 3
    assert kinds[first:] == ["RecordingStarted", "RecordingDone", *kinds[:first]]
    assert str(missing) in str(events[first + 1].error)
    assert not any(isinstance(event, TextDelta) for event in events)
    texts = [event.segment.text for event in events if isinstance(event, SegmentDone)]
    assert texts[: first - 2] == texts[first - 2 :]


@pytest.fixture(scope="module")
def talk(demo_model, tmp_path_factory):
    """The bundled recording three times over, with pauses, in stereo: several windows of the demo model."""
    import numpy as np
    import soundfile

    sample, rate = soundfile.read(demo_model.text.parent / "sample.wav", dtype="float32")
    pause = np.zeros(rate, dtype=np.float32)
    path = tmp_path_factory.mktemp("talk") / "talk.flac"
    samples = np.concatenate([sample, pause] * 3)
    soundfile.write(path, np.stack([samples, samples], axis=1), rate)
    return path


def test_python_and_the_command_give_the_same(demo_model, talk, cli):
    done = cli("transcribe", "-m", "demo", "-f", "json", talk, env={"GEMMA_AUDIO_VAD": "1"})
    assert done.code == 0
    expected = json.loads(done.out)["segments"]
    segments = list(transcribe(talk, model="demo"))
    assert len(segments) > 1
    assert [(s.text, round(s.start, 3), round(s.end, 3)) for s in segments] == [
        (s["text"], s["start"], s["end"]) for s in expected
    ]
    speech = {"GEMMA_AUDIO_VAD": "1"}
    asked_there = cli("ask", "-q", "-m", "demo", "How many digits are spoken?", talk, env=speech)
    assert asked_there.out.strip() == ask("How many digits are spoken?", talk, model="demo").text


def test_asyncio_gets_the_same(demo_model, talk):
    async def run() -> tuple[list[Segment], str]:
        segments = [segment async for segment in atranscribe(talk, model="demo")]
        return segments, (await aask("What is the first digit?", talk, model="demo")).text

    segments, answer = asyncio.run(run())
    assert [s.text for s in segments] == [s.text for s in transcribe(talk, model="demo")]
    assert answer == ask("What is the first digit?", talk, model="demo").text


def test_asyncio_may_stop_early(demo_model, talk):
    async def first() -> str:
        async for segment in atranscribe(talk, model="demo"):
            return segment.text
        return ""

    assert asyncio.run(first())


def test_word_times_in_one_word(demo_model):
    sample = demo_model.text.parent / "sample.wav"
    (plain,) = transcribe(sample, model="demo")
    (timed,) = transcribe(sample, model="demo", word_times=True)
    (final,) = [event for event in listen(sample, model="demo", word_times=True) if isinstance(event, Final)]
    assert not plain.words
    assert timed.text == final.text == plain.text == " ".join(word.text for word in plain.written)
    assert [word.text for word in timed.words] == [word.text for word in plain.written]
    assert [(word.text, word.source) for word in final.words] == [(w.text, "attention") for w in timed.words]
    assert [word.start for word in final.words] == pytest.approx([w.start for w in timed.words], abs=0.05)
    for segment in (plain, timed, final):
        assert [word.probability for word in segment.written] == pytest.approx(
            [word.probability for word in timed.words], abs=1e-3
        )
    with pytest.raises(UsageError, match="leave out --ask"):
        LiveOptions(answer=True, word_times=True)
