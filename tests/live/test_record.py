"""`gemma-audio record` with a sound server, real signals, real kills and real full disks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.source import open_source

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
"""Six digits, 4.1 s."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="PulseAudio and POSIX signals")


def heard(path: Path) -> np.ndarray:
    """All of a recording as the transcriber hears it; complaints of it are failures."""
    complaints: list[str] = []
    with open_source(path, notice=complaints.append) as source:
        samples = np.concatenate([*source.blocks(), np.empty(0, dtype=np.float32)])
    assert not complaints
    return samples


def likeness(recorded: np.ndarray, played: np.ndarray) -> tuple[float, float, int]:
    """Correlation where it is best, level there as a ratio, and where that is (samples)."""
    size = 1 << (len(recorded) + len(played)).bit_length()
    spectrum = np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(played, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: max(1, len(recorded) - len(played) + 1)]))
    part = recorded[at : at + len(played)]
    played = played[: len(part)]
    level = float(np.linalg.norm(part) / np.linalg.norm(played))
    return float(part @ played / np.linalg.norm(part) / np.linalg.norm(played)), level, at


def assert_has(recorded: np.ndarray, played: np.ndarray, least: float = 0.97) -> int:
    """What was played is in it, as it was and as loud; where."""
    correlation, level, at = likeness(recorded, played)
    assert correlation > least
    assert level == pytest.approx(1.0, abs=0.05)
    return at


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Path:
    """The first digits of the sample, 1.7 s."""
    samples, rate = soundfile.read(SAMPLE)
    path = tmp_path_factory.mktemp("spoken") / "spoken.wav"
    soundfile.write(path, samples[: round(1.7 * rate)], rate)
    return path


def test_lists_the_devices(virtual_microphone, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "gemma_audio_cli", "record", "--list-devices"],
        env=virtual_microphone.env, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(re.fullmatch(r"[* ] +\d+  \S.* +\d+ channels?  \d+ Hz", line) for line in lines)
    assert [line for line in lines if line.startswith("*")] == [line for line in lines if " default " in line]


def test_every_kind_of_file_has_what_was_played(listen, virtual_microphone, spoken, tmp_path):
    endings = {"a.wav": signal.SIGINT, "b.flac": signal.SIGTERM, "c.ogg": signal.SIGHUP, "d.wav": 2}
    rates = {"d.wav": 48_000}
    children = {name: listen("record", name, "--rate", rates.get(name, 16_000)) for name in endings}
    for child in children.values():
        child.wait_for("recording default to")
    virtual_microphone.play(spoken)
    for name, number in endings.items():
        assert children[name].end(number) == 0, children[name].said
    played = heard(spoken)
    for name, child in children.items():
        recorded = heard(tmp_path / name)
        assert_has(recorded, played, 0.9 if name == "c.ogg" else 0.97)
        assert child.said.splitlines()[-1] == f"gemma-audio: {name}: {len(recorded) / 16_000:.1f} s"
    assert soundfile.info(tmp_path / "d.wav").samplerate == 48_000


def test_ends_after_so_many_seconds_and_is_quiet_when_asked(listen, tmp_path):
    child = listen("record", "-q", "--seconds", "0.7", "-d", "DEFAULT", "out.flac")
    assert child.end() == 0
    assert child.said == ""
    assert len(heard(tmp_path / "out.flac")) == 11_200


def test_ends_in_silence_once_someone_has_spoken(listen, virtual_microphone, spoken, tmp_path):
    child = listen("record", "--silence", "0.8", "out.wav")
    child.wait_for("recording")
    time.sleep(1.2)
    assert child.process.poll() is None, "nobody has spoken yet"
    virtual_microphone.play(spoken)
    assert child.end() == 0
    recorded, played = heard(tmp_path / "out.wav"), heard(spoken)
    at = assert_has(recorded, played)
    assert 0.3 < (len(recorded) - at) / 16_000 - len(played) / 16_000 + 0.5 < 2.0


@pytest.mark.parametrize("name", ["out.wav", "out.flac", "out.ogg"])
def test_a_killed_recording_can_be_heard(listen, virtual_microphone, spoken, tmp_path, name):
    child = listen("record", name)
    child.wait_for("recording")
    virtual_microphone.play(spoken)
    time.sleep(0.5)
    child.process.kill()
    child.process.communicate()
    recorded, played = heard(tmp_path / name), heard(spoken)
    # OGG's last page, about a second, is what the encoder held.
    whole = len(played) - (16_000 if name == "out.ogg" else 0)
    assert_has(recorded, played[:whole], 0.9 if name == "out.ogg" else 0.97)


@pytest.mark.parametrize(("kind", "size"), [("wav", 336), ("flac", 336), ("ogg", 268)])
def test_a_full_disk_keeps_what_fits(listen, virtual_microphone, tmp_path, kind, size):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        # Somewhat more than what the recorder reserves for itself. Noise, which no encoder makes small.
        noise = 0.3 * np.random.default_rng(0).standard_normal((2 * 48_000, 2))
        soundfile.write(tmp_path / "noise.wav", noise, 48_000)
        child = listen("record", f"disk/out.{kind}", "--rate", "48000")
        child.wait_for("recording")
        while child.process.poll() is None:
            virtual_microphone.play(tmp_path / "noise.wav")
        assert child.end() == 1
        last = child.said.splitlines()[-1]
        assert last.startswith(f"gemma-audio: error: disk/out.{kind}: cannot be written: No space left")
        kept = float(re.search(r"the first ([\d.]+) s are kept", last)[1])
        assert len(heard(disk / f"out.{kind}")) / 16_000 == pytest.approx(kept, abs=0.11)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("how", ["the server dies", "the device is unplugged"])
