"""`transcribe --speakers` as a person gives it, without the networks: what is refused, and how it is said."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gemma_audio_cli.cli.options import with_values
from gemma_audio_cli.cli.speakers import SpeakerChoices
from gemma_audio_cli.config import Settings
from gemma_audio_cli.errors import UsageError
from tests.forks import ROOT


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--speakers", "talk.wav"], ["--speakers=auto", "talk.wav"]),
        (["talk.wav", "--speakers"], ["talk.wav", "--speakers=auto"]),
        (["--speakers", "--timestamps", "a"], ["--speakers=auto", "--timestamps", "a"]),
        (["--speakers", "3", "talk.wav"], ["--speakers", "3", "talk.wav"]),
        (["--speakers=3", "talk.wav"], ["--speakers=3", "talk.wav"]),
        (["--speakers", "auto", "talk.wav"], ["--speakers", "auto", "talk.wav"]),
        (["--", "--speakers"], ["--", "--speakers"]),
    ],
)
def test_the_number_may_be_left_out(given, meant):
    assert with_values(given) == meant


def test_options():
    settings = Settings()
    assert SpeakerChoices().options(settings) is None
    found = SpeakerChoices(speakers="auto", speaker_names="Anna, Ben", max_speakers=4).options(settings)
    assert (found.count, found.most, found.names) == (None, 4, ("Anna", "Ben"))
    assert SpeakerChoices(speakers="3").options(settings).count == 3
    # What only makes sense with speakers asks for them.
    assert SpeakerChoices(enroll=["a.wav"]).options(settings).enrolled == ("a.wav",)
    for wrong in ("0", "101", "two", "-1"):
        with pytest.raises(UsageError, match="--speakers"):
            SpeakerChoices(speakers=wrong).options(settings)
    with pytest.raises(UsageError, match="--max-speakers"):
        SpeakerChoices(max_speakers=0).options(settings)
    with pytest.raises(UsageError, match="--speaker-names"):
        SpeakerChoices(speaker_names="Anna,,Ben").options(settings)


@pytest.fixture
def sample() -> Path:
    return ROOT / "gemma_audio_cli" / "demo" / "sample.wav"


def test_the_files_are_not_here(cli, sample):
    done = cli("transcribe", "--speakers", sample)
    assert (done.code, done.out) == (3, "")
    assert done.err.splitlines()[-1].endswith("gemma-audio models pull speakers")
    assert "Traceback" not in done.err


def test_the_files_are_no_networks(cli, sample, tmp_path):
    for name in ("segmentation.onnx", "embedding.onnx"):
        (tmp_path / name).write_bytes(b"not a network")
    done = cli("transcribe", "--speakers", sample, env={"GEMMA_AUDIO_SPEAKER_MODELS": str(tmp_path)})
    assert (done.code, done.out) == (3, "")
    [line] = [line for line in done.err.splitlines() if "error" in line]
    assert "segmentation.onnx: no network that onnxruntime can run" in line


def test_what_runs_them_is_not_installed(run_python, sample, tmp_path):
    for name in ("segmentation.onnx", "embedding.onnx"):
        (tmp_path / name).touch()
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from gemma_audio_cli.cli import run\n"
        f"sys.exit(run(['transcribe', '--speakers', {str(sample)!r}]))"
    )
    done = run_python(code, {"GEMMA_AUDIO_SPEAKER_MODELS": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "onnxruntime is not installed; install what runs it: pip install 'gemma-audio[speakers]'"
        in done.stderr
    )


@pytest.fixture
def run_python():
    import subprocess

    def run(code: str, env: dict[str, str]):
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        )  # fmt: skip

    return run


def test_channels_win(cli, sample):
    done = cli("transcribe", "--speakers", "--split-channels", "--vad", sample)
    assert done.code == 0
    assert "speakers are not looked for" in done.err
    assert done.out == "Channel 1: 4 1 7 3 9 2\n"


def test_answers_are_nobodys(cli, sample):
    done = cli("live", "--speakers", "--ask", "What is said?", sample)
    assert (done.code, done.out) == (2, "")
    assert "leave out --ask" in done.err


def test_stretches_are_told_apart_in_passes_only(cli, sample):
    done = cli("ask", "--speakers", "--whole", "What is said?", sample)
    assert (done.code, done.out) == (2, "")
    assert "leave out --whole" in done.err
