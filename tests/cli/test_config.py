"""`gemma-audio config` and `gemma-audio backends`, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest

from gemma_audio_cli.config import HELP, NAMES


@pytest.fixture
def env(tmp_path):
    return {
        "GEMMA_AUDIO_CONFIG_DIR": str(tmp_path / "config"),
        "GEMMA_AUDIO_BACKENDS_DIR": str(tmp_path / "built"),
    }


def test_a_setting_goes_in_and_comes_out(cli, env, tmp_path):
    assert cli("config", "path", env=env).out.strip() == str(tmp_path / "config" / "config.toml")
    assert cli("config", "set", "language", "German", env=env).code == 0
    shown = json.loads(cli("config", "show", "--json", env=env).out)
    assert shown["language"] == "German"
    line = next(x for x in cli("config", "show", env=env).out.splitlines() if x.startswith("language"))
    assert "German" in line
    assert "config.toml" in line


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("langauge", "German", "did you mean language"),
        ("threads", "few", "whole number"),
        ("threads", "999999", "at most 512"),
        ("backend", "cudda", "cuda"),
        ("gpu_layers", "most", "auto or a number"),
        ("vad", "maybe", "true or false"),
        ("vad_threshold", "4", "0.05 to 0.95"),
        ("language", "12", "no language"),
        ("recall_seconds", "forever", "1 to 3600"),
        ("recall_seconds", "0", "1 to 3600"),
        ("cache", "maybe", "true or false"),
        ("cache_mb", "lots", "whole number of megabytes"),
    ],
)
def test_a_wrong_setting_is_one_line_and_changes_nothing(cli, env, tmp_path, name, value, part):
    result = cli("config", "set", name, value, env=env)
    assert result.code == 2
    assert part in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "config" / "config.toml").exists()


def test_an_unknown_key_does_not_stop_a_command(cli, env, tmp_path, recording):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text("thraeds = 1\n")
    result = cli("transcribe", recording, env=env)
    assert result.code == 0
    assert "did you mean threads?" in result.err


def test_backends_names_every_one_of_this_system(cli, env):
    lines = {line["name"]: line for line in json.loads(cli("backends", "--json", env=env).out)}
    assert lines["cpu"]["in_use"]
    assert lines["cpu"]["built"]
    assert not lines["vulkan"]["built"]
    text = cli("backends", env=env).out
    assert all(name in text for name in lines)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "socket", "huge"])
@pytest.mark.parametrize(
    "command", [("config", "show"), ("config", "set", "threads", "2"), ("transcribe", "x.wav")], ids=str
)
def test_settings_come_from_a_regular_file(cli, env, tmp_path, monkeypatch, kind, command):
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        monkeypatch.chdir(path.parent)  # the path of a socket has to be short
        server.bind(path.name)
    else:
        path.write_text("# " + "x" * 2_000_000)
    done = cli(*command, env=env)
    if command[0] == "config" or kind in ("fifo", "device", "huge"):
        assert done.code in (0, 2)
    assert done.err.count("\n") <= 2
    assert "config.toml" in done.err
    assert "Traceback" not in done.err


def test_a_place_where_settings_cannot_be_written_is_named(cli, env, tmp_path):
    (tmp_path / "config").write_text("a file in place of the folder")
    done = cli("config", "set", "model", "demo", env=env)
    assert done.code == 1
    assert str(tmp_path / "config" / "config.toml") in done.err
    assert "GEMMA_AUDIO_CONFIG_DIR" in done.err
    assert done.err.count("\n") == 1


def test_the_threshold_of_speech_can_be_set(cli, env):
    assert cli("config", "set", "vad_threshold", "0.4", env=env).code == 0
    assert json.loads(cli("config", "show", "--json", env=env).out)["vad_threshold"] == 0.4
    assert cli("config", "set", "vad_threshold", "4", env=env).code == 2


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("model", "e2b", "models pull e2b"),
        ("context", "@nothing.txt", "the glossary cannot be read"),
        ("model", "nothing.gguf", "no model file nothing.gguf; check --model, or model in the settings"),
        ("model", "words.gguf", "not a GGUF file"),
        ("mmproj", "words.gguf", "not a GGUF file"),
        ("mmproj", "text.gguf", "a projector's is clip"),
        ("backend", "vulkan", "backends build vulkan"),
        ("device", "CUDA7", "no device CUDA7; this build has CPU"),
        ("microphone", "such a one is not there", "microphone"),
    ],
)
def test_what_would_fail_later_is_not_set(cli, env, tmp_path, demo_model, name, value, part):
    (tmp_path / "words.gguf").write_text("words")
    (tmp_path / "mmproj-words.gguf").write_text("words")
    (tmp_path / "text.gguf").write_bytes(demo_model.text.read_bytes())
    result = cli("config", "set", name, value, env=env)
    assert result.code in (2, 3)
    assert part in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "config" / "config.toml").exists()


def test_every_setting_takes_what_works_and_a_run_with_them_does(cli, env, tmp_path, demo_model, recording):
    chosen = {
        "mmproj": demo_model.mmproj,
        "model": demo_model.text,
        "language": "de",
        "context": "Kilo, Umspannwerk",
        "threads": 1,
        "backend": "CPU",
        "device": "CPU",
        "gpu_layers": 3,
        "audio_first": "yes",
        "vad": "no",
        "vad_threshold": 0.3,
        "recall_seconds": 60,
        "cache": "off",
        "cache_mb": 500,
        "speaker_models": "/models/speakers",
    }
    env |= {"GEMMA_AUDIO_VAD": "", "GEMMA_AUDIO_THREADS": ""}  # empty: not set
    for name, value in chosen.items():
        done = cli("config", "set", name, value, env=env)
        assert (done.code, done.err) == (0, ""), name
    assert set(chosen) | {"microphone"} == set(NAMES), "a microphone: test_doctor.py, beside a sound library"
    assert json.loads(cli("config", "show", "--json", env=env).out) == {
        "model": str(demo_model.text),
        "mmproj": str(demo_model.mmproj),
        "language": "de",
        "context": "Kilo, Umspannwerk",
        "microphone": None,
        "threads": 1,
        "backend": "cpu",
        "device": "CPU",
        "gpu_layers": "3",
        "audio_first": True,
        "vad": False,
        "vad_threshold": 0.3,
        "recall_seconds": 60.0,
        "cache": False,
        "cache_mb": 500,
        "speaker_models": "/models/speakers",
    }
    assert cli("transcribe", recording, env=env).code == 0


def test_a_wrong_setting_does_not_keep_another_from_being_set(cli, env, tmp_path):
    (tmp_path / "config").mkdir()
    path = tmp_path / "config" / "config.toml"
    path.write_text('threads = "many"\ngpu_layers = "most"\n')
    env |= {"GEMMA_AUDIO_THREADS": ""}
    first = cli("config", "set", "threads", "2", env=env)
    assert first.code == 0
    assert "gpu_layers takes auto or a number" in first.err
    second = cli("config", "set", "gpu_layers", "auto", env=env)
    assert (second.code, second.err) == (0, "")
    assert path.read_text() == 'threads = 2\ngpu_layers = "auto"\n'


def test_a_variable_that_wins_over_what_is_set_is_reported(cli, env):
    done = cli("config", "set", "language", "German", env=env | {"GEMMA_AUDIO_LANGUAGE": "French"})
    assert done.code == 0
    assert "GEMMA_AUDIO_LANGUAGE is set and wins" in done.err


def test_help_names_every_setting(cli):
    text = cli("config", "--help").out
    for name, meaning in HELP.items():
        assert re.search(rf"^ +{name} +{re.escape(meaning)}$", text, flags=re.M), name


@pytest.mark.parametrize(
    ("flags", "variable", "file", "searched"),
    [
        ((), "", "", True),
        ((), "", "vad = false", False),
        ((), "1", "vad = false", True),
        ((), "off", "vad = true", False),
        (("--vad",), "0", "vad = false", True),
        (("--no-vad",), "1", "vad = true", False),
    ],
)
@pytest.mark.parametrize("command", [("transcribe",), ("ask", "What?")])
def test_vad_is_a_setting_like_the_others(
    cli, env, tmp_path, recording, command, flags, variable, file, searched
):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(file)
    env |= {"GEMMA_AUDIO_VAD": variable}
    reported = cli(*command, "-m", "demo", *flags, recording, env=env).err
    assert ("no speech was heard" in reported) == searched


def test_doctor_tells_settings_and_what_is_wrong_with_them(cli, env):
    env |= {"GEMMA_AUDIO_VAD": "0", "GEMMA_AUDIO_VAD_THRESHOLD": "7"}
    settings = json.loads(cli("doctor", "--json", env=env).out)["settings"]
    assert settings["set"]["vad"] is False
    assert "GEMMA_AUDIO_VAD" not in settings["other_variables"]
    assert "GEMMA_AUDIO_VAD_THRESHOLD must be a number" in settings["warnings"][0]


def test_an_impossible_number_of_threads_is_one_line(cli, env, recording):
    done = cli("transcribe", "-m", "demo", "-t", 999_999, recording, env=env)
    assert (done.code, done.out) == (3, "")
    assert "at most 512" in done.err.splitlines()[-1]


def test_what_holds_for_a_recording_and_where_it_comes_from(cli, env, tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    text = 'language = "de"\ncontext = ["Kilo", "Smith, John"]\nthreads = 9\n'
    (folder / ".gemma-audio.toml").write_text(text)
    (folder / ".gemma-audio.toml").chmod(0o644)
    cli("config", "set", "language", "French", env=env)
    done = cli("config", "show", "--for", "talks/a.wav", env=env)
    assert (done.code, "talks/a.wav: no such file" in done.err) == (2, True)
    done = cli("config", "show", "--for", "talks", env=env)
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert lines["language"] == f"de  ({folder / '.gemma-audio.toml'})"
    assert lines["context"].startswith("Kilo, Smith, John  (")
    assert lines["threads"] == "1  (GEMMA_AUDIO_THREADS)"
    assert "threads is no setting of a folder" in done.err
    there = json.loads(cli("config", "show", "--json", "--for", "talks", env=env).out)
    assert (there["language"], there["context"]) == ("de", "Kilo\nSmith, John\n")
    assert json.loads(cli("config", "show", "--json", env=env).out)["language"] == "French"


@pytest.mark.parametrize("command", [("transcribe",), ("ask", "Why?"), ("chat",), ("minutes",)])
def test_a_model_that_is_set_and_missing_is_named_with_its_place(cli, env, tmp_path, recording, command):
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks" / "a.wav").write_bytes(Path(recording).read_bytes())
    place = tmp_path / "talks" / ".gemma-audio.toml"
    place.write_text('model = "nosuch"\n')
    place.chmod(0o644)
    done = cli(*command, "-q", "talks/a.wav", env=env)
    assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
    assert f"{place}: model: " in done.err
    assert "nosuch" in done.err
    named = cli(*command, "-q", "-m", "other", "talks/a.wav", env=env)
    assert ("other" in named.err, str(place) in named.err) == (True, False)


def test_a_glossary_that_is_set_is_found_from_anywhere(cli, env, tmp_path):
    (tmp_path / "names.txt").write_text("Kilo\n")
    assert cli("config", "set", "context", "@names.txt", env=env).code == 0
    shown = json.loads(cli("config", "show", "--json", env=env).out)["context"]
    assert shown == f"@{tmp_path / 'names.txt'}"
