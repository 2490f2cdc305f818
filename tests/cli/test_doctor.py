"""`gemma-audio doctor`, and what the shell offers."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from gemma_audio_cli.diagnosis import _without_folders

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_has_everything_and_no_folder(cli, tmp_path):
    result = cli("doctor", env={"GEMMA_AUDIO_MODEL": str(tmp_path / "private" / "m.gguf")})
    assert result.code == 0
    for part in ("versions", "system", "settings", "backends", "models", "audio", "selftest"):
        assert f"\n{part}\n" in f"\n{result.out}"
    assert "ok: " in result.out
    assert "m.gguf" in result.out
    assert "private" not in result.out
    assert str(tmp_path) not in result.out
    assert str(ROOT) not in result.out


def test_json_and_full(cli, tmp_path):
    found = json.loads(cli("doctor", "--json", "--full").out)
    assert found["selftest"]["device"] == "CPU"
    assert found["selftest"]["timings"]["encode_s"] > 0
    assert str(tmp_path) in found["settings"]["file"]
    demo = found["models"]["demo"]
    assert demo["problems"] == []
    assert demo["width"] == demo["output_width"]


def test_a_model_that_does_not_run_is_told_why(cli, tmp_path):
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


def test_help_answers_at_once(cli):
    def seconds() -> float:
        began = time.perf_counter()
        assert "--install-completion" in cli("--help").out
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.25
