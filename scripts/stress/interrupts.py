#!/usr/bin/env python3
"""Ctrl-C at random moments of a command's whole life: each must end it with 130 and one line.

    python scripts/stress/interrupts.py [--runs 110] [--seed 1] [--program .venv/bin/gemma-audio]

    start ──► signal after a random time in [0, how long the command takes] ──► exit code, what it said

The commands take turns. A signal may come before the interpreter has read the first line of the package, when
Python itself is being set up: nothing of this program runs then, so such a run is counted apart and done
again. `live` may end with 0: the first Ctrl-C ends its sound.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = "gemma-audio: interrupted"


_GOING = 0.05
"""Seconds."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    command: str
    after: float
    """Seconds from its start to the signal."""
    code: int
    err: str
    late: bool
    """It had ended before the signal, or was being taken down."""

    @property
    def before_python(self) -> bool:
        """Nothing of this package had run yet: Python was being set up, or still looked for the package."""
        if "Fatal Python error: init_" in self.err or (self.code == -signal.SIGINT and not self.err):
            return True
        read = set(re.findall(r"gemma_audio_cli/(\w+)\.py", self.err))
        return "KeyboardInterrupt" in self.err and read <= {"__init__"}

    @property
    def good(self) -> bool:
        """130 and one line; of `live` also 0 and none; of a run that was over, how it ended anyway."""
        lines = self.err.splitlines()
        if self.late or (self.command == "live" and self.code == 0):
            return self.code == 0 and not lines
        return self.code == 130 and lines == [LINE]


def commands(sound: Path) -> dict[str, list[str]]:
    """What is interrupted: quiet, so that all that is said is said of the interruption."""
    demo = ("-m", "demo")
    return {
        "transcribe": ["transcribe", "-q", *demo, str(sound)],
        "transcribe --jsonl": ["transcribe", "-q", *demo, "--jsonl", str(sound)],
        "ask": ["ask", "-q", *demo, "How many digits are spoken?", str(sound)],
        "ask --whole": ["ask", "-q", *demo, "--whole", "How many digits are spoken?", str(sound)],
        "models": ["models", "list"],
        "models verify": ["models", "verify", "-q", "demo"],
        "doctor": ["doctor"],
        "live": ["live", "-q", *demo, str(sound)],
        "help": ["--help"],
    }


def make_sound(folder: Path, rate: int = 44_100) -> Path:
    """Two windows of speech at a rate that has to be converted."""
    import numpy as np
    import soundfile
    import soxr

    samples, own = soundfile.read(ROOT / "gemma_audio_cli" / "demo" / "sample.wav", dtype="float32")
    pause = np.zeros(3 * own, np.float32)
    speech = np.concatenate([samples, pause] * 3)
    soundfile.write(folder / "speech.flac", np.stack([soxr.resample(speech, own, rate)] * 2, axis=1), rate)
    return folder / "speech.flac"


def once(program: Sequence[str], name: str, arguments: list[str], after: float, folder: Path) -> Outcome:
    """One run, interrupted after so many seconds."""
    with tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            preexec_fn=_restored,
        )
        try:
            child.wait(after)
            late = True
        except subprocess.TimeoutExpired:
            late = False
            child.send_signal(signal.SIGINT)
        sent = time.monotonic()
        try:
            code = child.wait(60)
            # The system takes a process down in some milliseconds, in which a signal means nothing any more.
            late = late or (code == 0 and time.monotonic() - sent < _GOING)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        err.seek(0)
        return Outcome(name, after, code, err.read(), late)


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "GEMMA_AUDIO_CONFIG_DIR": str(folder / "none"),
        "GEMMA_AUDIO_CACHE_DIR": str(folder / "cache"),
        "GEMMA_AUDIO_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def _restored() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def outcomes(program: Sequence[str], names: Sequence[str], runs: int, seed: int) -> Iterator[Outcome]:
    """So many runs, the commands in turn."""
    source = random.Random(seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        lines = commands(make_sound(folder))
        takes = {}
        for name in names:
            begun = time.monotonic()
            subprocess.run(
                [*program, *lines[name]],
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            takes[name] = time.monotonic() - begun
        for number in range(runs):
            name = names[number % len(names)]
            yield once(program, name, lines[name], source.uniform(0.0, takes[name]), folder)


def main() -> int:
    """Runs them and says how they ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=110, help="interruptions that count")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", help="default: this interpreter with -m gemma_audio_cli")
    options = parser.parse_args()
    program = [options.program] if options.program else [sys.executable, "-m", "gemma_audio_cli"]
    counts: Counter[str] = Counter()
    bad: list[Outcome] = []
    names, done, seed = list(commands(Path())), 0, options.seed
    while done < options.runs:
        for outcome in outcomes(program, names, options.runs - done, seed):
            if outcome.before_python:
                counts["before the package's first line (done again)"] += 1
                continue
            done += 1
            kind = "over before the signal" if outcome.late else f"exit {outcome.code}"
            counts[f"{outcome.command}: {kind}"] += 1
            if not outcome.good:
                bad.append(outcome)
        seed += 1
    for what, count in sorted(counts.items()):
        print(f"{count:5}  {what}")
    for outcome in bad:
        print(
            f"BAD: {outcome.command} after {outcome.after:.3f} s: {outcome.code}\n{outcome.err}",
            file=sys.stderr,
        )
    print(f"{done} interruptions, {len(bad)} not as they should be")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
