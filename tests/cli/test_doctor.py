"""`gemma-audio doctor`, and what the shell offers."""

from __future__ import annotations

import json
import os
import shlex
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from gemma_audio_cli.diagnosis import _without_folders
from gemma_audio_cli.formatting import byte_size

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_has_everything_and_no_folder(cli, tmp_path):
    result = cli("doctor", env={"GEMMA_AUDIO_MODEL": str(tmp_path / "private" / "m.gguf")})
    assert result.code == 0
    for part in ("versions", "system", "settings", "backends", "models", "audio", "selftest"):
        assert f"\n{part}\n" in f"\n{result.out}"
    assert "ok: " in result.out
    assert "\n  products: " in result.out
    assert "m.gguf" in result.out
    assert "private" not in result.out
    assert str(tmp_path) not in result.out
    assert str(ROOT) not in result.out


def test_json_and_full(cli, tmp_path):
    found = json.loads(cli("doctor", "--json", "--full").out)
    assert found["selftest"]["device"] == "CPU"
    assert found["selftest"]["timings"]["encode_s"] > 0
    assert "left out" not in found["selftest"]["products"]
    assert str(tmp_path) in found["settings"]["file"]
    demo = found["models"]["demo"]
    assert demo["problems"] == []
    assert demo["width"] == demo["output_width"]


def test_a_model_that_does_not_run_says_why(cli, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF of no use")
    (tmp_path / "mmproj-model.gguf").write_bytes(b"nothing")
    chosen = {"GEMMA_AUDIO_MODEL": str(tmp_path / "model.gguf")}
    result = cli("doctor", env=chosen)
    assert result.code == 0  # the self-test is that of the demo model
    assert "model.gguf: does not run" in result.out
    assert str(tmp_path) not in result.out
    found = json.loads(cli("doctor", "--json", env=chosen).out)["models"]
    assert found["demo"]["problems"] == []
    (other,) = (model for name, model in found.items() if name != "demo")
    assert len(other["problems"]) == 2


def test_a_broken_library_is_a_page_too(cli, tmp_path):
    broken = tmp_path / "libgemma_audio.so"
    broken.write_text("nothing")
    result = cli("doctor", env={"GEMMA_AUDIO_LIBRARY": str(broken)})
    assert result.code == 3
    assert "FAILED: cannot load" in result.out
    assert "versions" in result.out


def test_an_unbuilt_back_end_says_what_to_do(cli):
    result = cli("doctor", "--backend", "cuda")
    assert result.code == 3
    assert "backends build cuda" in result.out
    assert cli("transcribe", "--backend", "nothing", "x.wav").code == 2


FAKE_SOUND = """
import os, sys
os.write(2, b"ALSA lib pcm.c: Unknown PCM cards.pcm.rear\\n")
class PortAudioError(Exception): pass
DEVICES = [
    dict(name="Anna's Headset", index=0, hostapi=0, max_input_channels=1, default_samplerate=44100.0),
    dict(name="Speaker", index=1, hostapi=0, max_input_channels=0, default_samplerate=48000.0),
]
def query_devices(kind=None): return DEVICES[0] if kind else DEVICES
def query_hostapis(): return ({"name": "ALSA"},)
"""


@pytest.fixture
def sound_library(tmp_path):
    """Puts something in the place of PortAudio; the environment that has it."""

    def put(code: str) -> dict[str, str]:
        (tmp_path / "fake").mkdir(exist_ok=True)
        (tmp_path / "fake" / "sounddevice.py").write_text(code)
        return {"PYTHONPATH": os.pathsep.join((str(tmp_path / "fake"), str(ROOT)))}

    return put


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("import os; os.abort()", "ended with code"),
        (
            "import os, sys; sys.stderr.write('pcm.c: assertion failed'); sys.stderr.flush(); os._exit(9)",
            "ended with code 9",
        ),
        ("raise OSError('PortAudio library not found')", "PortAudio library is missing"),
    ],
)
def test_a_sound_library_that_ends_its_process_is_one_line_of_the_page(cli, sound_library, code, part):
    result = cli("doctor", env=sound_library(code))
    assert result.code == 0
    assert part in result.out.split("\naudio\n")[1].split("\n\n")[0]
    assert "ok: " in result.out.split("\nselftest\n")[1]
    assert result.err == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ALSA is Linux's")
