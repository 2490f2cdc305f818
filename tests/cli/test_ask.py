"""`gemma-audio ask`: several questions, several recordings, objects for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

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


def test_too_little_sound_has_no_answer_of_a_shape(cli, tmp_path):
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "a.wav", samples[8000:8100], rate)
    done = asked(cli, "--jsonl", "--schema", '{"type": "integer"}', FIRST, "a.wav")
    answer, _ = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, answer["answer"], answer["fits"], answer["value"]) == (0, "", False, None)


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
        (("--questions", "/dev/zero", SAMPLE), "/dev/zero: the questions cannot be read: it has more"),
    ],
)
def test_what_makes_no_sense_is_one_line(cli, arguments, word):
    done = asked(cli, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert word in done.err


# ---- answers of a shape --------------------------------------------------------------------------

SCHEMA = '{"type": "object", "properties": {"first": {"enum": [1, 4, 7]}}, "required": ["first"]}'


def test_json_on_one_line_from_a_schema_in_a_file_or_on_the_line(cli, tmp_path):
    (tmp_path / "first.json").write_text(SCHEMA)
    done = asked(cli, "--schema", "first.json", FIRST, SAMPLE)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["first"] in (1, 4, 7)
    assert done.out.count("\n") == 1
    assert asked(cli, "--schema", SCHEMA, FIRST, SAMPLE).out == done.out
    (event, _) = map(json.loads, asked(cli, "--jsonl", "--schema", SCHEMA, FIRST, SAMPLE).out.splitlines())
    assert event["value"] == json.loads(done.out)
    assert event["fits"] is True


def test_an_answer_that_is_cut_is_an_error_and_nothing_on_stdout(cli):
    done = asked(cli, "--schema", '{"type": "string", "minLength": 60}', "--max-tokens", "6", FIRST, SAMPLE)
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "cut at 6 tokens" in done.err


def test_an_answer_that_is_whole_and_misfits_is_not_blamed_on_its_length(cli):
    """The grammar writes the constant, which is of another type."""
    done = asked(cli, "--schema", '{"type": "string", "const": 1}', FIRST, SAMPLE)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "does not fit the schema" in done.err
    assert "--max-tokens" not in done.err


def test_an_answer_that_ran_into_a_loop_is_not_called_too_long(cli, tmp_path):
    (tmp_path / "loop.gbnf").write_text('root ::= ("4 1 7 ")+ "x"\n')
    done = asked(cli, "--grammar", "loop.gbnf", FIRST, SAMPLE)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "ran into a loop" in done.err
    assert "--max-tokens" not in done.err


def test_a_folder_is_no_recording(cli, tmp_path):
    (tmp_path / "talks").mkdir()
    done = asked(cli, FIRST, "talks")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "name recordings, or take all in it with transcribe -r" in done.err


def test_choices_have_probabilities(cli):
    done = asked(cli, "--choices", "7,4", FIRST, SAMPLE)
    assert (done.code, done.out) == (0, "4\n")
    (event, _) = map(json.loads, asked(cli, "--jsonl", "--choices", "7,4", FIRST, SAMPLE).out.splitlines())
    assert list(event["probabilities"]) == ["4", "7"]
    assert event["probabilities"]["4"] > 0.5


def test_a_grammar_from_a_file(cli, tmp_path):
    (tmp_path / "count.gbnf").write_text('root ::= [0-9 ]+ ": " [0-9] " digits!"\n')
    done = asked(cli, "--grammar", "count.gbnf", "How many digits are spoken?", SAMPLE)
    assert done.out == "4 1 7 3 9 2: 6 digits!\n"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--schema", "none.json"), "none.json: the schema cannot be read"),
        (("--schema", "/dev/zero"), "/dev/zero: the schema cannot be read: it has more than 4 MB"),
        (("--grammar", "/dev/zero"), "/dev/zero: the grammar cannot be read: it has more than 4 MB"),
        (("--schema", '{"type": "integer", "minimum": 2}'), "the schema uses minimum (at #)"),
        (("--choices", "yes"), "two choices or more"),
        (("--choices", "a,b", "--schema", "{}"), "do not go together"),
        (("--grammar", "broken.gbnf"), "the grammar cannot be parsed"),
    ],
)
def test_a_shape_that_makes_no_sense_is_one_line(cli, tmp_path, options, word):
    (tmp_path / "broken.gbnf").write_text("root ::= (\n")
    done = asked(cli, *options, FIRST, SAMPLE)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert word in done.err


def test_live_answers_have_a_shape_too(cli):
    live = ("live", "-q", "-m", "demo", SAMPLE)
    assert cli(*live, "--ask", FIRST, "--choices", "7,4").out == "4\n"
    assert cli(*live, "--ask", FIRST, "--schema", '{"enum": [4, 7]}').out == "4\n"
    # An answer of 512 tokens at most cannot hold so much.
    cut = cli(*live, "--ask", FIRST, "--schema", '{"type": "string", "minLength": 999}')
    assert (cut.code, cut.out) == (1, "")
    alone = cli(*live, "--choices", "7,4")
    assert (alone.code, alone.out) == (2, "")
    assert "add --ask" in alone.err
