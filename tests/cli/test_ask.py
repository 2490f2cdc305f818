"""`gemma-audio ask`: several questions, several recordings, objects for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
FIRST, LAST = "What is the first digit?", "What is the last digit?"


def asked(cli, *arguments, **options):
    return cli("ask", "-q", "-m", "demo", *arguments, **options)


def test_several_questions_are_answered_in_their_order(cli):
    done = asked(cli, "-Q", FIRST, "-Q", LAST, SAMPLE)
    assert (done.code, done.out, done.err) == (0, "4\n2\n", "")


def test_two_questions_in_one_run_are_two_runs(cli):
    together = asked(cli, "-Q", FIRST, "-Q", "How many digits are spoken?", SAMPLE)
    apart = [asked(cli, "--audio-first", q, SAMPLE).out for q in (FIRST, "How many digits are spoken?")]
    assert together.out == "".join(apart)


def test_questions_come_from_a_file_or_a_pipe(cli, tmp_path):
    (tmp_path / "questions.txt").write_text(f"\ufeff{FIRST}\r\n\r\n  {LAST}  \n")
    assert asked(cli, "--questions", "questions.txt", SAMPLE).out == "4\n2\n"
    piped = asked(cli, "-Q", FIRST, "--questions", "-", SAMPLE, stdin=f"{LAST}\n".encode())
    assert piped.out == "4\n2\n"


def test_several_files_and_questions_have_names(cli, tmp_path):
    (tmp_path / "a.wav").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "b.wav").write_bytes(SAMPLE.read_bytes())
    done = asked(cli, "-Q", FIRST, "-Q", LAST, "a.wav", "b.wav")
    assert done.out == "a.wav: 4\na.wav: 2\nb.wav: 4\nb.wav: 2\n"


def test_objects_for_programs(cli, tmp_path):
    (tmp_path / "a.wav").write_bytes(SAMPLE.read_bytes())
    done = asked(cli, "--jsonl", "-Q", FIRST, "-Q", LAST, "a.wav", "missing.wav")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [(e["type"], e["file"]) for e in events] == [
        ("answer", "a.wav"), ("answer", "a.wav"), ("file", "a.wav"), ("file", "missing.wav"),
    ]  # fmt: skip
    assert [(e["question"], e["answer"]) for e in events[:2]] == [(FIRST, "4"), (LAST, "2")]
    assert events[0]["complete"] is True
    assert events[2] | {"model": ""} == {
        "type": "file", "schema": "gemma-audio/answers/1", "file": "a.wav", "duration": 4.141,
        "model": "", "answers": 2,
    }  # fmt: skip
    assert (events[3]["answers"], "missing.wav" in events[3]["error"]) == (0, True)


def test_together_is_one_prompt_with_the_names_in_it(cli, tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "b.wav").write_bytes(SAMPLE.read_bytes())
    done = asked(cli, "--jsonl", "--together", FIRST, "a.wav", "b.wav")
    answer, end = [json.loads(line) for line in done.out.splitlines()]
    assert answer["answer"]
    assert end["file"] == answer["file"] == "a.wav, b.wav"
    assert end["duration"] == pytest.approx(2 * 4.141, abs=0.001)


def test_together_fails_where_one_cannot_be_read(cli, tmp_path):
    (tmp_path / "a.wav").write_bytes(SAMPLE.read_bytes())
    done = asked(cli, "--together", FIRST, "a.wav", "missing.wav")
    assert (done.code, done.out) == (1, "")
    assert "missing.wav" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((FIRST,), "name a recording"),
        (("-Q", " ", SAMPLE), "the question is empty"),
        (("--questions", "none.txt", SAMPLE), "none.txt: the questions cannot be read"),
        (("--questions", "/dev/null", SAMPLE), "no question in it"),
        (("--questions", "-", "-"), "both the questions and a recording"),
        (("--questions", SAMPLE, SAMPLE), "it is no UTF-8 text"),
    ],
)
def test_what_makes_no_sense_is_one_line(cli, arguments, word):
    done = asked(cli, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert word in done.err
