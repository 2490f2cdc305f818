"""The commands as a person runs them: what goes where, and how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.decoding import prompt

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(tiny_model) -> tuple[str, str]:
    return ("-m", str(tiny_model.text))


def lines(text: str) -> list[str]:
    """What stderr said, but for what the random model does: it never ends an answer, or runs into loops."""
    return [line for line in text.splitlines() if "cut at" not in line and ": unreliable (" not in line]


def error_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("gemma-audio: error: ")]


# ---- results, notices, exit codes ----------------------------------------------------------------


def test_a_recording_becomes_one_line_on_stdout(cli, model, recording):
    done = cli("transcribe", *model, recording)
    assert (done.code, lines(done.err)) == (0, [])
    assert done.out.endswith("\n")
    assert done.out.strip()
    assert cli("transcribe", *model, recording).out == done.out


def test_standard_input_equals_the_file(cli, model, recording):
    piped = cli("transcribe", *model, "-", stdin=recording.read_bytes())
    assert piped.code == 0
    assert piped.out == cli("transcribe", *model, recording).out


def test_several_files_name_themselves_on_every_line(cli, model, recording, tmp_path):
    other = tmp_path / "other.flac"
    soundfile.write(other, soundfile.read(recording)[0], 16_000)
    done = cli("transcribe", *model, recording, other)
    assert done.code == 0
    names = {line.partition(": ")[0] for line in done.out.splitlines()}
    assert names == {str(recording), str(other)}


def test_json_is_one_object_a_file(cli, model, recording):
    done = cli("transcribe", *model, "-f", "json", recording)
    value = json.loads(done.out)
    assert value["file"] == str(recording)
    (segment,) = value["segments"]
    assert (segment["start"], segment["end"]) == (0.0, 2.0)
    assert segment["text"] == value["text"]
    assert segment["avg_logprob"] < 0


def test_a_long_recording_is_walked_in_windows(cli, model, tmp_path, make_tone):
    path = tmp_path / "long.wav"
    soundfile.write(path, make_tone(65.0, 8_000), 8_000)
    value = json.loads(cli("transcribe", *model, "-f", "json", path).out)
    starts = [s["start"] for s in value["segments"]]
    ends = [s["end"] for s in value["segments"]]
    assert len(starts) == 3
    assert starts[1:] == ends[:-1]
    assert ends[-1] == pytest.approx(65.0, abs=0.01)
    assert all(end - start <= 30.0 for start, end in zip(starts, ends, strict=True))


def test_a_question(cli, model, recording):
    done = cli("ask", *model, "--max-tokens", 12, "How many digits are spoken?", recording)
    assert done.code == 0
    assert done.out.endswith("\n")


def test_a_recording_too_long_for_a_question_is_named(cli, model, tmp_path, make_tone):
    path = tmp_path / "long.flac"
    soundfile.write(path, make_tone(240.0, 8_000), 8_000)
    done = cli("ask", *model, "--whole", "What?", path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"gemma-audio: error: {path}: ")


def test_silence_is_not_made_into_words(cli, model, tmp_path):
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(48_000), 16_000)
    done = cli("transcribe", *model, path)
    assert (done.code, done.out) == (0, "")
    assert "no speech" in done.err
    assert cli("transcribe", "-q", *model, path).err == ""


def test_a_very_short_recording_is_no_accident(cli, model, tmp_path, make_tone):
    path = tmp_path / "click.wav"
    soundfile.write(path, make_tone(0.01), 16_000)
    assert cli("transcribe", *model, path).code == 0


def test_many_channels_at_a_high_rate(cli, model, tmp_path, make_tone):
    path = tmp_path / "studio.wav"
    soundfile.write(path, make_tone(1.0, 192_000, 6), 192_000, subtype="PCM_24")
    done = cli("transcribe", *model, path)
    assert (done.code, lines(done.err)) == (0, [])


def test_verbose_prints_a_timing_table_on_stderr(cli, model, recording):
    done = cli("transcribe", "-v", *model, recording)
    for stage in ("load", "mel", "encode", "prefill", "decode", "total"):
        assert re.search(rf"^{stage} +\d+\.\d+ s", done.err, re.M), stage
    assert done.out == cli("transcribe", *model, recording).out


def test_the_language_reaches_the_model(cli, model, recording):
    def said(*options: str) -> tuple[str, tuple[object, ...]]:
        done = cli("transcribe", *model, "-f", "json", *options, recording)
        assert done.code == 0
        found = json.loads(done.out)
        return found["language"], (found["text"], *(part["avg_logprob"] for part in found["segments"]))

    languages = {None: (), "German": ("--language", "de"), "English": ("--language", "English"),
                 "French": ("--language", "fr")}  # fmt: skip
    answers = set()
    for language, options in languages.items():
        named, answer = said(*options)
        assert named == language
        # The model was asked what it is asked here in so many words.
        assert said("--prompt", prompt.transcription(language)) == (None, answer)
        answers.add(answer)
    # Which tells prompts apart: the random model answers them in other ways, or is less sure. It is free to
    # answer two of them alike, and on which processor it does is chance.
    assert len(answers) >= 3


# ---- bad recordings ------------------------------------------------------------------------------


def bad(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.wav"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no recording at all\n" * 100)
    elif kind == "no-samples":
        soundfile.write(path, np.empty(0), 16_000)
    elif kind == "all-nan":
        soundfile.write(path, np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    elif kind == "folder":
        path.mkdir()
    elif kind == "header-only":
        soundfile.write(path, np.zeros(100), 16_000)
        path.write_bytes(path.read_bytes()[:30])
    return path


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "text", "no-samples", "all-nan", "folder", "header-only"]
)
def test_a_bad_recording_is_one_line_and_does_not_stop_the_others(cli, model, recording, tmp_path, kind):
    path = bad(kind, tmp_path)
    done = cli("transcribe", *model, path, recording)
    assert done.code == 1
    (line,) = lines(done.err)
    assert line.startswith(f"gemma-audio: error: {path}: ")
    assert done.out.startswith(f"{recording}: ")


def test_a_bad_recording_costs_no_model(cli, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF no model")
    (tmp_path / "mmproj.gguf").write_bytes(b"GGUF no model")
    done = cli("transcribe", "-m", tmp_path / "model.gguf", tmp_path / "none.wav")
    assert done.code == 1
    assert "no such file" in done.err


def test_a_recording_cut_short_gives_its_text_and_fails(cli, model, recording):
    data = recording.read_bytes()
    recording.write_bytes(data[: len(data) // 2])
    done = cli("transcribe", *model, recording)
    assert done.code == 1
    assert done.out.strip()
    assert "cut short" in done.err


def test_samples_that_are_no_numbers_are_reported(cli, model, tmp_path, make_tone):
    data = make_tone(1.0)
    data[1000] = np.nan
    path = tmp_path / "nan.wav"
    soundfile.write(path, data, 16_000, subtype="FLOAT")
    done = cli("transcribe", *model, path)
    assert done.code == 0
    assert "1 samples are NaN" in done.err
    assert cli("transcribe", "-q", *model, path).err == ""


def test_nothing_on_standard_input(cli, model):
    done = cli("transcribe", *model, "-", stdin=b"")
    assert done.code == 1
    assert "(stdin): nothing came in" in done.err


def test_a_name_with_control_characters_is_shown_harmless(cli, model, tmp_path):
    path = tmp_path / "a\x1b[31mb\nc.wav"
    done = cli("transcribe", *model, path)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "\x1b" not in done.err


# ---- bad models and wrong usage ------------------------------------------------------------------


@pytest.mark.parametrize("command", [("transcribe",), ("ask", "What?")], ids=["transcribe", "ask"])
def test_a_missing_model(cli, recording, command, tmp_path):
    done = cli(*command, "-m", tmp_path / "none.gguf", recording)
    assert (done.code, done.out) == (3, "")
    assert error_lines(done.err) == done.err.splitlines()
    assert "none.gguf" in done.err


def test_something_that_is_no_gguf(cli, recording, tmp_path, tiny_model):
    (tmp_path / "model.gguf").write_text("not a model")
    done = cli("transcribe", "-m", tmp_path / "model.gguf", "--mmproj", tiny_model.mmproj, recording)
    assert (done.code, done.out) == (3, "")
    (line,) = error_lines(done.err)
    assert "model.gguf" in line
    assert len(done.err.splitlines()) == 1


def test_a_truncated_model(cli, recording, tmp_path, tiny_model):
    (tmp_path / "model.gguf").write_bytes(tiny_model.text.read_bytes()[:-1000])
    done = cli("transcribe", "-m", tmp_path / "model.gguf", "--mmproj", tiny_model.mmproj, recording)
    assert done.code == 3
    assert len(done.err.splitlines()) == 1


def test_files_that_do_not_belong_together(cli, recording, mismatched_model):
    done = cli("transcribe", "-m", mismatched_model.text, recording)
    assert done.code == 3
    (line,) = error_lines(done.err)
    assert mismatched_model.text.name in line
    assert mismatched_model.mmproj.name in line
    assert len(re.findall(r"\b\d{2,}\b", line)) >= 2


def test_a_missing_projector(cli, recording, tmp_path, tiny_model):
    (tmp_path / "alone").mkdir()
    text = tmp_path / "alone" / "model.gguf"
    text.write_bytes(tiny_model.text.read_bytes())
    done = cli("transcribe", "-m", text, recording)
    assert done.code == 3
    assert "--mmproj" in done.err


def test_the_model_of_the_environment(cli, recording, tiny_model):
    done = cli("transcribe", recording, env={"GEMMA_AUDIO_MODEL": str(tiny_model.text)})
    assert (done.code, lines(done.err)) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("transcribe",),
        ("bogus",),
        ("ask", "What?"),
        ("ask", " ", "x.wav"),
        ("transcribe", "-f", "pdf", "x.wav"),
        ("transcribe", "--threads", "0", "x.wav"),
    ],
)
def test_wrong_usage(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


# ---- endings -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this platform has no SIGPIPE")
def test_a_reader_that_goes_away_is_no_error(start, tmp_path, make_tone):
    path = tmp_path / "long.wav"
    soundfile.write(path, make_tone(100.0), 16_000)
    # -q: a window may be done, and called unreliable, before the reader is gone
    child = start("transcribe", "-q", "-m", "demo", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.read(1)
    child.stdout.close()
    assert child.stderr is not None
    assert lines(child.stderr.read().decode()) == []
    child.stderr.close()
    assert child.wait(60) in (-signal.SIGPIPE, 0)


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to one process there")
def test_control_c_ends_with_130_and_keeps_what_was_said(start, model, recording):
    # A pipe that stays open: the command waits for more sound.
    child = start(
        "transcribe", *model, recording, "-",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 130
    _, err = child.communicate()
    assert first.startswith(str(recording).encode())
    assert b"Traceback" not in err
    assert lines(err.decode()) == ["gemma-audio: interrupted"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_in_one_line(start, model, recording):
    with Path("/dev/full").open("w") as full:
        child = start("transcribe", *model, recording, stdout=full, stderr=subprocess.PIPE)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    (line,) = lines(err.decode())
    assert "cannot write" in line


# ---- help ----------------------------------------------------------------------------------------


def test_version(cli):
    from gemma_audio_cli import __version__

    assert cli("--version").out == f"gemma-audio {__version__}\n"


@pytest.mark.parametrize("command", [(), ("transcribe",), ("ask",), ("models",)], ids=str)
def test_help_has_examples(cli, command):
    done = cli(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Examples:" in done.out
    assert max(map(len, done.out.splitlines())) <= 110


def test_no_command_shows_the_help(cli):
    done = cli()
    assert "Commands:" in done.out + done.err


@pytest.mark.skipif(os.name == "nt", reason="no times of children there")
def test_help_is_quick(environment):
    """It computes for 0.25 s at most; on a slower machine for less than twice what importing typer takes."""

    def computed(*arguments: str) -> float:
        before = os.times()
        command = [sys.executable, *arguments]
        env = environment | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=env, stdout=subprocess.DEVNULL, timeout=60, check=True)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # user and system time of children

    runs = [(computed("-m", "gemma_audio_cli", "--help"), computed("-c", "import typer")) for _ in range(5)]
    ours, typers = map(min, zip(*runs, strict=True))
    assert ours < max(0.25, 2 * typers)


def test_help_imports_nothing_heavy(environment):
    code = (
        "import sys; from gemma_audio_cli.cli import run; run(['--help']); "
        "heavy = ('numpy', 'soundfile', 'soxr', 'cffi', 'jinja2', 'gguf', 'sounddevice'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.decode().splitlines()[-1] == "[]"


# ---- bench ---------------------------------------------------------------------------------------


def test_bench_reports_every_stage(cli, model):
    options = ("--seconds", "2", "--tokens", "9", "--slots", "2", "--runs", "2")
    value = json.loads(cli("bench", *model, *options, "--json").out)
    assert (value["clip_s"], value["tokens"], value["slots"], value["runs"]) == (2.0, 9, 2, 2)
    assert value["audio_tokens"] == 50
    assert value["prompt_tokens"] > 50
    for stage in ("load_s", "mel_s", "encode_s", "prefill_s", "decode_s", "together_s", "peak_bytes"):
        assert value[stage] > 0, stage
    done = cli("bench", *model, *options)
    assert (done.code, done.err) == (0, "")
    for word in ("encode", "prefill", "decode", "x real time", "tokens a second"):
        assert word in done.out


def test_bench_of_a_missing_model_is_one_line(cli, tmp_path):
    done = cli("bench", "-m", tmp_path / "none.gguf")
    assert (done.code, done.out) == (3, "")
    assert len(error_lines(done.err)) == 1
