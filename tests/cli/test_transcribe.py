"""`transcribe` as the tool in people's shells: many files, formats, parts, channels, pipes, interruptions."""

from __future__ import annotations

import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.formatting import hms

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
DIGITS = (ROOT / "gemma_audio_cli" / "demo" / "sample.txt").read_text().strip()

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and a shell")


@pytest.fixture
def environment(environment):
    """Speech detection as people have it."""
    return {key: value for key, value in environment.items() if key != "GEMMA_AUDIO_VAD"}


def spoken() -> np.ndarray:
    return soundfile.read(SAMPLE, dtype="float32")[0]


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * 16_000), dtype=np.float32)


def write(path: Path, *parts: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), 16_000)
    return path


# ---- outputs -------------------------------------------------------------------------------------


def test_a_folder_of_recordings_becomes_a_folder_of_subtitles(cli, tmp_path):
    write(tmp_path / "talks" / "one.wav", spoken())
    write(tmp_path / "talks" / "deep" / "two.flac", quiet(3), spoken())
    (tmp_path / "talks" / "notes.txt").write_text("no recording")
    done = cli("transcribe", "-m", "demo", "-r", "talks", "-f", "srt", "-f", "json", "-o", "subs/")
    assert (done.code, done.out) == (0, "")
    made = sorted(p.name for p in (tmp_path / "subs").rglob("*.*"))
    assert made == ["one.json", "one.srt", "two.json", "two.srt"]
    (late,) = json.loads(next((tmp_path / "subs").rglob("two.json")).read_text())["segments"]
    assert late["text"] == DIGITS
    # What is silent is left out, and times are the file's.
    assert 2.0 < late["start"] < 3.5
    assert DIGITS in next((tmp_path / "subs").rglob("one.srt")).read_text()


def test_resume_does_only_what_is_missing(cli, tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.wav", spoken())
    command = ("transcribe", "-m", "demo", "a.wav", "b.wav", "c.wav", "-f", "tsv", "-o", "out")
    assert cli(*command).code == 0
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "b.tsv").unlink()
    again = cli(*command, "--resume")
    assert again.code == 0
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "out").iterdir()}
    assert {n: b for n, (b, _) in after.items()} == {n: b for n, (b, _) in before.items()}
    assert [n for n in sorted(after) if after[n][1] != before[n][1]] == ["b.tsv"]
    assert "2" in again.err


def test_one_bad_recording_does_not_stop_the_others_and_is_reported(cli, tmp_path):
    write(tmp_path / "a.wav", spoken())
    (tmp_path / "b.wav").write_bytes(b"this is no sound")
    write(tmp_path / "c.wav", spoken())
    done = cli("transcribe", "-m", "demo", "a.wav", "b.wav", "c.wav", "a.wav", "-o", "out")
    assert done.code == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.txt", "c.txt"]
    assert sum("error: b.wav" in line for line in done.err.splitlines()) == 1


def test_any_number_of_windows_at_once_gives_the_same(cli, tmp_path):
    path = write(tmp_path / "long.wav", *(part for _ in range(6) for part in (spoken(), quiet(2.7))))
    outs = [cli("transcribe", "-m", "demo", "-f", "json", "--batch", n, path).out for n in (1, 3, 8, "auto")]
    assert len(json.loads(outs[0])["segments"]) == 6
    assert len(set(outs)) == 1
    assert json.loads(outs[0])["text"].split() == DIGITS.split() * 6


def test_verbose_tells_how_many_windows_gain_and_that_it_was_measured_once(cli, tmp_path):
    path = write(tmp_path / "a.wav", spoken())
    found = [
        cli("transcribe", "-m", "demo", "-v", *more, path, env={"GEMMA_AUDIO_CACHE_DIR": str(tmp_path / "c")})
        for more in ((), (), ("--batch", "3"))
    ]
    told = [[line for line in done.err.splitlines() if line.startswith("batch ")] for done in found]
    assert [len(lines) for lines in told] == [1, 1, 0]
    assert re.search(r"\d windows together; measured now, tokens/s by 1: [\d.]+, 2: ", told[0][0])
    assert told[1][0] == told[0][0].replace("measured now", "measured before")
    assert len({done.out for done in found}) == 1


# ---- what is heard -------------------------------------------------------------------------------


def test_a_part_of_a_recording_keeps_the_times_of_the_whole(cli, tmp_path):
    path = write(tmp_path / "x.wav", spoken(), quiet(4), spoken(), quiet(4), spoken())
    middle = len(spoken()) / 16_000 + 4
    options = ("--start", f"{middle - 0.5:.2f}", "--end", f"{middle + 4.5:.2f}", "-f", "json")
    (segment,) = json.loads(cli("transcribe", "-m", "demo", *options, path).out)["segments"]
    assert segment["text"] == DIGITS
    assert middle - 0.6 < segment["start"] < middle + 1
    shown = cli("transcribe", "-m", "demo", "--timestamps", path).out.splitlines()
    assert [line.endswith(DIGITS) for line in shown] == [True] * 3
    assert len({line.partition("]")[0] for line in shown}) == 3


