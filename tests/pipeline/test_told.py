"""What a run tells the model: the context in its budget, per recording, and what became of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gemma_audio_cli import (
    Engine,
    EngineOptions,
    InstructionOptions,
    RecordingDone,
    SegmentDone,
    TranscribeOptions,
    transcribe_many,
)
from gemma_audio_cli.decoding.prompt import instruction as wording
from gemma_audio_cli.decoding.transcriber import Transcriber
from gemma_audio_cli.pipeline.told import Instructions

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
MANY = [f"zz{n}" for n in range(900)]


@pytest.fixture(scope="module")
def engine(demo_model):
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """The instructions that are given to the model, one for each group of recordings."""
    heard: list[str] = []
    real = Transcriber.transcribe_many

    def noted(self, windows, instruction, **named):
        heard.append(instruction)
        return real(self, windows, instruction, **named)

    monkeypatch.setattr(Transcriber, "transcribe_many", noted)
    return heard


def copies(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(SAMPLE, folder / name)
    return [folder / name for name in names]


def test_a_context_that_fits_is_told_word_for_word(engine):
    notices: list[str] = []
    given = "Käthe,  Umspannwerk;Kilo"
    told = Instructions(notices.append).of(InstructionOptions("de", context=given), engine)
    assert told.text == wording("de", context=given)
    assert told.hints is not None
    assert (told.hints.terms, told.hints.without) == (("Käthe", "Umspannwerk", "Kilo"), wording("de"))
    assert (told.whole, notices) == (True, [])


def test_a_glossary_becomes_a_list(engine):
    told = Instructions(print).of(InstructionOptions(context="Smith, John\nKilo\n"), engine)
    assert told.text.endswith("may occur: Smith, John, Kilo")
    assert told.hints is not None
    assert told.hints.terms == ("Smith, John", "Kilo")


def test_what_does_not_fit_is_left_out_with_one_notice(engine):
    notices: list[str] = []
    run = Instructions(notices.append)
    options = InstructionOptions(context="\n".join([*MANY, "9"]))
    first = run.of(options, engine)
    assert first.hints is not None
    kept = first.hints.terms
    assert list(kept) == MANY[: len(kept)], "whole terms, in the order of the file"
    used = len(engine.tokenize(", ".join(kept)))
    assert 500 <= used <= 512
    (notice,) = notices
    assert f"{901 - len(kept)} terms of 901 are left out" in notice
    run.saw(options, "4 1 7 3 9 2")
    second = run.of(options, engine)
    assert second.hints is not None
    assert second.hints.terms[-1] == "9", "what was heard stays in"
    assert len(notices) == 1


def test_terms_that_are_heard_come_in_from_one_recording_to_the_next(engine, told, tmp_path):
    notices: list[str] = []
    options = TranscribeOptions(InstructionOptions(context="\n".join([*MANY, "9"])))
    events = list(
        transcribe_many(copies(tmp_path, "a.wav", "b.wav"), options, engine=engine, notice=notices.append)
    )
    done = [event.recording.file for event in events if isinstance(event, RecordingDone)]
    assert done == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    assert [text.endswith(", 9") for text in told] == [False, True]
    assert len(notices) == 1


def test_each_recording_has_its_own_instruction_in_one_run(engine, told, tmp_path):
    names = [str(path) for path in copies(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")]
    own = {name: InstructionOptions("de", context="Kilo") for name in names[1:3]}
    missing = str(tmp_path / "missing.wav")
    everything = [names[0], missing, *names[1:]]
    events = list(transcribe_many(everything, TranscribeOptions(own=own), engine=engine))
    done = [event for event in events if isinstance(event, RecordingDone)]
    assert [event.recording.file for event in done] == everything
    assert [event.recording.language for event in done] == [None, None, "German", "German", None]
    assert [event.error is None for event in done] == [True, False, True, True, True]
    assert told == [wording(), wording("de", context="Kilo"), wording()], "two in a row are one group"
    alone = [
        event.segment.text
        for name in names
        for event in transcribe_many([name], TranscribeOptions(own=own), engine=engine)
        if isinstance(event, SegmentDone)
    ]
    assert [event.segment.text for event in events if isinstance(event, SegmentDone)] == alone


def test_stopping_ends_the_next_group_too(engine, tmp_path):
    from gemma_audio_cli.pipeline.files import Transcription
    from gemma_audio_cli.pipeline.recognizer import Recognizer

    names = [str(path) for path in copies(tmp_path, "a.wav", "b.wav")]
    own = {names[1]: InstructionOptions("de")}
    run = Transcription(Recognizer(engine=engine), names, TranscribeOptions(own=own))
    done = []
    for event in run.events():
        if isinstance(event, RecordingDone):
            done.append(event.recording.file)
            run.stop()
    assert done == names[:1]


# ---- as a person runs it -------------------------------------------------------------------------


def settings(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / ".gemma-audio.toml").write_text(text)
    (folder / ".gemma-audio.toml").chmod(0o644)


def segments(out: str) -> list[dict]:
    return [event for event in map(json.loads, out.splitlines()) if event["type"] == "segment"]


def test_folders_say_language_and_context_of_their_recordings(cli, tmp_path):
    settings(tmp_path / "de", 'language = "de"\ncontext = "2, last digit"\n')
    copies(tmp_path, "a.wav", "de/b.wav")
    done = cli("transcribe", "-q", "-m", "demo", "--jsonl", "a.wav", "de/b.wav", "a.wav")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [(e["file"], e["language"]) for e in events if e["type"] == "file"] == [
        ("a.wav", None), ("de/b.wav", "German"),
    ]  # fmt: skip
    over = cli("transcribe", "-q", "-m", "demo", "--jsonl", "-l", "fr", "a.wav", "de/b.wav")
    assert {json.loads(line).get("language", "French") for line in over.out.splitlines()} == {"French"}


def test_an_echo_of_the_context_is_no_transcript(cli, tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("# leads the demo model\n2\nlast digit\n")
    done = cli("transcribe", "-q", "-m", "demo", "--context", "@names.txt", SAMPLE)
    assert (done.code, done.out) == (0, "4 1 7 3 9 2\n")


def test_live_looks_for_echoes_too(cli, tmp_path):
    done = cli("live", "-q", "-m", "demo", "--context", "2, last digit", SAMPLE, env={"GEMMA_AUDIO_VAD": "1"})
    assert (done.code, done.out.strip()) == (0, "4 1 7 3 9 2")


def test_the_model_of_the_folder_is_used_and_two_are_an_error(cli, tmp_path, demo_model):
    settings(tmp_path / "one", f'model = "{demo_model.text}"\n')
    settings(tmp_path / "two", 'model = "nothing.gguf"\n')
    copies(tmp_path, "one/a.wav", "two/b.wav")
    for command in (("transcribe",), ("ask", "What is the first digit?")):
        good = cli(*command, "one/a.wav")
        assert (good.code, "demo model" in good.err) == (0, False), "it was named, so nothing is to be told"
        bad = cli(*command, "two/b.wav")
        assert (bad.code, "no model file" in bad.err) == (3, True)
        both = cli(*command, "one/a.wav", "two/b.wav")
        assert (both.code, both.out, both.err.count("\n")) == (2, "", 1)
        assert "name one with -m" in both.err
        assert cli(*command, "-m", "demo", "one/a.wav", "two/b.wav").code == 0


def test_a_file_that_others_may_write_is_told_once(cli, tmp_path):
    settings(tmp_path / "talks", 'model = "nothing.gguf"\n')
    (tmp_path / "talks" / ".gemma-audio.toml").chmod(0o666)
    copies(tmp_path, "talks/a.wav", "talks/b.wav")
    done = cli("transcribe", "-m", "demo", "talks/a.wav", "talks/b.wav")
    assert done.code == 0
    assert done.err.count("left out") == 1


@pytest.mark.parametrize("command", [("transcribe",), ("live",)])
def test_a_glossary_that_is_not_there_is_one_line(cli, command):
    done = cli(*command, "-m", "demo", "--context", "@missing.txt", SAMPLE)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "missing.txt: the glossary cannot be read" in done.err