def test_alsa_without_configuration_is_reported_and_does_not_end_the_page(cli, sound_library):
    if not find_library("asound"):
        pytest.skip("ALSA is not installed (libasound2)")
    result = cli("doctor", env=sound_library("import os; os.abort()") | {"ALSA_CONFIG_PATH": os.devnull})
    assert result.code == 0
    assert "ALSA's configuration" in result.out.split("\naudio\n")[1].split("\n")[0]


def test_microphones_are_those_of_list_devices(cli, sound_library):
    env = sound_library(FAKE_SOUND)
    listed = cli("record", "--list-devices", env=env)
    assert "Anna's Headset" in listed.out
    full = json.loads(cli("doctor", "--full", "--json", env=env).out)["audio"]
    assert full["interfaces"] == ["ALSA"]
    (device,) = full["inputs"]
    assert (device["name"], device["channels"], device["rate"]) == ("Anna's Headset", 1, 44100)
    page = cli("doctor", env=env)
    assert "input: a device, 1 channel, 44100 Hz" in page.out
    assert "Anna" not in page.out
    assert page.err == ""


def test_a_microphone_that_is_there_can_be_set(cli, sound_library, tmp_path):
    env = sound_library(FAKE_SOUND) | {"GEMMA_AUDIO_CONFIG_DIR": str(tmp_path / "config")}
    done = cli("config", "set", "microphone", "headset", env=env)
    assert (done.code, done.err) == (0, "")
    wrong = cli("config", "set", "microphone", "Speaker", env=env)
    assert wrong.code == 2
    assert wrong.err == "gemma-audio: error: no microphone is called 'Speaker'; there are: 0 Anna's Headset\n"
    assert json.loads(cli("config", "show", "--json", env=env).out)["microphone"] == "headset"


def test_doctor_backends_and_models_speak_of_one_memory(cli):
    found = json.loads(cli("doctor", "--json").out)
    models = json.loads(cli("models", "list", "--json").out)
    (cpu,) = (row for row in json.loads(cli("backends", "--json").out) if row["name"] == "cpu")
    assert found["system"]["memory"] == models["memory"] == cpu["devices"][0]["memory"] > 0
    shown = byte_size(models["memory"])
    assert shown in cli("doctor").out
    assert f"{shown} of memory" in cli("models", "list").out
    assert shown in cli("backends").out


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("cannot load /home/anna/My Files/lib.so: no", "cannot load .../lib.so: no"),
        (r"C:\Users\anna\m.gguf", r".../m.gguf"),
        ("~/models/a.gguf", ".../a.gguf"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("s16le and 3/4 and DPC++/C++ 2024", "s16le and 3/4 and DPC++/C++ 2024"),
    ],
)
def test_folders_are_cut_off_and_nothing_else(text, cut):
    assert _without_folders({"a": [text]}) == {"a": [cut]}


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("transcribe --backend vul", ["vulkan"]),
        ("transcribe -f js", ["json", "jsonl"]),
        ("ask -m de", ["demo"]),
        ("transcribe -m ./", ["./models/", "./text.gguf"]),
        ("transcribe --mmproj ./mm", ["./mmproj-text.gguf"]),
        ("bench --device ", ["CPU"]),
        ("config set thr", ["threads"]),
        ("backends build op", ["openvino"]),
    ],
)
def test_the_shell_is_offered_what_there_is(cli, tmp_path, words, offers):
    (tmp_path / "models").mkdir()
    for name in ("text.gguf", "mmproj-text.gguf", "notes.txt"):
        (tmp_path / name).touch()
    typed = f"gemma-audio {words}"
    count = len(shlex.split(typed)) - (0 if typed.endswith(" ") else 1)
    env = {"_GEMMA_AUDIO_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(count)}
    assert cli(env=env).out.split() == offers


def test_help_names_the_completion(cli):
    assert "--install-completion" in cli("--help").out
