"""Steps within a time limit: each a process of its own, all of them written down as they end.

    steps ──► may it start? ──► process group ──► its last line of JSON, or how it ended ──► report.json

A step that fails, hangs or takes the driver down costs its own time and nothing else. What needs a step that
failed is left out, and said to be. Steps that say so run beside the others before them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

Report = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing to do."""

    name: str
    limit_s: float
    """It is ended after so long."""
    command: Sequence[str]
    needs: tuple[str, ...] = ()
    """Steps without which this one says nothing."""
    beside: bool = False
    """It runs beside the steps that follow, until one of them needs it."""
    environment: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs steps until the time is over."""

    def __init__(self, folder: Path, limit_s: float, tell: Callable[[str], None]) -> None:
        """`folder`: for report.json and each step's output. `tell` hears what begins and ends."""
        self._folder, self._tell, self._clock = folder, tell, time.monotonic
        self._end = self._clock() + limit_s
        self._running: list[tuple[Step, subprocess.Popen[bytes], IO[bytes], float]] = []
        self.report: Report = {"steps": {}}
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, steps: Sequence[Step]) -> Report:
        """All steps, in order; the report."""
        try:
            for step in steps:
                self._wait_for(step.needs)
                self._one(step)
            self._wait_for(tuple(step.name for step, *_ in self._running))
        finally:
            for step, process, out, _ in self._running:
                _end(process)
                out.close()
                self._note(step, {"ok": False, "error": "not finished"})
            self._running.clear()
        return self.report

    def note(self, name: str, values: object) -> None:
        """Something for the report that no step found."""
        self.report[name] = values
        self._write()

    def _one(self, step: Step) -> None:
        lost = [name for name in step.needs if not self.report["steps"].get(name, {}).get("ok")]
        left = self._end - self._clock()
        if lost:
            self._note(step, {"ok": False, "error": f"left out: it needs {', '.join(lost)}"})
        elif left < 1:
            self._note(step, {"ok": False, "error": "left out: no time is left"})
        else:
            out = open(self._folder / f"{step.name}.txt", "w+b")  # noqa: SIM115 - closed when it has ended
            self._tell(f"{step.name}: at most {min(step.limit_s, left):.0f} s")
            process = subprocess.Popen(
                list(step.command), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **step.environment}, start_new_session=True,
            )  # fmt: skip
            self._running.append((step, process, out, self._clock()))
            if not step.beside:
                self._wait_for((step.name,))

    def _wait_for(self, names: Sequence[str]) -> None:
        for entry in [entry for entry in self._running if entry[0].name in names]:
            step, process, out, begin = entry
            deadline = min(begin + step.limit_s, self._end)
            error = ""
            try:
                process.wait(max(0.0, deadline - self._clock()))
            except subprocess.TimeoutExpired:
                error = f"ended after {self._clock() - begin:.0f} s"
            _end(process)  # also what it left behind
            self._running.remove(entry)
            out.seek(0)
            lines = out.read().decode("utf-8", "replace").splitlines()
            out.close()
            found = {"seconds": round(self._clock() - begin, 1)}
            if error or process.returncode:
                error = error or f"status {process.returncode}"
                self._note(step, {"ok": False, "error": error, **found, "said": lines[-6:]})
            else:
                self._note(step, {"ok": True, **found, "found": last_json(lines)})

    def _note(self, step: Step, values: Report) -> None:
        self.report["steps"][step.name] = values
        self._tell(f"{step.name}: {'done' if values['ok'] else values['error']}")
        self._write()

    def _write(self) -> None:
        fresh = self._folder / ".report.json"
        fresh.write_text(json.dumps(self.report, indent=1) + "\n")
        os.replace(fresh, self._folder / "report.json")


def last_json(lines: Sequence[str]) -> Any:
    """The object on the last line that holds one; None: there is none."""
    for line in reversed(lines):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                return json.loads(line)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
