"""`gemma-audio ask` about long recordings: passes, evidence, and what is kept for the next question."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import passes as bench
from gemma_audio_cli import AskOptions, DecodeOptions, PassesOptions, ask

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"  # 4 1 7 3 9 2
SEVEN, EIGHT, FIRST = "Is the digit 7 spoken?", "Is the digit 8 spoken?", "What is the first digit?"
HEARD = {"GEMMA_AUDIO_VAD": "1"}
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")

PIECES = (True, False, False, True, False, True)
"""Whether each stretch of the recording below holds the word."""
PAUSE = 3.0


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """The sample, or its first two digits, over and over: 30 s of speech with pauses."""
    sample, rate = soundfile.read(SAMPLE, dtype="float32")
    short, pause = sample[: int(1.3 * rate)], np.zeros(int(PAUSE * rate), dtype=np.float32)
    path = tmp_path_factory.mktemp("long") / "long.flac"
    soundfile.write(path, np.concatenate([p for w in PIECES for p in (sample if w else short, pause)]), rate)
    return path


@pytest.fixture
def environment(environment, tmp_path) -> dict[str, str]:
    """What is heard in one test is kept for no other."""
    return environment | {"GEMMA_AUDIO_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def asked(cli):
    def run(*arguments, **options):
        return cli("ask", "-m", "demo", *arguments, env=HEARD | options.pop("env", {}), **options)

    return run


def spans() -> list[tuple[float, float]]:
    """Where the pieces with the word lie."""
    found, at = [], 0.0
    for whole in PIECES:
        length = 4.141 if whole else 1.3
        if whole:
            found.append((at, at + length))
        at += length + PAUSE
    return found


def objects(done) -> list[dict]:
    return [json.loads(line) for line in done.out.splitlines()]


def test_length_decides_and_is_said(asked, long):
    done = asked(SEVEN, long)
    assert done.code == 0
    assert done.err.count("\n") == 1
    assert "longer than 10 s, so it is answered in passes; --whole gives it to the model at once" in done.err
    assert asked(SEVEN, SAMPLE).out == "4 1 7 3 9 2: 7 yes\n"
    assert asked("--passes", SEVEN, SAMPLE).out == "[00:00-00:05] 4 1 7 3 9 2: 7 yes\n"
    assert "[" not in asked("-q", "--whole", SEVEN, long).out
    assert asked("-q", "--recall-seconds", "60", SEVEN, long).out == asked("-q", "--whole", SEVEN, long).out
    settings = {"GEMMA_AUDIO_RECALL_SECONDS": "60"}
    assert asked(SEVEN, long, env=settings).err == ""


def test_every_place_is_found_and_no_other_within_its_times(asked, long):
    answer, end = objects(asked("-q", "--jsonl", "--evidence", SEVEN, long))
    found = answer["evidence"]
    assert len(found) == len(spans())
    for note, (start, stop) in zip(found, spans(), strict=True):
        assert note["start"] - 0.1 <= start < stop <= note["end"] + 0.5  # room is kept around speech
        assert note["end"] - note["start"] < 6.1
        assert note["note"] == "4 1 7 3 9 2: 7 yes"
        assert note["flags"] == []
    assert answer["parts"] == len(PIECES)
    assert (end["answers"], end["duration"]) == (1, pytest.approx(34.3, abs=0.1))


def test_notes_are_printed_once_for_a_person(asked, long):
    plain = asked("-q", SEVEN, long).out
    assert [line[:7] for line in plain.splitlines()] == ["[00:00-", "[00:15-", "[00:27-"]
    assert asked("-q", "--evidence", SEVEN, long).out == plain
    assert asked("-q", SEVEN, long, SAMPLE).out == "".join(
        f"{path}: {line}\n"
        for path, lines in ((long, plain), (SAMPLE, "4 1 7 3 9 2: 7 yes"))
        for line in lines.splitlines()
    )


def test_where_nothing_bears_on_the_question_nothing_is_answered(asked, long):
    done = asked("--passes", EIGHT, long)
    assert (done.code, done.out) == (0, "")
    assert "nothing in it bears on the question" in done.err
    silence = long.parent / "silence.wav"
    soundfile.write(silence, np.zeros(16_000 * 20, dtype=np.float32), 16_000)
    done = asked("--passes", SEVEN, silence)
    assert (done.code, done.out) == (0, "")
    assert "no speech was heard" in done.err


def test_two_questions_in_one_run_are_two_runs(asked, long):
    both = objects(asked("-q", "--jsonl", "--evidence", "-Q", SEVEN, "-Q", FIRST, long))
    one, two = (
        objects(asked("-q", "--jsonl", "--evidence", question, long))[0] for question in (SEVEN, FIRST)
    )
    assert both[:2] == [one, two]
    assert len(two["evidence"]) == len(PIECES)


def test_together_each_note_names_its_recording(asked, long):
    answer, end = objects(asked("-q", "--jsonl", "--evidence", "--together", SEVEN, SAMPLE, long))
    assert [note["file"] for note in answer["evidence"]] == [str(SAMPLE), *[str(long)] * 3]
    assert answer["parts"] == len(PIECES) + 1
    assert end["duration"] == pytest.approx(34.3 + 4.1, abs=0.2)
    assert answer["answer"].startswith(f"[{SAMPLE} 00:00-00:05] 4 1 7")


def test_a_part_of_a_recording_has_the_recording_s_times(asked, long):
    answer, _ = objects(asked("-q", "--jsonl", "--evidence", "--start", "10", SEVEN, long))
    assert [round(note["start"]) for note in answer["evidence"]] == [round(start) for start, _ in spans()[1:]]


def test_a_pipe_is_asked_too(cli, long):
    done = cli("ask", "-q", "-m", "demo", SEVEN, "-", stdin=long.read_bytes(), env=HEARD)
    assert len(done.out.splitlines()) == 3


def test_a_recording_that_ends_early_is_asked_up_to_there(asked, long, tmp_path):
    wav = tmp_path / "cut.wav"
    soundfile.write(wav, soundfile.read(long, dtype="int16")[0], 16_000)
    wav.write_bytes(wav.read_bytes()[: 16_000 * 2 * 21])
    done = asked("-q", "--jsonl", "--evidence", SEVEN, wav)
    answer, end = objects(done)
    assert done.code == 1
    assert len(answer["evidence"]) == 2
    assert "cut" in end["error"]


def test_answers_from_notes_have_their_shape(asked, long):
    schema = '{"type": "object", "properties": {"first": {"enum": [4, 7]}}, "required": ["first"]}'
    done = asked("-q", "--schema", schema, FIRST, long)
    assert json.loads(done.out)["first"] in (4, 7)
    answer, _ = objects(asked("-q", "--jsonl", "--evidence", "--choices", "yes,no", SEVEN, long))
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=0.001)
    assert len(answer["evidence"]) == 3
    grammar = long.parent / "count.gbnf"
    grammar.write_text('root ::= [0-9] " digits!"\n')
    assert re.fullmatch(r"\d digits!\n", asked("-q", "--grammar", grammar, FIRST, long).out)
    assert "reads no notes" in asked("--choices", "yes,no", SEVEN, long).err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--whole", "--evidence"), "leave out --whole"),
        (("--evidence", "--schema", "{}"), "add --jsonl"),
        (("--recall-seconds", "0"), "from 1 to 3600"),
        (("--recall-seconds", "nan"), "from 1 to 3600"),
    ],
)
def test_what_makes_no_sense_is_one_line(asked, options, word):
    done = asked(*options, SEVEN, SAMPLE)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert word in done.err


def test_what_does_not_fit_whole_says_what_to_do(cli, tiny_model, make_tone, tmp_path):
    soundfile.write(tmp_path / "long.wav", make_tone(240.0), 16_000)
    done = cli("ask", "-m", tiny_model.text, "--whole", "What?", "long.wav")
    assert (done.code, done.out) == (1, "")
    assert "leave out --whole" in done.err
    assert done.err.count("\n") == 1


def test_a_question_that_leaves_no_room_is_one_line(cli, tiny_model, make_tone, tmp_path):
    soundfile.write(tmp_path / "short.wav", make_tone(2.0), 16_000)
    (tmp_path / "questions.txt").write_text("why " * 40_000)
    done = cli("ask", "-m", tiny_model.text, "--passes", "--questions", "questions.txt", "short.wav")
    assert (done.code, done.out) == (1, "")
    assert "the question is too long" in done.err
    assert done.err.count("\n") == 1


# ---- what is kept --------------------------------------------------------------------------------


def encoded(done) -> int:
    """Tokens that the encoder made, by the table of -v."""
    found = re.search(r"^encode .* (\d+) tokens", done.err, re.MULTILINE)
    assert found
    return int(found[1])


def test_another_question_encodes_nothing_and_hears_the_same(asked, cli, long, tmp_path):
    first = asked("-v", SEVEN, long)
    assert encoded(first) > 300
    second = asked("-v", FIRST, long)
    assert encoded(second) == 0
    fresh = asked("-v", "--no-cache", FIRST, long)
    assert encoded(fresh) == encoded(first)
    assert second.out == fresh.out
    assert encoded(asked("-v", FIRST, long, env={"GEMMA_AUDIO_CACHE": "off"})) > 0
    other = long.with_suffix(".wav")  # the same sound in another file, with a bit more of it
    soundfile.write(other, np.append(soundfile.read(long, dtype="int16")[0], np.zeros(999, "int16")), 16_000)
    assert encoded(asked("-v", FIRST, other)) == 0

    shown = json.loads(cli("cache", "show", "--json").out)
    assert shown["folder"] == str(tmp_path / "cache" / "heard")
    assert (shown["windows"], shown["limit"]) == (len(PIECES), 2_000_000_000)
    assert shown["seconds"] == pytest.approx(encoded(first) / 25)
    assert shown["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()
    )
    assert "in 6 windows" in cli("cache", "show").out
    assert cli("cache", "clear").out == "0.1 MB freed\n"
    assert json.loads(cli("cache", "show", "--json").out)["windows"] == 0
    assert cli("cache", "clear").out == "0.0 MB freed\n"
    assert encoded(asked("-v", FIRST, long)) > 0


@posix
def test_a_disk_that_is_full_is_one_notice_and_the_answer_comes(not_covered, environment, tmp_path, long):
    done = subprocess.run(
        [sys.executable, "-m", "gemma_audio_cli", "ask", "-m", "demo", "--passes", SEVEN, str(long)],
        cwd=tmp_path,
        env=environment | HEARD | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.count("\n") == 1
    assert "what is heard is not kept: File too large; --no-cache does without" in done.stderr
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_made_is_one_notice(asked, long, tmp_path):
    (tmp_path / "cache").write_text("a file in its place")
    done = asked("--passes", SEVEN, long)
    assert (done.code, len(done.out.splitlines())) == (0, 3)
    assert done.err.count("\n") == 1
    assert "what is heard is not kept" in done.err


# ---- interruptions -------------------------------------------------------------------------------


def wait_for(condition, seconds: float = 60.0) -> None:
    last = time.monotonic() + seconds
    while not condition() and time.monotonic() < last:
        time.sleep(0.01)
    assert condition()


@posix
def test_control_c_while_hearing_is_one_line_and_what_was_heard_is_kept(
    not_covered, start, environment, tmp_path, long
):
    environment |= HEARD
    pieces = [soundfile.read(long, dtype="int16")[0]] * 40
    soundfile.write(tmp_path / "hours.wav", np.concatenate(pieces), 16_000)
    heard = tmp_path / "cache" / "heard"
    child = start("ask", "-q", "-m", "demo", SEVEN, "hours.wav")
    wait_for(lambda: len(list(heard.rglob("*"))) > 6)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, b"")
    assert err == b"gemma-audio: interrupted\n"
    assert not list(heard.rglob(".*"))


@posix
def test_a_reader_that_goes_away_is_the_quiet_end(not_covered, environment, tmp_path, long):
    command = (
        f'"{sys.executable}" -m gemma_audio_cli ask -q -m demo --jsonl --evidence -Q "{SEVEN}" -Q "{FIRST}"'
    )
    done = subprocess.run(
        ["sh", "-c", f'{{ {command} "{long}"; echo $? >code; }} | head -c 1'],
        cwd=tmp_path,
        env=environment | HEARD | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("{", "")
    assert (tmp_path / "code").read_text().strip() in ("0", "141")


# ---- minutes of planted words --------------------------------------------------------------------


@pytest.mark.slow
def test_planted_words_are_found_as_well_as_alone(asked, speech, tmp_path):
    path = tmp_path / "planted.flac"
    spoken = bench.build(path, 6.0, 13.0, speech)
    answer, _ = objects(asked("-q", "--jsonl", "--evidence", bench.QUESTION, path))
    recall, precision = bench.scores(spoken, answer["evidence"])
    alone, exact = bench.alone(spoken, bench.QUESTION)
    assert sum(s.planted is not None for s in spoken) >= 25
    assert recall >= alone - 4  # one of 25 or more
    assert precision >= exact - 4
    assert min(recall, precision) > 90
    options = AskOptions(decode=DecodeOptions(slots=1), passes=PassesOptions(cache=False))
    assert ask(bench.QUESTION, path, options, model="demo").text == answer["answer"]  # one by one
