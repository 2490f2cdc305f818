"""The check that people with real weights run: right figures, and one command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "real_check.py"
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"

sys.path.insert(0, str(SCRIPT.parent))

import real_check


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One recording in each form of reference, one with a wrong word, and one without any."""
    root = tmp_path_factory.mktemp("speech")
    truth = SAMPLE.with_suffix(".txt").read_text()
    shutil.copy(SAMPLE, root / "right.wav")
    (root / "right.txt").write_text(truth)
    samples, rate = soundfile.read(SAMPLE)
    book = root / "1272" / "128104"
    book.mkdir(parents=True)
    soundfile.write(book / "1272-128104-0000.flac", samples, rate)
    (book / "1272-128104.trans.txt").write_text("1272-128104-0000 FOUR ONE SEVEN THREE NINE TWENTY\n")
    shutil.copy(SAMPLE, root / "alone.wav")
    return root


def test_both_engines_are_measured_on_the_same_recordings(folder, tmp_path):
    done = run("-m", "demo", "--speech", folder, "--threads", 1, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "figures.json").read_text())
    assert list(found["recordings"]) == ["1272-128104-0000.flac", "right.wav"]
    for name in ("ours", "llama.cpp"):
        assert found["figures"][name]["each"] == [16.7, 0.0]
        assert found["figures"][name]["wer"] == pytest.approx(100 / 12, abs=0.01)
        assert found["figures"][name]["times_real_time"] > 0
    assert "| all | 8.3 | 12 | **8.33** | **8.33** |" in done.stdout
    assert "sha256" in done.stdout


def test_a_folder_without_references_is_one_line(tmp_path):
    done = run("-m", "demo", "--speech", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "no recordings with references" in done.stderr


def test_a_model_that_is_not_there_is_one_line(folder, tmp_path):
    done = run("-m", tmp_path / "none.gguf", "--speech", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [
        ("It's three o'clock.", "it’s 3 o'clock", 0),
        ("Don't!", "dont", 1),
        ("one two three", "one three", 1),
        ("one", "one and two", 2),
        ("a b c", "", 3),
        ("Ja, natürlich: Straße", "ja natürlich straße", 0),
    ],
)
def test_words_are_counted_as_documented(reference, heard, errors):
    assert real_check.word_errors(real_check.words(reference), real_check.words(heard)) == errors


@given(st.lists(st.sampled_from("abcd"), max_size=8), st.lists(st.sampled_from("abcd"), max_size=8))
def test_errors_are_a_distance(first, second):
    errors = real_check.word_errors(first, second)
    assert errors == real_check.word_errors(second, first)
    assert abs(len(first) - len(second)) <= errors <= max(len(first), len(second))
    assert (errors == 0) == (first == second)
