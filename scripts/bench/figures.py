"""Medians, ranges and ratios of interleaved runs, as data and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

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


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [asdict(row) for row in rows]


def table(rows: Sequence[Row], other: str = "llama.cpp") -> str:
    """The rows as aligned text."""
    lines = [f"{'':18}{'gemma-audio':>24}{other:>24}   {other} / gemma-audio"]
    for row in rows:
        unit, scale = ("GB", 1e9) if row.stage == "peak_rss" else ("s ", 1.0)

        def cell(spread: Spread, scale: float = scale, unit: str = unit) -> str:
            low, high = (f"{value / scale:.2f}" for value in (spread.low, spread.high))
            return f"{spread.median / scale:8.3f} {unit} {f'({low}-{high})':>13}"

        ratio = f"{row.ratio.median:6.2f}  ({row.ratio.low:.2f}-{row.ratio.high:.2f})"
        lines.append(f"{row.stage.replace('_', ' '):18}{cell(row.ours):>24}{cell(row.theirs):>24}   {ratio}")
    return "\n".join(lines)
