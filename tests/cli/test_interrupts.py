"""Ctrl-C at any moment is one line and 130; a reader that goes away is the quiet end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stress import interrupts

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="no SIGINT to one process there"),
    pytest.mark.usefixtures("not_covered"),
]

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "gemma_audio_cli"]
NAMES = ["transcribe", "ask", "models", "live"]


def check(names: list[str], runs: int, seed: int) -> None:
    done = 0
    while done < runs:
        for outcome in interrupts.outcomes(PROGRAM, names, runs - done, seed):
            if not outcome.before_python:
                assert outcome.good, outcome
                done += 1
        seed += 1


def test_control_c_at_random_moments():
    check(NAMES, 8, seed=3)


@pytest.mark.stress
def test_a_hundred_and_ten_control_c_at_random_moments():
    check(list(interrupts.commands(Path())), 110, seed=11)


def run(code: str, environment: dict[str, str]) -> tuple[int, str, str]:
    """Python code in a process where Ctrl-C is handled as in the program, for the work of a command."""
    before = (
        "import os, signal, sys, time\nfrom gemma_audio_cli import interrupts\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\ninterrupts.install()\n"
        "def ctrl_c(): os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", before + code],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


LINE = f"{interrupts.LINE}\n"
WORK = """
try:
    with interrupts.Working():
        {what}
        time.sleep(30)
except KeyboardInterrupt:
    print("caught")
    interrupts.end()
"""


def test_outside_of_work_it_ends_at_once(environment):
    assert run("ctrl_c()\ntime.sleep(30)", environment) == (130, "", LINE)


def test_in_work_it_can_be_put_in_order(environment):
    assert run(WORK.format(what="ctrl_c()"), environment)[0] == 130
    code, _, err = run(WORK.format(what="ctrl_c()").replace('print("caught")', "pass"), environment)
    assert (code, err) == (130, LINE)


def test_in_a_finaliser_it_is_not_lost(environment):
    """What is raised in `__del__` is printed and forgotten."""
    what = "exec('class A:\\n def __del__(self): ctrl_c(); time.sleep(0.01)'); A()"
    code, _, err = run(WORK.format(what=what), environment)
    assert (code, err) == (130, LINE)


def test_in_an_import_it_waits_for_its_end(environment, tmp_path):
    """Modules written in C answer an interruption with errors of their own."""
    (tmp_path / "swallows.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    sum(range(10 ** 5))\n"
        "except KeyboardInterrupt:\n    raise ImportError('failed to import') from None\n"
    )
    what = f"sys.path.insert(0, {str(tmp_path)!r}); import swallows"
    code, _, err = run(WORK.format(what=what), environment)
    assert (code, err) == (130, LINE)


def test_in_a_function_that_c_code_calls_it_waits_for_its_end(environment):
    """What is raised there would be printed by the library, and forgotten."""
    what = (
        "exec('@interrupts.called_from_c\\n"
        "def read(): signal.raise_signal(signal.SIGINT); print(1)', globals());"
        "sorted([1], key=lambda _: read())"
    )
    code, out, err = run(WORK.format(what=what), environment)
    assert (code, out, err) == (130, "1\ncaught\n", LINE)


def test_two_are_one_line(start, tmp_path):
    sound = interrupts.make_sound(tmp_path)
    child = start("transcribe", "-q", "-m", "demo", sound)
    time.sleep(1.0)
    for _ in range(3):
        child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode in (0, 130)
    assert err.decode() in (LINE, "") if child.returncode == 0 else err.decode() == LINE


def test_ignored_stays_ignored(start, tmp_path):
    """nohup and background jobs of a shell."""
    sound = interrupts.make_sound(tmp_path)
    child = start("transcribe", "-q", "-m", "demo", sound, preexec_fn=lambda: signal.signal(signal.SIGINT, 1))
    time.sleep(0.7)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")
    assert out


@pytest.mark.parametrize(
    "command", [("transcribe", "-q"), ("ask", "-q", "How many digits?"), ("models", "list")]
)
def test_a_reader_that_goes_away_is_a_quiet_end(start, tmp_path, command):
    sound = [] if command[0] == "models" else [interrupts.make_sound(tmp_path)]
    reader, writer = os.pipe()
    os.close(reader)
    child = start(*command, *sound, stdout=writer)
    os.close(writer)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (-signal.SIGPIPE, b"")
