"""Live pipes: what arrives is heard at once, for ever, in the same memory, and Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.source import open_source

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pipes as Unix has them")


@pytest.mark.parametrize(
    ("suffix", "codec", "form", "options", "seconds"),
    [
        ("wav", "pcm_s16le", None, {}, 0.3),
        ("mp3", "libmp3lame", None, {}, 2.0),
        ("aac", "aac", "adts", {}, 2.0),
        ("ogg", "libopus", None, {}, 2.0),
        ("flac", "flac", None, {}, 2.5),
        ("webm", "libopus", None, {"live": "1"}, 1.0),
        ("mp4", "aac", None, {"movflags": "empty_moov+default_base_moof", "frag_duration": "300000"}, 1.0),
    ],
)
def test_what_has_arrived_is_heard_while_the_pipe_stays_open(
    tmp_path, monkeypatch, make_file, make_chirp, suffix, codec, form, options, seconds
):
    path = make_file(
        tmp_path / f"live.{suffix}", codec, make_chirp(10.0, 48_000), 48_000, form=form, options=options
    )
    data = path.read_bytes()
    out, into = os.pipe()
    half = len(data) // 2
    goes_on = threading.Event()

    def write() -> None:
        with os.fdopen(into, "wb", buffering=0) as pipe:
            for at in range(0, half, 500):
                pipe.write(data[at : min(half, at + 500)])
            goes_on.wait(20)  # the speaker is silent; what was said must be here by now
            pipe.write(data[half:])

    writer = threading.Thread(target=write)
    with os.fdopen(out, "rb") as standard_input:
        monkeypatch.setattr(
            sys, "stdin", type("Stdin", (), {"buffer": standard_input, "isatty": lambda _: False})()
        )
        writer.start()
        heard, late = 0, 0
        with open_source("-") as source:
            for block in source.blocks():
                late += len(block) if goes_on.is_set() else 0
                heard += len(block)
                if heard >= (5.0 - seconds) * 16_000:
                    goes_on.set()
        goes_on.set()
        writer.join()
    assert heard / 16_000 == pytest.approx(10.0, abs=0.1)
    # Had it waited for more, the writer would have gone on by its own patience, and all been late.
    assert late > 4 * 16_000


CHILD = """
import resource
from gemma_audio_cli.audio.read.source import open_source
heard = limit = 0
with open_source("-") as source:
    for block in source.blocks():
        heard += len(block)
        if heard > 80_000 and not limit:
            now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            limit = now + (8 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(heard)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's memory limits")
@pytest.mark.parametrize(("suffix", "times"), [("wav", 60), ("mp3", 20)])
def test_an_endless_stream_takes_no_more_memory(tmp_path, make_chirp, suffix, times):
    path = tmp_path / f"piece.{suffix}"
    soundfile.write(path, make_chirp(10.0), 16_000)
    piece = path.read_bytes()
    if suffix == "wav":  # as FFmpeg begins one on a pipe, and then samples for ever
        header, piece = piece[:40] + b"\xff\xff\xff\xff", piece[44:]
    else:
        header = b""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdin is not None
    child.stdin.write(header)
    for _ in range(times):
        child.stdin.write(piece)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert int(output) / 16_000 == pytest.approx(10.0 * times, rel=0.02)


@pytest.mark.parametrize("kind", ["wav", "mp3"])
def test_ctrl_c_ends_the_wait_for_a_pipe(tmp_path, make_file, make_chirp, kind):
    codec = {"wav": "pcm_s16le", "mp3": "libmp3lame"}[kind]
    data = make_file(tmp_path / f"piece.{kind}", codec, make_chirp(4.0), 16_000).read_bytes()
    code = (
        "from gemma_audio_cli.audio.read.source import open_source\n"
        "for block in open_source('-').blocks(): print(len(block), flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(data[: len(data) * 3 // 4])
    child.stdin.flush()
    assert child.stdout.readline()
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = child.communicate(
        timeout=20
    )  # closes its stdin too, but only the signal ends in KeyboardInterrupt
    assert b"KeyboardInterrupt" in errors
    assert b"ignored" not in errors
    assert time.monotonic() - began < 10


def test_a_pipe_with_a_path(tmp_path, make_chirp, make_file, alike):
    path = make_file(tmp_path / "speech.mka", "flac", make_chirp(2.0), 16_000)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()))
    writer.start()
    with open_source(fifo) as source:
        got = np.concatenate(list(source.blocks()))
    writer.join()
    assert alike(got, make_chirp(2.0)) == (pytest.approx(1, abs=1e-3), 0)


def test_a_file_as_standard_input_may_be_wound_back(tmp_path, monkeypatch, make_chirp, make_file):
    path = make_file(tmp_path / "memo.m4a", "aac", make_chirp(2.0, 44_100), 44_100)
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": file, "isatty": lambda _: False})())
        notices: list[str] = []
        with open_source("-", notice=notices.append) as source:
            assert sum(map(len, source.blocks())) > 31_000
        assert not file.closed
    assert not notices
