"""One table for all classes and types: ratios at a glance, then every stage with its range.

Above 1 we are ahead. Seconds and ratios are medians of interleaved pairs; ranges stand in brackets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cpu_classes
import figures
from cases import Case, Pair
from figures import Row, Spread

CLIP_STAGES = ("load", "mel", "encode", "audio_prefill", "text_prefill", "decode", "total", "peak_rss")
RECORDING_STAGES = ("load", "recording", "peak_rss")
SUMMARY = (
    ("encode", "clip"), ("audio_prefill", "clip"), ("decode", "clip"), ("total", "clip"),
    ("recording", "recording"), ("peak_rss", "clip"), ("load", "clip"),
)  # fmt: skip
_HEADINGS = ("encode", "audio prefill", "decode", "clip", "recording", "peak RSS", "load")


def stages(job: str) -> Sequence[str]:
    return CLIP_STAGES if job == "clip" else RECORDING_STAGES


def group(case: Case) -> str:
    """What a line is about, the job left out: `AVX2, Q4_0`, with what is unusual behind it."""
    named = case.cpu_class in cpu_classes.NAMES
    title = cpu_classes.find(case.cpu_class).title if named else "this processor"
    busy = f", {case.busy} busy" if case.busy else ""
    return f"{title}, {case.text_type.upper()}, {case.threads} T{busy}"


def summary(measured: Iterable[tuple[Case, Sequence[Pair]]]) -> str:
    """Median ratios: a line for each class and type, as Markdown."""
    lines: dict[str, dict[tuple[str, str], Row]] = {}
    for case, pairs in measured:
        for row in figures.compare(pairs, stages(case.job)):
            lines.setdefault(group(case), {})[row.stage, case.job] = row
    text = ["| |" + "|".join(f" {heading} " for heading in _HEADINGS) + "|", "|---" * 8 + "|"]
    for name, rows in lines.items():
        cells = [f"{rows[key].ratio.median:.2f}" if key in rows else "" for key in SUMMARY]
        text.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def details(measured: Iterable[tuple[Case, Sequence[Pair]]], other: str = "llama.cpp") -> str:
    """Every stage of every case, as Markdown."""
    text = [f"| | | gemma-audio | {other} | ratio |", "|---|---|---|---|---|"]
    for case, pairs in measured:
        name = f"{group(case)} ({len(pairs)})"
        for row in figures.compare(pairs, stages(case.job)):
            stage = row.stage.replace("_", " ").replace("rss", "RSS")
            unit = 1e9 if row.stage == "peak_rss" else 1.0
            ratio = f"**{row.ratio.median:.2f}** ({row.ratio.low:.2f}-{row.ratio.high:.2f})"
            cells = (_cell(row.ours, unit), _cell(row.theirs, unit), ratio)
            text.append(f"| {name} | {stage} | " + " | ".join(cells) + " |")
            name = ""
    return "\n".join(text)


def _cell(spread: Spread, unit: float) -> str:
    name = "s" if unit == 1.0 else "GB"
    low, high, median = (_number(value / unit) for value in (spread.low, spread.high, spread.median))
    return f"{median} {name}" if low == high else f"{median} {name} ({low}-{high})"


def _number(value: float) -> str:
    """Three digits at least."""
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
