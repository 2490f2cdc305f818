"""Recordings that grow: what is written is read back, whatever ends them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.capture import recorder as module
from gemma_audio_cli.audio.capture.recorder import Recorder
from gemma_audio_cli.audio.read.source import open_source
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.files import OutputError

ROOT = Path(__file__).resolve().parents[2]


def heard(path: Path) -> np.ndarray:
    with open_source(path) as source:
        return np.concatenate([*source.blocks(), np.empty(0, dtype=np.float32)])


@pytest.mark.parametrize("kind", ["wav", "flac"])
@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), max_size=6), seed=st.integers(0, 99))
def test_lossless_kinds_give_back_every_sample(tmp_path_factory, kind, sizes, seed):
    path = tmp_path_factory.mktemp("r") / f"out.{kind}"
    rng = np.random.default_rng(seed)
    blocks = [rng.uniform(-1.2, 1.2, size).astype(np.float32) for size in sizes]
    with Recorder(path, 16_000) as recorder:
        for block in blocks:
            recorder.write(block)
    whole = np.concatenate([*blocks, np.empty(0, dtype=np.float32)])
    if kind == "flac" and not len(whole):
        assert path.read_bytes() == b"", "libsndfile begins a FLAC with its first sample"
        return
    samples, rate = soundfile.read(path, dtype="int16")
    expected = np.clip(np.rint(whole * 32_768.0), -32_768, 32_767)
    assert rate == 16_000
    assert recorder.seconds == len(whole) / 16_000
    assert np.array_equal(samples, expected)


def test_what_is_no_number_is_written_as_one(tmp_path):
    path = tmp_path / "out.wav"
    with Recorder(path, 16_000) as recorder:
        recorder.write(np.array([np.nan, np.inf, -np.inf, 0.5], dtype=np.float32))
    assert soundfile.read(path, dtype="int16")[0].tolist() == [0, 32_767, -32_768, 16_384]


def test_ogg_lasts_as_long_and_sounds_alike(tmp_path, make_tone):
    path, tone = tmp_path / "OUT.OGG", make_tone(2.0, 48_000)
    with Recorder(path, 48_000) as recorder:
        recorder.write(tone)
    samples, _ = soundfile.read(path)
    assert len(samples) == len(tone)
    assert np.corrcoef(samples, tone)[0, 1] > 0.98


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_file_that_may_grow_no_more_is_left_readable(tmp_path, kind):
    # A limit on file size is met where no reserve can help: nothing at all may be written any more.
    program = (
        "import resource, sys, numpy as np\n"
        "from gemma_audio_cli.audio.capture.recorder import Recorder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "rng = np.random.default_rng(0)\n"
        "recorder = Recorder(sys.argv[1], 48_000)\n"
        "try:\n"
        "    for _ in range(2000):\n"
        "        recorder.write(rng.uniform(-1, 1, 4_800).astype(np.float32))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "    recorder.close()\n"
    )
    path = tmp_path / f"out.{kind}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.startswith(f"OutputError {path}: cannot be written: File too large; the first ")
    kept = float(done.stdout.split("the first ")[1].split(" s")[0])
    assert len(heard(path)) / 16_000 == pytest.approx(kept, abs=1.2 if kind == "ogg" else 0.2)


def test_a_wav_ends_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAV_BYTES", 64_000)
    recorder = Recorder(tmp_path / "out.wav", 16_000)
    recorder.write(np.zeros(32_000, dtype=np.float32))
    with pytest.raises(OutputError, match=r"4 GiB; the first 2.0 s are kept"):
        recorder.write(np.zeros(1, dtype=np.float32))
    recorder.close()
    assert len(heard(tmp_path / "out.wav")) == 32_000


@pytest.mark.parametrize("name", ["out", "out.mp3", "-", "wav"])
def test_other_kinds_are_refused_with_a_list(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.wav, \.flac or \.ogg"):
        Recorder(tmp_path / name, 16_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "rate"), [("a.wav", 7_999), ("a.flac", 192_001), ("a.ogg", 44_100)])
def test_rates_they_cannot_hold_are_refused(tmp_path, name, rate):
    with pytest.raises(UsageError, match=f"{rate} Hz; choose"):
        Recorder(tmp_path / name, rate)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "out.flac"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="--overwrite"):
        Recorder(path, 16_000)
    assert path.read_bytes() == b"precious"
    with Recorder(path, 16_000, overwrite=True) as recorder:
        recorder.write(np.zeros(100, dtype=np.float32))
    assert path.read_bytes()[:4] == b"fLaC"
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(UsageError, match="no file"):
        Recorder(tmp_path / "folder.wav", 16_000, overwrite=True)


def test_nothing_is_left_beside_the_recording(tmp_path):
    with Recorder(tmp_path / "out.wav", 16_000) as recorder:
        recorder.write(np.zeros(100, dtype=np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]
    with pytest.raises(ValueError, match="after its end"):
        recorder.write(np.zeros(1, dtype=np.float32))
