"""`gemma-audio live` through PortAudio, with a sound server whose speaker is its microphone."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
TEXT = "4 1 7 3 9 2"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="PulseAudio and POSIX signals")


def events(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for_finals(path: Path, count: int, seconds: float = 60.0) -> list[dict]:
    until = time.monotonic() + seconds
    while True:
        finals = [event for event in events(path) if event["type"] == "final"] if path.exists() else []
        if len(finals) >= count:
            return finals
        assert time.monotonic() < until, f"{len(finals)} utterances in {seconds} s"
        time.sleep(0.05)


def test_what_is_said_into_the_microphone_is_written_and_kept(virtual_microphone, listen, tmp_path):
    child = listen("live", "--jsonl", "--save", "kept.flac")
    child.wait_for("listening to")
    virtual_microphone.play(SAMPLE)
    time.sleep(1.5)
    virtual_microphone.play(SAMPLE)
    time.sleep(1.5)
    assert child.end(signal.SIGINT) == 0, child.said
    reported = [json.loads(line) for line in child.out.splitlines()]
    finals = [event for event in reported if event["type"] == "final"]
    assert [final["text"] for final in finals] == [TEXT, TEXT]
    assert sum(event["type"] == "partial" for event in reported) >= 2
    kept, rate = soundfile.read(tmp_path / "kept.flac", dtype="float32")
    assert rate == 16_000
    assert len(kept) / rate == pytest.approx(reported[-1]["duration"], abs=0.001)
    # Times are places in the file that was kept: the digits are there, and silence before them.
    spoken, _ = soundfile.read(SAMPLE, dtype="float32")
    for final in finals:
        part = kept[round(final["start"] * rate) : round(final["end"] * rate)]
        assert len(part) == pytest.approx(len(spoken), abs=0.6 * rate)
        assert np.square(part).mean() > 0.5 * np.square(spoken).mean()
    # Said and heard: the final text is there soon after the end, though a pause had to be waited for.
    assert all(final["delay"] < 6.0 for final in finals)


def test_the_end_of_a_half_said_thing_is_heard(virtual_microphone, listen, tmp_path):
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "half.wav", samples[: 2 * rate], rate)
    child = listen("live", "-o", "out.txt")
    child.wait_for("listening to")
    virtual_microphone.play(tmp_path / "half.wav")
    assert child.end(signal.SIGTERM) == 0, child.said  # before the pause that would have ended it
    assert (tmp_path / "out.txt").read_text().startswith("4 1 7")
    assert child.out == ""


def test_a_microphone_that_comes_and_goes(virtual_microphone, listen, tmp_path):
    child = listen("live", "-f", "jsonl", "-o", "out.jsonl")
    child.wait_for("listening to")
    growing = tmp_path / "out.jsonl.partial"
    virtual_microphone.play(SAMPLE)
    wait_for_finals(growing, 1)
    virtual_microphone.stop()
    child.wait_for("no sound any more")
    virtual_microphone.start()
    child.wait_for("sound again")
    virtual_microphone.play(SAMPLE)
    wait_for_finals(growing, 2)
    assert child.end(signal.SIGINT) == 0, child.said
    texts = [event["text"] for event in events(tmp_path / "out.jsonl") if event["type"] == "final"]
    assert texts == [TEXT, TEXT]


def test_what_was_being_said_when_it_is_unplugged_is_finished(virtual_microphone, listen, tmp_path):
    child = listen("live", "-f", "jsonl", "-o", "out.jsonl")
    child.wait_for("listening to")
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "half.wav", samples[: 2 * rate], rate)
    virtual_microphone.play(tmp_path / "half.wav")
    virtual_microphone.unplug()
    (final,) = wait_for_finals(tmp_path / "out.jsonl.partial", 1)
    assert final["text"].startswith("4 1 7")
    assert child.end(signal.SIGINT) == 0, child.said
    virtual_microphone.plug_in()


def test_no_microphone_is_exit_3(listen, tmp_path):
    child = listen("live", "--save", "kept.flac", env={"PULSE_SERVER": "unix:/not/there"})
    assert child.end() == 3
    assert child.said.count("\n") == 1
    assert "no microphone found" in child.said
    assert not list(tmp_path.glob("kept*"))


def test_the_microphone_of_the_settings_is_used(listen):
    child = listen("live", env={"GEMMA_AUDIO_MICROPHONE": "nonesuch"})
    assert child.end() == 2
    assert "no microphone is called 'nonesuch'" in child.said


def test_devices_are_listed(listen):
    child = listen("live", "--list-devices")
    assert child.end() == 0
    assert any(line.startswith("*") for line in child.out.splitlines())
