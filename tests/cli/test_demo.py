"""The demo model inside the package, on the recording that ships with it and on real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "gemma_audio_cli" / "demo"
SAMPLE = DEMO / "sample.wav"
TEXT = (DEMO / "sample.txt").read_text(encoding="utf-8").strip()


def test_the_sample_is_heard(cli):
    done = cli("transcribe", SAMPLE)
    assert (done.code, done.out) == (0, TEXT + "\n")
    (notice,) = done.err.splitlines()
    assert "demo model" in notice
    assert "-m" in notice


def test_quiet_has_no_notice(cli):
    done = cli("transcribe", "-q", SAMPLE)
    assert (done.out, done.err) == (TEXT + "\n", "")


def test_a_named_demo_model_needs_no_notice(cli):
    assert cli("transcribe", "-m", "demo", SAMPLE).err == ""


def test_standard_input_is_heard(cli):
    assert cli("transcribe", "-q", "-", stdin=SAMPLE.read_bytes()).out == TEXT + "\n"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the first digit?", TEXT.split()[0]),
        ("What is the last digit?", TEXT.split()[-1]),
        ("How many digits are spoken?", f"{len(TEXT.split())} digits"),
    ],
)
def test_questions_about_the_sample(cli, question, answer):
    done = cli("ask", "-q", question, SAMPLE)
    assert done.code == 0
    assert done.out.strip().endswith(answer)


def test_real_recordings_of_digits(cli, speech):
    """Single digits of the test takes; the measured accuracy is in the model card."""
    files = sorted((speech / "digits").glob("*_jackson_0.wav"))
    assert len(files) == 10
    done = cli("transcribe", "-q", *files)
    assert done.code == 0
    heard = [line.rpartition(": ")[2] for line in done.out.splitlines()]
    right = sum(text == path.name[0] for text, path in zip(heard, files, strict=True))
    assert right >= 8