def test_two_sides_of_a_call(cli, tmp_path):
    left = np.concatenate((spoken(), quiet(9)))
    right = np.concatenate((quiet(6), spoken(), quiet(9)))
    sides = np.stack((left[: 10 * 16_000], right[: 10 * 16_000]), axis=1)
    soundfile.write(tmp_path / "call.wav", sides, 16_000)
    done = cli("transcribe", "-m", "demo", "--split-channels", "-f", "json", "call.wav")
    found = [(s["channel"], s["text"]) for s in json.loads(done.out)["segments"]]
    assert found == [(1, DIGITS), (2, DIGITS)]
    one = cli("transcribe", "-m", "demo", "--channel", 2, "-f", "json", "call.wav")
    (segment,) = json.loads(one.out)["segments"]
    assert segment["start"] > 4
    assert cli("transcribe", "-m", "demo", "--channel", 3, "call.wav").code == 1


def test_the_instruction_can_be_replaced(cli):
    done = cli("transcribe", "-m", "demo", "--prompt", "How many digits are spoken?", SAMPLE)
    assert done.out.strip() == f"{DIGITS}: {len(DIGITS.split())} digits"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--window", "31"), ("--window", "0.1"), ("--batch", "0"), ("--batch", "many"), ("-f", "docx"),
        ("--start", "later"), ("--start", "5", "--end", "4"), ("--raw", "s99"), ("--channel", "0"),
        ("--split-channels", "--no-vad"), ("--split-channels", "--channel", "1"), ("--max-line", "2"),
        ("--resume",), ("-l", "Klingon-ish\x1b"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_once(cli, wrong):
    done = cli("transcribe", "-m", "demo", *wrong, SAMPLE)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err


def test_the_duration_is_the_recording_s_also_where_nothing_is_said(cli, tmp_path):
    silent = write(tmp_path / "silent.wav", quiet(20))
    value = json.loads(cli("transcribe", "-m", "demo", "-f", "json", silent).out)
    assert (value["duration"], value["segments"]) == (20.0, [])
    spoke = write(tmp_path / "spoke.wav", spoken(), quiet(20))
    seconds = len(spoken()) / 16_000 + 20
    value = json.loads(cli("transcribe", "-m", "demo", "-f", "json", spoke).out)
    assert value["duration"] == pytest.approx(seconds, abs=0.001)
    part = json.loads(cli("transcribe", "-m", "demo", "-f", "json", "--start", 1, "--end", 9, spoke).out)
    assert part["duration"] == 9.0


# ---- pipelines -----------------------------------------------------------------------------------


@posix
def test_find_and_xargs(environment, tmp_path):
    for name in ("with space.wav", "line\nbreak.wav", "plain.wav"):
        write(tmp_path / "in" / name, spoken())
    command = (
        f"find in -print0 -name '*.wav' -type f | sort -z | xargs -0 {sys.executable} -m gemma_audio_cli"
    )
    command = command.replace("-print0 -name '*.wav' -type f", "-name '*.wav' -type f -print0")
    done = subprocess.run(
        ["sh", "-c", f"{command} transcribe -m demo --jsonl"],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    texts = {event["file"]: event["text"] for event in events if event["type"] == "segment"}
    assert set(texts) == {"in/with space.wav", "in/line\nbreak.wav", "in/plain.wav"}
    assert set(texts.values()) == {DIGITS}


@posix
def test_an_endless_stream_is_written_as_it_goes(start):
    child = start("transcribe", "-m", "demo", "--jsonl", "--raw", "s16le:16000:1", "-", stdin=subprocess.PIPE)
    sound = np.concatenate((spoken(), quiet(3.0)))
    block = (sound * 32767).astype("<i2").tobytes()
    events, spoke = [], 0
    try:
        for _ in range(3):
            spoke += 1
            child.stdin.write(block)  # a speaker, then silence; the pipe stays open
            child.stdin.flush()
            while sum(event["type"] == "segment" for event in events) < spoke:
                assert select.select([child.stdout], [], [], 60)[0], "nothing came while the stream went on"
                events.append(json.loads(child.stdout.readline()))
        assert child.poll() is None
    finally:
        child.stdin.close()
    rest = [json.loads(line) for line in child.stdout.read().splitlines()]
    child.stdout.close()
    child.stderr.close()
    assert child.wait(60) == 0
    segments = [event for event in [*events, *rest] if event["type"] == "segment"]
    assert [segment["text"] for segment in segments] == [DIGITS] * 3
    assert rest[-1]["type"] != "segment"


@posix
def test_head_ends_it_quietly(environment, tmp_path):
    path = write(tmp_path / "long.wav", *(part for _ in range(20) for part in (spoken(), quiet(3))))
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gemma_audio_cli transcribe -m demo '{path}' | head -n 1"],
        env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.decode().strip() == DIGITS
    assert done.stderr == b""


# ---- interruptions -------------------------------------------------------------------------------


def outputs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


@posix
def test_killed_at_any_moment_and_resumed_is_as_if_nothing_happened(cli, start, tmp_path):
    for n in range(24):
        write(tmp_path / "in" / f"{n:02}.wav", quiet(0.05 * n), spoken())
    arguments = ("transcribe", "-m", "demo", "-r", "in", "-f", "text", "-f", "json", "--resume", "-o")
    assert cli(*arguments, "whole").code == 0
    whole = outputs(tmp_path / "whole")
    assert len(whole) == 48
    source = random.Random(3)
    for _ in range(4):
        child = start(*arguments, "broken", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        known, folder = len(list((tmp_path / "broken").glob("*"))), tmp_path / "broken"
        while len(list(folder.glob("*"))) <= known and child.poll() is None:
            time.sleep(0.005)
        time.sleep(source.uniform(0, 0.3))
        child.kill()
        child.wait()
        for name, content in outputs(folder).items():
            assert content == whole[name]
    assert cli(*arguments, "broken").code == 0
    assert outputs(tmp_path / "broken") == whole
    assert not list((tmp_path / "broken").glob(".gemma-audio-*"))


@posix
def test_control_c_once_keeps_what_is_begun_twice_stops_now(start, tmp_path):
    for n in range(40):
        write(tmp_path / "in" / f"{n:02}.wav", *(part for _ in range(3) for part in (spoken(), quiet(1.2))))
    folder = tmp_path / "out"
    child = start("transcribe", "-m", "demo", "-r", "in", "-f", "text", "-f", "json", "-o", "out")
    while not list(folder.glob("*.txt")):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    done = {name: text for name, text in outputs(folder).items() if name.endswith(".txt")}
    assert 0 < len(done) < 40
    assert {text.decode().split()[0] for text in done.values()} == {DIGITS.split()[0]}
    # Only what was not heard to its end is called interrupted.
    kept = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert [value.get("error") for value in kept] == [
        None if value["text"].split() == DIGITS.split() * 3 else "interrupted" for value in kept
    ]
    assert b"Traceback" not in err
    child = start("transcribe", "-m", "demo", "-r", "in", "--resume", "-o", "out")
    while len(list(folder.glob("*.txt"))) <= len(done):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert time.monotonic() - begun < 20
    assert b"Traceback" not in err


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_disk_that_fills_up_loses_nothing_done(cli, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True
    ).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        (small / "filler").write_bytes(b"x" * (64 * 1024 - 12 * 1024))
        for n in range(6):
            write(tmp_path / "in" / f"{n}.wav", spoken())
        done = cli("transcribe", "-m", "demo", "-r", "in", "-f", "json", "-o", small)
        kept = sorted(small.glob("*.json"))
        assert done.code == 1
        assert "Traceback" not in done.err
        assert "small" in done.err
        assert all(json.loads(path.read_text())["text"] == DIGITS for path in kept)
        assert 0 < len(kept) < 6
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize(
    ("options", "variable", "language"),
    [
        ((), "", None),
        (("--language", "de"), "", "German"),
        ((), "de", "German"),
        (("--prompt", "Write down what is said."), "", None),
        (("--prompt", "Write down what is said."), "de", None),
    ],
)
def test_the_language_in_json_is_what_the_model_was_given(cli, options, variable, language):
    env = {"GEMMA_AUDIO_LANGUAGE": variable}
    done = cli("transcribe", "-m", "demo", "-f", "json", *options, SAMPLE, env=env)
    assert json.loads(done.out)["language"] == language


@posix
def test_the_bar_tells_how_long_it_will_take(tmp_path, environment):
    for number in range(4):
        write(tmp_path / f"{number}.wav", quiet(1.0), spoken(), quiet(1.0))
    whole = 4 * (2.0 + len(spoken()) / 16_000)
    ours, theirs = os.openpty()
    command = ["transcribe", "-m", "demo", "-o", "out/", *(f"{number}.wav" for number in range(4))]
    child = subprocess.Popen(
        [sys.executable, "-m", "gemma_audio_cli", *command], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=theirs,
        env=environment | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "150"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65_536):
            seen += data
    os.close(ours)
    assert child.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(rf"0:00:\d\d/{hms(whole)} +\d+\.\d × real time +0:\d\d:\d\d left", text), text
    # Silence was done too: nothing is left at the end.
    assert f"4 files, {hms(whole)} of sound" in text
