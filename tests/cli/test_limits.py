"""Too little memory, too few threads, too many: one line and code 3, no debugger, nothing on stdout."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip("resource")

LIBC = ctypes.CDLL(None)
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")


def limited(environment, tmp_path, arguments, kind: int, limit: int, *, user: int | None = None):
    """Runs gemma-audio under a limit; perhaps counted as another user's, for root has no limit of
    processes.
    """
    command = [sys.executable, "-m", "gemma_audio_cli", *map(str, arguments)]

    def leave() -> None:
        resource.setrlimit(kind, (limit, limit))
        if user is not None:
            drop, resources, admin = 24, 24, 21  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE, CAP_SYS_ADMIN
            for capability in (resources, admin):
                LIBC.prctl(drop, capability, 0, 0, 0)
            os.setresuid(user, 0, 0)  # its files are still read as root's: Python may lie in root's home

    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, preexec_fn=leave,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "GEMMA_AUDIO_THREADS": "4", "HOME": str(tmp_path)},
    )  # fmt: skip


def one_line(done) -> None:
    assert (done.returncode, done.stdout) == (3, ""), (done.returncode, done.stdout, done.stderr)
    (line,) = done.stderr.splitlines()
    assert line.startswith("gemma-audio: error: ")


@pytest.mark.parametrize("threads", ["513", "100000", "2147483647", "99999999999", "9" * 40])
def test_more_threads_than_the_engine_runs(cli, tiny_model, recording, threads):
    done = cli("transcribe", "-q", "-t", threads, "-m", tiny_model.text, recording)
    assert (done.code, done.out, len(done.err.splitlines())) == (3, "", 1), done.err
    assert "512" in done.err


def test_the_most_threads_work(cli, tiny_model, recording):
    # A short answer: each of its steps makes all threads wait for each other many times.
    asked = ("ask", "-q", "--max-tokens", "12", "-m", tiny_model.text, "Well?", recording)
    one = cli(*asked, "-t", "1")
    many = cli(*asked, "-t", "64")
    assert (many.code, many.out) == (one.code, one.out), many.err
    assert (one.code, bool(one.out.strip())) == (0, True), one.err


def test_less_and_less_memory(environment, recording, tmp_path):
    """From a limit where nothing can start to one where all is well: it works or ends with one line."""
    seen = set()
    for megabytes in (40, 90, 140, 170, 200, 230, 260, 290, 350, 500, 4000):
        arguments = ("transcribe", "-q", "-m", "demo", recording)
        done = limited(environment, tmp_path, arguments, resource.RLIMIT_AS, megabytes << 20)
        seen.add(done.returncode)
        if done.returncode == 0:
            assert done.stdout.strip()
            assert done.stderr == ""
        else:
            one_line(done)
    assert seen == {0, 3}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become another user"
)
def test_fewer_and_fewer_processes(environment, recording, tmp_path):
    seen = set()
    user = 61_000 + os.getpid() % 1_000  # the limit counts all processes of a user: not those of another run
    for processes in (1, 2, 3, 4, 50):
        arguments = ("transcribe", "-q", "-m", "demo", recording)
        done = limited(environment, tmp_path, arguments, resource.RLIMIT_NPROC, processes, user=user)
        seen.add(done.returncode)
        if done.returncode == 0:
            assert done.stdout.strip()
            assert done.stderr == ""
        else:
            one_line(done)
    assert seen == {0, 3}


def test_the_last_net(environment, tmp_path):
    """What ggml ends the process with: one line, code 3, no debugger, though one is there."""
    debugger = tmp_path / "bin" / "gdb"
    debugger.parent.mkdir()
    debugger.write_text('#!/bin/sh\necho the debugger was started\ntouch "$(dirname "$0")/started"\n')
    debugger.chmod(0o755)
    program = (
        "import ctypes, sys, pathlib\n"
        "from gemma_audio_cli.engine._binding import native\n"
        "n = native(); n.lib.ga_device_count()\n"
        "import gemma_audio_cli.engine._binding as b\n"
        "ggml = next(line.split()[-1] for line in open('/proc/self/maps') if 'libggml-base' in line)\n"
        "lib = ctypes.CDLL(ggml)\n"
        "lib.ggml_abort(b'/a/folder/of/a/build/ggml.c', 12, b'GGML_ASSERT(%s) failed', b'x\\ny')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env={k: v for k, v in environment.items() if k != "GGML_NO_BACKTRACE"}
        | {"PATH": f"{debugger.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    one_line(done)
    assert "ggml.c:12: GGML_ASSERT(x y) failed" in done.stderr
    assert "/a/folder" not in done.stderr
    assert not (debugger.parent / "started").exists()
