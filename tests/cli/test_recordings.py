"""Recordings as people have them, by the command: containers, channels, levels, folders, interruptions."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from gemma_audio_cli import RecordingStarted, SegmentDone, transcribe_many
from gemma_audio_cli.output.as_json import segment_as_dict

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
DIGITS = (ROOT / "gemma_audio_cli" / "demo" / "sample.txt").read_text().strip()
RATE = 48_000
CONTAINERS = {
    "wav": ("pcm_s16le", "wav"), "flac": ("flac", "flac"), "ogg": ("", "ogg"),
    "opus": ("libopus", "ogg"), "mp3": ("libmp3lame", "mp3"), "m4a": ("aac", "mp4"),
    "mkv": ("aac", "matroska"),
}  # fmt: skip
LAYOUTS = ("mono", "stereo", "5.1")
LONG = ("wav", "opus", "m4a")
"""Containers in which there is one of several windows too."""
MATRIX = [
    (layout, suffix, length)
    for layout in LAYOUTS
    for suffix in CONTAINERS
    for length in ("short", "long")
    if (length == "short" or suffix in LONG) and (layout, suffix) != ("5.1", "mp3")  # MP3 has no 5.1
]


@pytest.fixture
def environment(environment):
    """Speech detection as people have it."""
    return {key: value for key, value in environment.items() if key != "GEMMA_AUDIO_VAD"}


def spoken(rate: int = 16_000) -> np.ndarray:
    sound, own = soundfile.read(SAMPLE, dtype="float32")
    return soxr.resample(sound, own, rate)


def quiet(seconds: float, rate: int = 16_000) -> np.ndarray:
    return np.zeros(int(seconds * rate), dtype=np.float32)


def arranged(sound: np.ndarray, layout: str) -> np.ndarray:
    """The voice in both channels of stereo, in the centre of 5.1 with noise around it."""
    if layout == "mono":
        return sound[:, None]
    if layout == "stereo":
        return np.stack([sound, sound], axis=1)
    noise = 0.03 * np.random.default_rng(0).standard_normal((len(sound), 6)).astype(np.float32)
    noise[:, 2] = sound
    return noise


def encode(path: Path, codec: str, form: str, tracks: dict[str, np.ndarray], layout: str) -> Path:
    """Tracks, by language, of float [n, channels] at 48 kHz as a file."""
    with av.open(str(path), "w", format=form) as out:
        streams = []
        for language in tracks:
            stream = out.add_stream(codec, rate=RATE, layout=layout)
            if language:
                stream.metadata["language"] = language
            streams.append(stream)
        for stream, sound in zip(streams, tracks.values(), strict=True):
            values = (np.clip(sound, -1, 1) * 32_767).astype(np.int16)
            for at in range(0, len(values), 960):
                part = np.ascontiguousarray(values[at : at + 960]).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), at
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


NAMES = {key: "-".join((key[2], *key[:2])) for key in MATRIX}
"""Of the files, without their extensions."""


@pytest.fixture(scope="session")
def recordings(made_once) -> Path:
    """A folder with all of MATRIX."""

    def make(folder: Path) -> None:
        voice = spoken(RATE)
        sounds = {"short": voice, "long": np.concatenate([voice, quiet(3.0, RATE), voice])}
        for (layout, suffix, length), name in NAMES.items():
            codec, form = CONTAINERS[suffix]
            path = folder / f"{name}.{suffix}"
            sound = arranged(sounds[length], layout)
            if (
                suffix == "ogg"
            ):  # the FFmpeg of PyAV has no encoder of Vorbis; its channels come in another order
                order = [0, 2, 1, 4, 5, 3] if layout == "5.1" else slice(None)
                soundfile.write(path, sound[:, order], RATE, format="OGG", subtype="VORBIS")
            else:
                encode(path, codec, form, {"": sound}, layout)

    return made_once("matrix", make)


@pytest.fixture(scope="session")
def transcripts(recordings, program, made_once) -> dict[tuple[str, str, str], dict]:
    """What one run makes of all of MATRIX."""

    def make(folder: Path) -> None:
        ours = "GEMMA_AUDIO_"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) or k == "GEMMA_AUDIO_LIBRARY"}
        settings = {"CONFIG_DIR": str(folder / "none"), "BACKENDS_DIR": str(folder / "none"), "THREADS": "2"}
        env = kept | {ours + name: value for name, value in settings.items()} | {"PYTHONPATH": str(ROOT)}
        files = sorted(path.name for path in recordings.iterdir())
        command = ["transcribe", "-q", "-m", "demo", "-f", "json", "-o", f"{folder}/", *files]
        done = program.run(command, cwd=recordings, env=env, timeout=600)
        assert (done.returncode, done.stderr) == (0, b"")

    folder = made_once("transcripts", make)
    return {key: json.loads((folder / f"{name}.json").read_text()) for key, name in NAMES.items()}


@pytest.mark.parametrize(("layout", "suffix", "length"), MATRIX)
def test_every_container_mono_stereo_and_surround(transcripts, layout, suffix, length):
    found = transcripts[layout, suffix, length]
    texts = [segment["text"] for segment in found["segments"]]
    assert texts == [DIGITS] * (2 if length == "long" else 1)
    assert found["duration"] == pytest.approx(4.14 if length == "short" else 11.28, abs=0.1)
    if length == "long":
        assert found["segments"][1]["start"] == pytest.approx(7.0, abs=0.5)


def test_python_gives_what_the_command_gives(recordings, transcripts):
    """Of every container, and of one and several windows; layouts are mixed below both."""
    files = {next(recordings.glob(f"{name}.*")): key for key, name in NAMES.items() if "stereo" in key}
    found: dict[str, list[dict]] = {}
    for event in transcribe_many(sorted(files), model="demo"):
        if isinstance(event, RecordingStarted):
            found[event.recording.file] = []
        elif isinstance(event, SegmentDone) and not event.segment.empty:
            found[event.recording.file].append(segment_as_dict(event.segment))
    assert len(found) == len(CONTAINERS) + len(LONG)
    assert found == {str(path): transcripts[key]["segments"] for path, key in files.items()}


def test_the_first_recording_of_a_run_may_have_two_channels_and_several_windows(cli, tmp_path):
    sound = np.concatenate([spoken(), quiet(3), spoken()])
    soundfile.write(tmp_path / "a.wav", np.stack([sound, -sound], axis=1), 16_000)
    done = cli("transcribe", "-m", "demo", "a.wav")
    assert (done.code, done.out) == (0, f"{DIGITS}\n{DIGITS}\n")
    assert "opposite phase" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("factor", "word"), [(10 ** (-47 / 20), "raised"), (32_768.0, "lowered")])
def test_levels_far_off(cli, tmp_path, factor, word):
    soundfile.write(tmp_path / "a.wav", spoken() * factor, 16_000, subtype="FLOAT")
    done = cli("transcribe", "-m", "demo", "a.wav")
    assert (done.code, done.out) == (0, f"{DIGITS}\n")
    assert word in done.err
    assert done.err.count("\n") == 1


def test_tracks(cli, tmp_path):
    both = {"eng": arranged(spoken(RATE), "mono"), "deu": arranged(spoken(RATE)[: 2 * RATE], "mono")}
    encode(tmp_path / "film.mkv", "aac", "matroska", both, "mono")
    second = cli("transcribe", "-q", "-m", "demo", "--track", "de", "film.mkv").out.strip()
    assert second
    assert DIGITS.startswith(second)
    done = cli("transcribe", "-m", "demo", "film.mkv")
    assert (done.code, done.out) == (0, f"{DIGITS}\n")
    assert "--track" in done.err
    done = cli("transcribe", "-m", "demo", "--all-tracks", "film.mkv")
    assert (done.code, done.err) == (0, "")
    assert sorted(done.out.splitlines()) == [f"Track 1 (eng): {DIGITS}", f"Track 2 (deu): {second}"]
    assert cli("ask", "-q", "-m", "demo", "--track", "9", "What?", "film.mkv").code == 1
    for wrong in (("--track", "2"), ("--split-channels",)):
        assert cli("transcribe", "-m", "demo", "--all-tracks", *wrong, "film.mkv").code == 2
    assert cli("transcribe", "-m", "demo", "--all-tracks", "-").code == 2


def test_a_question_about_a_recording_that_is_cut_short(cli, tmp_path):
    data = SAMPLE.read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) * 8 // 10])
    whole = cli("ask", "-m", "demo", "What is the first digit?", SAMPLE)
    done = cli("ask", "-m", "demo", "What is the first digit?", "a.wav")
    assert whole.code == 0
    assert (done.code, done.out) == (1, whole.out)
    assert "cut short" in done.err
    assert done.err.count("\n") == 1


# ---- folders -------------------------------------------------------------------------------------


def test_a_folder_s_recordings_of_any_name(cli, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("memo.qta", "show.mpga", "no-extension"):
        shutil.copy(SAMPLE, tmp_path / "in" / name)
    (tmp_path / "in" / "notes.abc").write_text("no recording, whatever its name is\n" * 100)
    (tmp_path / "in" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(1000))
    done = cli("transcribe", "-q", "-m", "demo", "-r", "in")
    assert (done.code, done.err) == (0, "")
    assert sorted(line.split(": ")[0] for line in done.out.splitlines()) == [
        "in/memo.qta", "in/no-extension", "in/show.mpga",
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX paths")
def test_folders_too_deep_to_read_are_reported_and_those_that_can_be_are_read(cli, tmp_path):
    (tmp_path / "in").mkdir()
    here = os.open(tmp_path / "in", os.O_RDONLY)
    opened = []
    try:
        for _ in range(1_500):  # 6,000 bytes: more than one call takes
            os.mkdir("deep", dir_fd=here)
            opened.append(here)
            here = os.open("deep", os.O_RDONLY, dir_fd=here)
            if len(opened) == 500:
                shutil.copy(SAMPLE, f"/dev/fd/{here}/a.wav")
            if len(opened) > 900:
                os.close(opened.pop(0))
        done = cli("transcribe", "-q", "-m", "demo", "-r", "in")
        assert done.code == 1
        assert done.out.strip().endswith(DIGITS) or done.out.strip() == DIGITS
        assert len(done.err.strip().splitlines()) == 1
        assert "cannot be read" in done.err
    finally:
        for number in [*opened, here]:
            os.close(number)
        subprocess.run(["rm", "-rf", str(tmp_path / "in")], check=False)


def test_a_folder_that_cannot_be_read_fails(cli, tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may read every folder")
    (tmp_path / "in" / "locked").mkdir(parents=True)
    shutil.copy(SAMPLE, tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "locked").chmod(0)
    try:
        done = cli("transcribe", "-q", "-m", "demo", "-r", "in")
        assert (done.code, done.out) == (1, f"{DIGITS}\n")
        assert done.err.count("\n") == 1
        assert "in/locked: cannot be read" in done.err
    finally:
        (tmp_path / "in" / "locked").chmod(0o700)


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html>not found</html>", bytes(9), None])
def test_no_library_talks_on_stderr(cli, tmp_path, data):
    (tmp_path / "talk.mp3").write_bytes(np.random.default_rng(1).bytes(70_000) if data is None else data)
    done = cli("transcribe", "-m", "demo", "talk.mp3")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert done.err.startswith("gemma-audio: error: talk.mp3: ")


# ---- interruptions -------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_control_c_at_any_moment_of_reading_is_one_line_and_130(start, tmp_path):
    """Six times here; GEMMA_AUDIO_INTERRUPTIONS=110 for more."""
    stereo = np.repeat(np.concatenate([spoken(44_100), quiet(1.0, 44_100)])[:, None], 2, axis=1)
    block = (32_767 * stereo).astype("<i2").tobytes()
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        for _ in range(240):  # twenty minutes: no machine transcribes them in a second with one thread
            file.writeframesraw(block)
    chance = random.Random(5)
    first_text, bad = [], []
    for number in range(int(os.environ.get("GEMMA_AUDIO_INTERRUPTIONS", "6"))):
        process = start("transcribe", "-q", "-m", "demo", "--jsonl", "long.wav")
        begun = time.monotonic()
        if number % 2 == 0:  # after the first text has come
            assert process.stdout.readline()
            first_text.append(time.monotonic() - begun)
            time.sleep(chance.uniform(0.0, 1.0))
        else:  # before that
            time.sleep(chance.uniform(0.3, 1.0) * min(first_text))
        process.send_signal(signal.SIGINT)
        after = time.monotonic() - begun
        _, err = process.communicate(timeout=60)
        if (process.returncode, err) != (130, b"gemma-audio: interrupted\n"):
            bad.append((after, process.returncode, err[-300:]))
    (tmp_path / "long.wav").unlink()
    assert bad == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_control_c_ends_the_wait_for_a_pipe_with_its_resampler(start, tmp_path):
    raw = ("--raw", "s16le:44100:2", "-")
    process = start("transcribe", "-q", "-m", "demo", "--jsonl", *raw, stdin=subprocess.PIPE)
    sound = (32_767 * np.repeat(np.tile(spoken(44_100), 4)[:, None], 2, axis=1)).astype("<i2")
    process.stdin.write(sound.tobytes())
    process.stdin.flush()
    assert process.stdout.readline()  # it waits for more: the pipe stays open
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert time.monotonic() - begun < 10
    assert process.stderr.read() == b"gemma-audio: interrupted\n"
    process.stdin.close()
