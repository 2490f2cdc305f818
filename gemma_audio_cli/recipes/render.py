"""An answer to a recipe as text: Markdown, and chapters as video sites and players read them.

Recipe, Value ──► markdown | youtube | vtt
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gemma_audio_cli.formatting import hms, one_line, printable
from gemma_audio_cli.recipes.recipe import Recipe, Section, Value, seconds_of, section_text

EXTENSIONS = {"markdown": "md", "json": "json", "youtube": "txt", "vtt": "vtt"}
"""Formats of a recipe's answer, and what their files end with."""


Notes = Sequence[tuple[str, str]]
"""Stretches of a recording, and what was noted on each."""


def formats(recipe: Recipe) -> tuple[str, ...]:
    """Those it can be written in, the usual one first."""
    return ("youtube", "markdown", "json", "vtt") if recipe.chapters else ("markdown", "json")


def markdown(recipe: Recipe, value: Value, heading: str, notes: Notes | None = None) -> str:
    """Sections under headings; a list that is empty says so. `notes`: what the answer was made of."""
    parts = [f"# {recipe.title}: {_plain(printable(heading))}"]
    for section in recipe.sections:
        if len(recipe.sections) > 1:
            parts.append(f"## {section.title}")
        found = value[section.name]
        parts.append("\n".join(_item(section, item) for item in found) if section.fields else _plain(found))
        if not found:
            parts[-1] = "None." if section.fields else "-"
    if notes is not None:
        parts += [
            "## Evidence",
            "\n".join(f"- [{when}] {_plain(one_line(text))}" for when, text in notes) or "None.",
        ]
    return "\n\n".join(parts) + "\n"


def nothing(recipe: Recipe, heading: str, kind: str, why: str) -> str:
    """What a file holds where there is no answer, in one of the formats of text."""
    if kind == "vtt":
        return "WEBVTT\n"
    if kind == "youtube":
        return ""
    return f"# {recipe.title}: {_plain(printable(heading))}\n\n{why}\n"


def youtube(recipe: Recipe, value: Value, start: float = 0.0) -> str:
    """A line for each chapter. The first one begins with the recording (at `start` seconds), as the site
    demands.
    """
    chapters = _chapters(recipe, value)
    hours = any(at >= 3600 for at, _ in chapters)
    lines = []
    for number, (at, title) in enumerate(chapters):
        clock = hms(at if number else min(at, start))
        lines.append(f"{clock if hours else clock.partition(':')[2]} {title}\n")
    return "".join(lines)


def vtt(recipe: Recipe, value: Value, duration: float) -> str:
    """WebVTT, a cue for each chapter: it ends where the next one begins, the last one with the recording."""
    chapters = _chapters(recipe, value)
    ends = [at for at, _ in chapters[1:]] + [max(duration, at + 1.0) for at, _ in chapters[-1:]]
    cues = [
        f"\n{number}\n{_stamp(at)} --> {_stamp(end)}\n{_escaped(title)}\n"
        for number, ((at, title), end) in enumerate(zip(chapters, ends, strict=True), start=1)
    ]
    return "WEBVTT\n" + "".join(cues)


def _item(section: Section, item: dict[str, str]) -> str:
    main = section_text(section)
    time = "".join(f"[{item[field.name]}] " for field in section.fields if field.kind == "time")
    others = [field for field in section.fields if field is not main and field.kind != "time"]
    beside = ", ".join(
        f"{field.name.replace('_', ' ')}: {_plain(item[field.name]) or '-'}" for field in others
    )
    return f"- {time}{_plain(item[main.name])}" + (f" ({beside})" if beside else "")


def _plain(text: str) -> str:
    """Words as Markdown that says just them: whoever speaks might dictate a picture that is to be loaded."""
    return re.sub(r"([\\`*_\[\]<>]|^[#+-])", r"\\\1", text)


def _chapters(recipe: Recipe, value: Value) -> list[tuple[float, str]]:
    (section,) = recipe.sections
    title = section_text(section).name
    time = next(field.name for field in section.fields if field.kind == "time")
    return [(seconds_of(item[time]), item[title]) for item in value[section.name]]


def _stamp(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