def test_goes_on_after_trouble(listen, virtual_microphone, spoken, tmp_path, how):
    child = listen("record", "out.wav")
    child.wait_for("recording default")
    virtual_microphone.play(spoken)
    time.sleep(0.3)
    gone = time.monotonic()
    if how == "the server dies":
        virtual_microphone.stop()
    else:
        virtual_microphone.unplug()
    child.wait_for("default: no sound any more")
    time.sleep(0.5)
    if how == "the server dies":
        virtual_microphone.start()
    else:
        virtual_microphone.plug_in()
    child.wait_for("default: sound again")
    gone = time.monotonic() - gone
    virtual_microphone.play(spoken)
    assert child.end(signal.SIGINT) == 0
    assert len(child.said.splitlines()) == 4, "begun, gone, back, done; nothing of ALSA's and PortAudio's"
    missing = int(re.search(r"sound again; (\d+) s are missing", child.said)[1])
    assert 0 <= missing <= gone + 1
    recorded, played = heard(tmp_path / "out.wav"), heard(spoken)
    first = assert_has(recorded[: len(recorded) // 2 + 8000], played)
    second = assert_has(recorded[first + len(played) :], played) + first + len(played)
    assert (recorded[first + len(played) : second] == 0).sum() >= 16_000, "a second of silence in between"


def test_ctrl_c_while_the_microphone_is_gone_ends_at_once(listen, virtual_microphone, tmp_path):
    child = listen("record", "out.flac")
    child.wait_for("recording")
    virtual_microphone.stop()
    child.wait_for("no sound any more")
    time.sleep(0.5)
    begun = time.monotonic()
    assert child.end(signal.SIGINT) == 0
    assert time.monotonic() - begun < 10.0
    assert child.said.splitlines()[-1].startswith("gemma-audio: out.flac: ")


def test_what_was_missed_while_stopped_is_reported(listen, tmp_path):
    child = listen("record", "out.wav")
    child.wait_for("recording")
    begun = time.monotonic()
    child.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    child.process.send_signal(signal.SIGCONT)
    stopped = time.monotonic() - begun
    child.wait_for("of sound are lost")
    lost = float(re.search(r"about ([\d.]+) s of sound are lost", child.said)[1])
    assert stopped - 1.0 < lost < stopped + 1.0
    assert child.end(signal.SIGINT) == 0


def test_a_machine_that_slept_is_noticed(virtual_microphone, tmp_path):
    # No test can make this machine sleep: the clock that counts sleep is moved against the one that does not.
    program = (
        "from gemma_audio_cli.audio.capture.capture import Capture\n"
        "from gemma_audio_cli.audio.capture.devices import choose_device\n"
        "capture = Capture(choose_device(None))\n"
        "print(capture.trouble())\n"
        "capture.started -= 100\n"
        "print(capture.trouble())\n"
        "capture.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=virtual_microphone.env, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["None", "this machine slept"], done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["out.mp3"], 2, ".wav, .flac or .ogg"),
        (["there.wav"], 2, "--overwrite"),
        (["out.wav", "--microphone", "nosuch"], 2, "there are: "),
        (["out.wav", "--microphone", "u"], 2, "give the number"),
        (["out.wav", "--rate", "1"], 2, "from 8000"),
        (["out.wav", "--seconds", "-1"], 2, "--seconds"),
        (["nowhere/out.wav"], 1, "No such file or directory"),
        ([], 2, "name the file"),
    ],
)
def test_mistakes_are_one_line(listen, tmp_path, arguments, code, words):
    (tmp_path / "there.wav").write_bytes(b"precious")
    child = listen("record", *arguments)
    assert child.end() == code
    assert child.said.count("\n") == 1
    assert words in child.said
    assert (tmp_path / "there.wav").read_bytes() == b"precious"
    assert not (tmp_path / "out.wav").exists()


def test_overwrite_replaces(listen, tmp_path):
    (tmp_path / "out.wav").write_bytes(b"old")
    assert listen("record", "out.wav", "--overwrite", "--seconds", "0.2").end() == 0
    assert len(heard(tmp_path / "out.wav")) == 3_200


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PULSE_SERVER": "unix:/nowhere"}, "no microphone found"),
        ({"ALSA_CONFIG_PATH": "/dev/null"}, "ALSA's configuration"),
    ],
)
@pytest.mark.parametrize("arguments", [["out.wav"], ["--list-devices"]])
def test_no_microphone_is_exit_3(listen, tmp_path, env, words, arguments):
    child = listen("record", *arguments, env=env)
    assert child.end() == 3
    assert child.said.count("\n") == 1
    assert words in child.said
    assert not (tmp_path / "out.wav").exists()


def test_no_portaudio_is_exit_3(listen, tmp_path):
    # sounddevice finds the library by ctypes; where that finds nothing, there is none.
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes.util\nctypes.util.find_library = lambda name: None\n"
    )
    child = listen("record", "out.wav", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert child.end() == 3
    assert child.said.count("\n") == 1
    assert "libportaudio2" in child.said or sys.platform != "linux"


def test_a_terminal_sees_the_level_and_only_that(virtual_microphone, tmp_path):
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "gemma_audio_cli", "record", "out.wav", "--seconds", "1"],
        env=virtual_microphone.env | {"TERM": "xterm", "COLUMNS": "40"},
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, b"")
    frames = re.findall(r"0:00:0\d [^\r\n\x1b]*", seen.decode())
    assert frames
    assert all(len(frame) < 40 and frame.rstrip().endswith("dB") for frame in frames)
    assert "out.wav: 1.0 s" in seen.decode()
