"""`gemma-audio live` on streams and replays: real pipes, real signals, real kills."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
TEXT = "4 1 7 3 9 2"
RAW = ("--raw", "s16le:16000:1")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture(scope="module")
def spoken() -> bytes:
    """The digits and a second of silence, as bare samples."""
    samples, _ = soundfile.read(SAMPLE, dtype="int16")
    return np.concatenate((samples, np.zeros(16_000, dtype=np.int16))).tobytes()


def events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def wait_for_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def ended(process: subprocess.Popen[bytes], seconds: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out.decode(), err.decode()


def wait_until_taken(process: subprocess.Popen[bytes]) -> None:
    """Until nothing is left in the pipe to it, and a moment longer."""
    until = time.monotonic() + 60
    while fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)) != bytes(4):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)


def wait_until_handled(process: subprocess.Popen[bytes]) -> None:
    """Until it has seen its first signal: from then on the usual ones hold, so SIGTERM is not caught."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        time.sleep(1.0)
        return
    until = time.monotonic() + 60
    while int(re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.M)[1], 16) >> signal.SIGTERM - 1 & 1:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_stream_gives_a_line_for_each_utterance_as_it_ends(start, spoken):
    process = start("live", "-q", *RAW, "-", stdin=subprocess.PIPE)
    for _ in range(3):
        process.stdin.write(spoken)
        process.stdin.flush()
        # The pipe is open and the speaker silent: the line is there all the same.
        assert wait_for_line(process) == TEXT
    assert ended(process) == (0, "", "")


def test_a_container_through_a_pipe(cli):
    done = cli("live", "-q", "-", stdin=SAMPLE.read_bytes())
    assert (done.code, done.out, done.err) == (0, f"{TEXT}\n", "")


def test_a_replay_takes_its_time_and_tells_events(cli):
    start = time.monotonic()
    done = cli("live", "-q", "--realtime", "--jsonl", SAMPLE)
    assert time.monotonic() - start > 4.1
    assert (done.code, done.err) == (0, "")
    begin, *partials, final, end = events(done.out)
    assert (begin["type"], begin["schema"]) == ("begin", "gemma-audio/live/1")
    assert begin["source"] == str(SAMPLE)
    assert len(partials) >= 2
    assert {event["type"] for event in partials} == {"partial"}
    times = [event["end"] for event in (*partials, final)]
    assert times == sorted(times)
    for event in partials:
        assert event["text"].startswith(event["stable"])
        assert event["start"] == final["start"]
        assert event["delay"] >= 0
    assert (final["type"], final["text"]) == ("final", TEXT)
    assert final["flags"] == []
    assert (end["type"], end["finals"], end["duration"]) == ("end", 1, pytest.approx(4.141, abs=0.001))


def test_live_says_what_transcribe_says(cli):
    live = cli("live", "-q", "--jsonl", SAMPLE)
    final = next(event for event in events(live.out) if event["type"] == "final")
    offline = json.loads(cli("transcribe", "-q", "--vad", "-f", "json", SAMPLE).out)["segments"][0]
    assert (final["text"], final["avg_logprob"]) == (offline["text"], offline["avg_logprob"])


