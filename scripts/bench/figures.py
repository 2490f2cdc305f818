"""Medians, ranges and ratios of interleaved runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Run = dict[str, float]
"""What one process measured: stage -> seconds, or bytes for `peak_rss`."""


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the smallest and largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One stage: both engines, and how often ours goes into the other's. Above 1: ours is ahead.

    The ratio is taken within each pair of neighbouring runs, so that what slows the machine for a while
    slows both.
    """

    stage: str
    ours: Spread
    theirs: Spread
    ratio: Spread


def compare(pairs: Sequence[tuple[Run, Run]], stages: Sequence[str]) -> list[Row]:
    """A row for each stage that every run has."""
    rows = []
    for stage in stages:
        if all(stage in run for pair in pairs for run in pair):
            ours, theirs = ([pair[i][stage] for pair in pairs] for i in (0, 1))
            ratios = [b / a if a else float("inf") for a, b in zip(ours, theirs, strict=True)]
            rows.append(Row(stage, Spread.of(ours), Spread.of(theirs), Spread.of(ratios)))
    return rows
