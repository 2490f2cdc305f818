"""`gemma-audio config` and `gemma-audio backends`, as a person runs them."""

from __future__ import annotations

import json
import os
import socket

import pytest


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
        ("backend", "cudda", "cuda"),
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