def test_subtitles_grow_beside_their_name(start, spoken, tmp_path):
    process = start("live", "-q", *RAW, "-", "-o", "talk.srt", stdin=subprocess.PIPE)
    process.stdin.write(spoken)
    process.stdin.flush()
    partial = tmp_path / "talk.srt.partial"
    until = time.monotonic() + 60
    while not (partial.exists() and TEXT in partial.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (tmp_path / "talk.srt").exists()
    assert ended(process) == (0, "", "")
    assert TEXT in (tmp_path / "talk.srt").read_text()
    assert not partial.exists()


def test_what_is_there_is_not_written_over(cli, tmp_path):
    (tmp_path / "talk.txt").write_text("yesterday's")
    (tmp_path / "talk.flac").write_text("yesterday's")
    for options in (("-o", "talk.txt"), ("--save", "talk.flac")):
        done = cli("live", *options, SAMPLE)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "--overwrite" in done.err
    assert (tmp_path / "talk.txt").read_text() == (tmp_path / "talk.flac").read_text() == "yesterday's"
    assert cli("live", "-q", "-o", "talk.txt", "--save", "talk.flac", "--overwrite", SAMPLE).code == 0
    assert (tmp_path / "talk.txt").read_text() == f"{TEXT}\n"


def test_a_kill_leaves_what_was_said_and_heard(start, spoken, tmp_path):
    process = start("live", "-q", *RAW, "-", "-o", "talk.txt", "--save", "talk.wav", stdin=subprocess.PIPE)
    process.stdin.write(spoken)
    process.stdin.flush()
    partial = tmp_path / "talk.txt.partial"
    until = time.monotonic() + 60
    while not (partial.exists() and TEXT in partial.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert partial.read_text() == f"{TEXT}\n"
    saved, _ = soundfile.read(tmp_path / "talk.wav", dtype="int16")
    assert saved.tobytes() == spoken[: 2 * len(saved)]
    assert len(saved) > 4 * 16_000
    # The next one does not touch it.
    again = start("live", "-q", *RAW, "-", "-o", "talk.txt", stdin=subprocess.PIPE)
    again.stdin.write(spoken)
    assert ended(again)[0] == 0
    assert partial.read_text() == (tmp_path / "talk.txt").read_text() == f"{TEXT}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_what_was_said(start, cli, spoken, tmp_path, number):
    process = start("live", *RAW, "-", "--save", "talk.flac", stdin=subprocess.PIPE)
    # Half of the digits, and no pause behind them: the utterance is not over when the signal comes.
    half = spoken[: 2 * 40_000]
    process.stdin.write(half)
    process.stdin.flush()
    until = time.monotonic() + 60
    while not (tmp_path / "talk.flac").exists() or b"listening" not in os.read(process.stderr.fileno(), 4096):
        assert time.monotonic() < until
    wait_until_taken(process)
    process.send_signal(number)
    said = wait_for_line(process)
    assert process.wait(60) == 0
    assert said + "\n" == cli("transcribe", "-q", "--vad", *RAW, "-", stdin=half).out
    assert said
    saved, _ = soundfile.read(tmp_path / "talk.flac", dtype="int16")
    np.testing.assert_array_equal(saved, np.frombuffer(half, dtype=np.int16))
    process.stdin.close()


def test_the_second_signal_stops_at_once(start, tiny_model, spoken, tmp_path):
    # The random model answers until its budget is spent, which takes a while.
    process = start(
        "live", "-m", tiny_model.text, "--ask", "Well?", *RAW, "-", "-o", "out.jsonl",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    for _ in range(40):
        process.stdin.write(spoken)
    process.stdin.flush()
    partial = tmp_path / "out.jsonl.partial"
    until = time.monotonic() + 60
    while not (partial.exists() and '"final"' in partial.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    wait_until_handled(process)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert "Traceback" not in err
    kept = events(partial.read_text())
    assert kept[-1]["error"] == "interrupted"
    assert 1 <= kept[-1]["finals"] < 40


def test_a_reader_that_goes_away_ends_it_quietly(start, spoken, tmp_path):
    process = start("live", "-q", *RAW, "-", "--save", "talk.flac", stdin=subprocess.PIPE)
    process.stdin.write(spoken)
    process.stdin.flush()
    assert wait_for_line(process) == TEXT
    process.stdout.close()
    process.stdin.write(spoken)
    process.stdin.close()
    # As any program whose reader went away, but only after the recording has its end.
    assert process.wait(60) == -signal.SIGPIPE
    assert process.stderr.read() == b""
    # Both times (2 bytes each), up to where the text of the second one could not be written at the latest.
    frames = soundfile.info(tmp_path / "talk.flac").frames
    assert len(spoken) - 16_000 <= frames <= len(spoken)


def test_a_full_disk_costs_the_recording_not_the_words(start, spoken, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        process = start("live", *RAW, "-", "--save", "disk/talk.wav", stdin=subprocess.PIPE)
        for _ in range(3):
            process.stdin.write(spoken)
        code, out, err = ended(process)
        assert (code, out) == (1, f"{TEXT}\n" * 3)
        assert err.count("No space left on device") == 1
        assert "listening goes on" in err
        saved, _ = soundfile.read(disk / "talk.wav", dtype="int16")
        assert 0 < len(saved) < 3 * len(spoken) // 2
        assert saved.tobytes() == (3 * spoken)[: 2 * len(saved)]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_question_is_answered_for_each_utterance(start, spoken):
    process = start("live", "-q", "--ask", "How many digits are spoken?", *RAW, "-", stdin=subprocess.PIPE)
    process.stdin.write(spoken * 2)
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    # The demo model writes down its working first.
    assert out.splitlines() == [f"{TEXT}: 6 digits"] * 2


def test_silence_says_nothing_and_tells_so(cli):
    done = cli("live", *RAW, "-", stdin=bytes(2 * 16_000))
    assert (done.code, done.out) == (0, "")
    assert "no speech" in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--realtime",), "name it"),
        (("--ask", " ", SAMPLE), "empty"),
        (("--pause", "0", SAMPLE), "--pause"),
        (("--window", "100", SAMPLE), "--window"),
        (("--push-to-talk", SAMPLE), "no terminal"),
        (("--save", "talk.mp3", SAMPLE), ".flac"),
        (("-f", "srt", "-f", "vtt", SAMPLE), "-o FOLDER"),
        ((".",), "folder"),
    ],
)
def test_wrong_usage_is_one_line(cli, arguments, words):
    done = cli("live", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert words in done.err


def test_a_damaged_stream_gives_what_could_be_heard(cli):
    whole = SAMPLE.read_bytes()
    done = cli("live", "-", stdin=whole[: len(whole) * 3 // 4])
    assert done.code == 1
    assert done.out.startswith("4 1 7")
    assert "cut short" in done.err.splitlines()[-1]


@pytest.mark.parametrize("minutes", [4, pytest.param(15, marks=pytest.mark.slow)])
def test_many_minutes_take_no_more_memory_than_one(minutes):
    script = str(ROOT / "scripts" / "bench" / "live.py")
    command = [sys.executable, script, "replay", "--minutes", str(minutes), "--in-step"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60 * minutes)
    result = json.loads(done.stdout)
    assert result["lines"] == result["utterances"] > 10 * minutes
    assert result["lines_that_differ"] == 0
    early = max(result["resident_mb"][:3])
    assert max(result["resident_mb"]) < early + 15
