"""A recipe: a question, and the sections that its answer has.

    TOML ──parse──► Recipe ──schema(times)──► JSON schema       an answer ──tidy──► sections as they are shown

A section is a text, or a list of items with fields. A field is text, a time, or something that may not have
been said: then it says so. Times are those of the stretches that the model was given, and no others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import one_line

NOT_SAID = "not said"
"""What a field of the kind "said" holds where nobody said it."""
KINDS = ("text", "said", "time")
MAX_TOKENS = 1536
"""Of an answer, where a recipe says nothing else."""
_TIME = "^[0-9]{1,2}:[0-5][0-9]:[0-5][0-9]$"
_MOST_TIMES = 600
"""Beyond that many the times of an answer are of the right form, and that is all."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LONGEST, _MOST, _SECTIONS = 1000, 200, 20

Value = dict[str, Any]
"""An answer: a text or a list of items (field ──► text) by the name of its section."""


@dataclass(frozen=True)
class Field:
    """One part of an item."""

    name: str
    kind: str = "text"
    """"text", "said" or "time"."""
    longest: int = 160
    """Characters, of a text."""


@dataclass(frozen=True)
class Section:
    """A text, or where it has fields a list."""

    name: str
    title: str
    longest: int = _LONGEST
    """Characters, of a text."""
    most: int = 20
    """Items, of a list."""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What to ask, and what the answer looks like."""

    name: str
    title: str
    about: str
    question: str
    max_tokens: int = MAX_TOKENS
    sections: tuple[Section, ...] = ()
    """None: the answer is free text."""
    chapters: bool = False
    """Its one section is a list of chapters: times with titles."""

    def schema(
        self, times: Sequence[str] | None = None, *, room: float | None = 1.0
    ) -> dict[str, Any] | None:
        """The JSON schema of an answer; None: it is free text. `times`: those that may stand in it. `room`:
        the share of the recipe's lengths that texts and lists may have; None: any length.
        """
        if not self.sections:
            return None
        allowed = list(dict.fromkeys(times or ()))
        time: dict[str, Any] = {"type": "string", "pattern": _TIME}
        if 0 < len(allowed) <= _MOST_TIMES:
            time = {"enum": allowed}
        properties = {section.name: _of_section(section, room) for section in self.sections}
        uses_time = any(field.kind == "time" for section in self.sections for field in section.fields)
        return _object(properties) | ({"$defs": {"time": time}} if uses_time else {})

    def tidy(self, value: Value) -> Value:
        """An answer without what acts on a terminal or says nothing: texts on one line, no empty items, and
        chapters in order, one at a time.
        """
        tidied: Value = {}
        for section in self.sections:
            found = value[section.name]
            if not section.fields:
                tidied[section.name] = one_line(found)
                continue
            items = [
                {field.name: _tidy(field, item[field.name]) for field in section.fields} for item in found
            ]
            tidied[section.name] = [item for item in items if item[section_text(section).name]]
        if self.chapters:
            name, by_time = self.sections[0].name, dict[float, Any]()
            time = next(field.name for field in self.sections[0].fields if field.kind == "time")
            for item in tidied[name]:
                by_time.setdefault(seconds_of(item[time]), item)
            tidied[name] = [by_time[at] for at in sorted(by_time)]
        return tidied


def _tidy(field: Field, text: str) -> str:
    return one_line(text) or (NOT_SAID if field.kind == "said" else "")


def section_text(section: Section) -> Field:
    """The field that says what an item is: its first text."""
    return next(field for field in section.fields if field.kind == "text")


def seconds_of(time: str) -> float:
    """Seconds of H:MM:SS."""
    hours, minutes, seconds = map(int, time.split(":"))
    return float(hours * 3600 + minutes * 60 + seconds)


def parse(name: str, data: dict[str, Any], source: str) -> Recipe:
    """A recipe from what its file says. Raises UsageError that names the file (`source`) and the place."""
    read = _Reader(data, source)
    question, title = read.text("question"), read.text("title", name)
    about, most = read.text("about", title), read.number("max_tokens", MAX_TOKENS, 100_000)
    chapters = read.switch("chapters")
    entries = read.tables("section", _SECTIONS)
    read.nothing_else()
    sections = tuple(_section(entry) for entry in entries)
    _check_names([section.name for section in sections], source, "sections")
    recipe = Recipe(name, one_line(title), one_line(about), question.strip(), most, sections, chapters)
    if chapters:
        kinds = sorted(field.kind for section in sections for field in section.fields)
        if len(sections) != 1 or kinds != ["text", "time"]:
            raise UsageError(f"{source}: chapters are one section with a time and a text")
    return recipe


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _of_section(section: Section, room: float | None) -> dict[str, Any]:
    if not section.fields:
        return _text(section.longest, room)
    item = _object({field.name: _of_field(field, room) for field in section.fields})
    return {"type": "array", "items": item} | ({"maxItems": math.ceil(section.most * room)} if room else {})


def _text(longest: int, room: float | None) -> dict[str, Any]:
    return {"type": "string"} | ({"maxLength": math.ceil(longest * room)} if room else {})


def _of_field(field: Field, room: float | None) -> dict[str, Any]:
    if field.kind == "time":
        return {"$ref": "#/$defs/time"}
    text = _text(field.longest, room)
    return {"anyOf": [{"const": NOT_SAID}, text | {"minLength": 1}]} if field.kind == "said" else text


# ---- the file ------------------------------------------------------------------------------------


class _Reader:
    """Takes values out of a table, each of its kind."""

    def __init__(self, table: dict[str, Any], source: str) -> None:
        self._left, self.source = dict(table), source

    def text(self, key: str, default: str | None = None) -> str:
        value = self._left.pop(key, default)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{self.source}: {key} must be a text")
        return value

    def number(self, key: str, default: int, most: int) -> int:
        value = self._left.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise UsageError(f"{self.source}: {key} must be a number from 1 to {most}, not {value!r}")
        return value

    def switch(self, key: str) -> bool:
        value = self._left.pop(key, False)
        if not isinstance(value, bool):
            raise UsageError(f"{self.source}: {key} must be true or false, not {value!r}")
        return value

    def tables(self, key: str, most: int) -> list[_Reader]:
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise UsageError(f"{self.source}: {key} must be a list of tables")
        if len(value) > most:
            raise UsageError(f"{self.source}: {len(value)} of {key}; at most {most}")
        return [_Reader(item, f"{self.source}: {key} {place}") for place, item in enumerate(value, start=1)]

    def has(self, key: str) -> bool:
        return key in self._left

    def nothing_else(self) -> None:
        if self._left:
            raise UsageError(f"{self.source}: {next(iter(self._left))!r} is unknown here")


def _section(read: _Reader) -> Section:
    name = _name(read)
    title = one_line(read.text("title", name.replace("_", " ").capitalize()))
    if not read.has("fields"):
        longest = read.number("longest", _LONGEST, _LONGEST)
        read.nothing_else()
        return Section(name, title, longest=longest)
    most = read.number("most", 20, _MOST)
    entries = read.tables("fields", _SECTIONS)
    read.nothing_else()
    fields = []
    for entry in entries:
        kind, of = entry.text("kind", "text"), _name(entry)
        if kind not in KINDS:
            raise UsageError(f"{entry.source}: kind must be {', '.join(KINDS)}, not {kind!r}")
        fields.append(Field(of, kind, entry.number("longest", 160, _LONGEST)))
        entry.nothing_else()
    _check_names([field.name for field in fields], read.source, "fields")
    if not any(field.kind == "text" for field in fields):
        raise UsageError(f"{read.source}: one of its fields must be of the kind text")
    return Section(name, title, most=most, fields=tuple(fields))


def _name(read: _Reader) -> str:
    name = read.text("name")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{read.source}: a name is small letters, digits and _, not {name!r}")
    return name


def _check_names(names: Sequence[str], source: str, what: str) -> None:
    if len(set(names)) < len(names):
        raise UsageError(f"{source}: two {what} of the same name")
