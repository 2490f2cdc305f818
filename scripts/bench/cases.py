"""What is measured, and what was: cases, and a file that keeps each pair of runs as soon as it is done.

    classes × types × threads × neighbours ──► Case ──► runs of both ──► Results (JSON) ──► tables

A benchmark that ends before its time, or is told to make a few runs only, goes on where it was. Figures of
another machine, engine or clip are not mixed: the file says what it is of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from figures import Run

Pair = tuple[Run, Run]
"""Ours, theirs."""


class ResultsError(RuntimeError):
    """The file of results cannot be used; the message is one line."""


@dataclass(frozen=True)
class Case:
    """One thing to measure with both engines."""

    cpu_class: str
    """One of cpu_classes.NAMES, or "native"."""
    text_type: str
    job: str
    """clip or recording."""
    threads: int
    busy: int = 0
    """Neighbours that keep a processor busy each."""

    @property
    def key(self) -> str:
        return "/".join(map(str, asdict(self).values()))


def cases(
    classes: Sequence[str],
    text_types: Sequence[str],
    jobs: Sequence[str],
    threads: Sequence[int],
    busy: Sequence[int],
) -> list[Case]:
    """All of them, in the order in which they are measured."""
    return [Case(*one) for one in product(classes, text_types, jobs, threads, busy)]


@dataclass
class Results:
    """Pairs of runs by case."""

    path: Path | None
    about: dict[str, Any]
    """What all figures have in common."""
    found: dict[str, dict[str, Any]]
    """By a case's key: its fields, the builds, and the runs."""

    @classmethod
    def open(cls, path: Path | None, about: dict[str, Any]) -> Results:
        """Those in the file, or none yet. Raises ResultsError where they are of something else."""
        if path is None or not path.exists():
            return cls(path, about, {})
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            known, found = dict(data["about"]), dict(data["cases"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ResultsError(f"{path} holds no results ({error}); name another file") from None
        other = [name for name in about if known.get(name) != about[name]]
        if other:
            raise ResultsError(f"{path} was measured with another {', '.join(other)}; name another file")
        return cls(path, about, found)

    def pairs(self, case: Case) -> list[Pair]:
        """Ours and theirs, in the order in which they were measured."""
        return [(one["ours"], one["theirs"]) for one in self._entry(case)["runs"]]

    def add(self, case: Case, pair: Pair, others: float, builds: dict[str, Any]) -> None:
        """Keep a pair. others: cores that anything else used beside it."""
        entry = self.found.setdefault(case.key, self._entry(case))
        entry["builds"] = builds
        entry["runs"].append({"ours": pair[0], "theirs": pair[1], "others": round(others, 3)})
        self.save()

    def others(self, case: Case) -> list[float]:
        return [one["others"] for one in self._entry(case)["runs"]]

    def measured(self) -> Iterator[tuple[Case, list[Pair]]]:
        """All cases that have runs, in the order in which they came."""
        for entry in self.found.values():
            case = Case(**entry["case"])
            yield case, self.pairs(case)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(json.dumps({"about": self.about, "cases": self.found}, indent=1) + "\n")
        os.replace(fresh, self.path)

    def _entry(self, case: Case) -> dict[str, Any]:
        return self.found.get(case.key, {"case": asdict(case), "builds": {}, "runs": []})
