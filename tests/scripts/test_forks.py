"""A command that was started by a fork is the command: what it says, how it ends, what it sees."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.forks import COMMAND, POSSIBLE, Fork

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="every command is started here")


@pytest.fixture
def env(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def sample(tmp_path: Path) -> bytes:
    """The bundled recording, also as sample.wav where the commands run."""
    return Path(shutil.copy(ROOT / "gemma_audio_cli" / "demo" / "sample.wav", tmp_path)).read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["transcribe", "--help"],
        ["bogus"],
        ["transcribe", "-m", "demo", "--vad", "-f", "json", "sample.wav"],
        ["transcribe", "-m", "demo", "--vad", "sample.wav", "no\udcff.wav"],
        ["transcribe", "-m", "demo", "--vad", "-"],
        ["ask", "-m", "demo", "How many digits are spoken?", "sample.wav"],
        ["live", "-q", "-m", "demo", "sample.wav", "-o", "/dev/stdout"],
        ["models", "show", "demo"],
        ["config", "set", "nothing", "x"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_it_says_what_a_started_one_says(program, env, sample, tmp_path, arguments):
    started = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, env=env, input=sample, capture_output=True)
    forked = program.run(arguments, cwd=tmp_path, env=env, stdin=sample)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )
    assert forked.stdout + forked.stderr


def test_what_is_read_when_python_starts_needs_a_start(program, env, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(77)")
    nothing = [os.open(os.devnull, os.O_RDWR) for _ in range(6)]
    forked = program.begin(["--version"], cwd=tmp_path, env=env, streams=tuple(nothing[:3]))
    assert isinstance(forked, Fork)
    assert forked.wait() == 0
    hooked = env | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    started = program.begin(["--version"], cwd=tmp_path, env=hooked, streams=tuple(nothing[3:]))
    assert isinstance(started, subprocess.Popen)
    assert started.wait() == 77


def test_one_that_does_not_end_is_killed_and_the_next_one_runs(program, env, tmp_path):
    ours, theirs = os.pipe()  # stays open: the command waits for sound
    out = os.open(os.devnull, os.O_WRONLY)
    child = program.begin(["transcribe", "-m", "demo", "-"], cwd=tmp_path, env=env, streams=(ours, out, out))
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.kill()
    assert child.wait(60) == -signal.SIGKILL
    os.close(theirs)
    assert program.run(["--version"], cwd=tmp_path, env=env).returncode == 0
