"""One pair of runs: both engines on one case, one after the other, each in a process of its own.

    Case + Build ──► busy neighbours ──► contestant.py ours / llamacpp ──► checked ──► Fought

What is checked: that each process computed with the build it was given, that our products are of the class,
that both engines agree on the logits after the prompt, and how much others used of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import quiet
from cases import Case, Pair
from llama_builds import Build

CONTESTANT = Path(__file__).resolve().parent / "contestant.py"
AGREE = 0.9995
"""Least cosine of the last logits; what quantised products of two engines leave."""
_TRIES = 4
"""For a pair on a quiet machine."""
_SPIN = "while True: pass"


class DuelError(RuntimeError):
    """A run failed, or is of no use; the message is one line, unless a process wrote more."""


@dataclass(frozen=True)
class Fought:
    """A pair of runs."""

    pair: Pair
    others: float
    """Cores that anything else used, beside the louder one; the neighbours that were asked for left out."""
    builds: dict[str, Any]
    """What was at work."""


class Duel:
    """Both engines on one case."""

    def __init__(self, args: argparse.Namespace, files: tuple[Path, Path], case: Case, build: Build) -> None:
        self._args, self._files, self._case, self._build = args, files, case, build

    def fight(self, turn: int) -> Fought:
        """A pair; who begins changes with the turn. Raises DuelError."""
        for _ in range(_TRIES):
            fought = self._once(turn)
            if fought.others <= self._args.quiet:
                return fought
            print(f"others used {fought.others:.2f} cores: once more", file=sys.stderr)
        raise DuelError("the machine is never quiet; stop what runs beside this, or raise --quiet")

    def _once(self, turn: int) -> Fought:
        other = self._args.against
        order = ("ours", other) if turn % 2 == 0 else (other, "ours")
        found: dict[str, dict[str, Any]] = {}
        loud = 0.0
        with tempfile.TemporaryDirectory() as folder:
            logits = {engine: Path(folder) / f"{engine}.npy" for engine in order}
            for engine in order:
                warm(*self._files)
                found[engine], others = self._run(engine, logits[engine])
                loud = max(loud, others)
            cosine = agreement(*(logits[e] for e in order)) if self._case.job == "clip" else None
        if cosine is not None and not cosine >= AGREE:
            raise DuelError(
                f"the engines disagree: the cosine of their logits is {cosine:.6f}, below {AGREE}"
            )
        made = {engine: run.pop("made_by") for engine, run in found.items()}
        self._check(made)
        builds = {"llama.cpp": self._build.what, "products": made["ours"]["products"], "cosine": cosine}
        return Fought((found["ours"], self._whole(found[other])), loud, builds)

    def _run(self, engine: str, logits: Path) -> tuple[dict[str, Any], float]:
        args, case = self._args, self._case
        minutes = args.sample if engine == "llamacpp" else args.minutes
        options = {
            "threads": case.threads, "seconds": args.seconds, "new-tokens": args.new_tokens,
            "slots": args.slots, "minutes": minutes, "logits": logits,
        }  # fmt: skip
        command = [sys.executable, CONTESTANT, engine, case.job, *self._files]
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        environment = {**os.environ, **self._build.environment()}
        environment.pop("GEMMA_AUDIO_CPU_CLASS", None)
        if case.cpu_class != "native":
            environment["GEMMA_AUDIO_CPU_CLASS"] = case.cpu_class
        with neighbours(case.busy):
            done = quiet.run([str(part) for part in command], environment)
        if done.status:
            raise DuelError(f"{engine} failed with status {done.status}:\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found, max(0.0, done.others - case.busy)

    def _whole(self, run: dict[str, Any]) -> dict[str, Any]:
        """Their recording in its whole length."""
        if self._case.job == "clip" or self._args.against != "llamacpp":
            return run
        return {**run, "recording": run["recording"] * self._args.minutes / self._args.sample}

    def _check(self, made: dict[str, dict[str, Any]]) -> None:
        """Raises DuelError where a process did not compute with what it was to."""
        for engine, by in made.items():
            wrong = [path for path in by["ggml"] if Path(path).parent != self._build.folder.resolve()]
            if engine != "server" and (wrong or len(by["ggml"]) != 1):
                raise DuelError(f"{engine} computed with {by['ggml']}, not with {self._build.folder}")
        if "which is no class of processors" in made["ours"]["products"]:
            raise DuelError(f"the engine knows no class {self._case.cpu_class}: {made['ours']['products']}")


def warm(*paths: Path) -> None:
    """Read the files once, so that the run finds them in the page cache."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def agreement(a: Path, b: Path) -> float:
    """Cosine of two files of logits."""
    one, other = (np.load(path).astype(np.float64) for path in (a, b))
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes beside that never rest."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        running += [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
