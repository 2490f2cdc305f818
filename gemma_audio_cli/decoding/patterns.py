r"""Regular expressions of JSON schemas as rules of a grammar.

    ^[A-Z]{2}-(a|b)\d+$  ──►  [\U00000041-\U0000005A]{2,2} "-" ("a" | "b") [\U00000030-\U00000039]{1,}

What a schema's `pattern` means in all dialects is translated: characters, classes, groups, choices in
brackets and counts. Anything else is refused by its name. The rule matches a text as JSON writes it, where a
quote and a backslash are two characters; so it may match less than the pattern, never more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_REPEATS = 1000
"""Of minItems, of {n} in a pattern and the like: each is a rule of the grammar, and the parser takes them one
in another."""
_MAX_DEPTH = 40
_LAST = 0x10FFFF

Ranges = list[tuple[int, int]]
"""Code points from, to and with; in order, apart from each other."""

_DIGITS: Ranges = [(0x30, 0x39)]
_WORD: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACES: Ranges = [(0x09, 0x0D), (0x20, 0x20)]
_NO_LINE_END: Ranges = [(0x00, 0x09), (0x0B, 0x0C), (0x0E, 0x2027), (0x202A, _LAST)]
# What stands in a JSON text as itself, without what acts on a terminal (see `formatting`).
_PLAIN: Ranges = [
    (0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0xA0, 0x2027), (0x202A, 0xD7FF), (0xE000, _LAST)
]  # fmt: skip
_ESCAPED = '"\\\t\n\r'
"""What stands in it as two characters."""
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r"}
_COUNT = re.compile(r"\{([0-9]{1,9})(,([0-9]{0,9}))?\}")


def rule(pattern: str) -> str:
    """The pattern, which begins with ^ and ends with $, as the right side of a rule, in GBNF. Raises
    ValueError that names what cannot be held to.
    """
    if pattern[:1] != "^" or pattern[-1:] != "$" or len(pattern) < 2 or _is_escaped(pattern):
        raise ValueError("must begin with ^ and end with $")
    return _Translation(pattern[1:-1]).whole()


def _is_escaped(pattern: str) -> bool:
    """Is the last character one that a backslash makes an ordinary one?"""
    before = pattern[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


class _Part(NamedTuple):
    rule: str
    repeats: int
    """How often something in it has to be there, or may be, one count in another."""
    empty: bool
    """May it be nothing?"""


class _Translation:
    """One pass over a pattern."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> str:
        found = self._choices(0)
        if self._at < len(self._text):
            raise ValueError("has a ) without its (")
        return found.rule

    # -- steps --

    @property
    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _choices(self, depth: int) -> _Part:
        if depth > _MAX_DEPTH:
            raise ValueError(f"is nested too deeply: more than {_MAX_DEPTH} levels")
        parts = [self._sequence(depth)]
        while self._next == "|":
            if not depth:
                raise ValueError("has a | outside of brackets; write ^(a|b)$")
            self._at += 1
            parts.append(self._sequence(depth))
        rule = " | ".join(part.rule for part in parts)
        return _Part(rule, max(part.repeats for part in parts), any(part.empty for part in parts))

    def _sequence(self, depth: int) -> _Part:
        rules, repeats, empty = list[str](), 1, True
        while self._next not in ("", "|", ")"):
            part = self._atom(depth)
            least, most = self._count()
            if part.empty and most is None:
                raise ValueError("repeats without end what may be empty")
            product = part.repeats * max(least, most or 1)
            if product > MAX_REPEATS:
                raise ValueError(f"repeats something {product} times; at most {MAX_REPEATS}")
            repeats, empty = max(repeats, product), empty and (part.empty or not least)
            once = least == most == 1
            rules.append(part.rule if once else f"{part.rule}{{{least},{'' if most is None else most}}}")
        return _Part(" ".join(rules) or '""', repeats, empty)

    def _count(self) -> tuple[int, int | None]:
        """How often what was just read comes: at least, at most."""
        known: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        found = _COUNT.match(self._text, self._at)
        if self._next in known and self._next:
            least, most = known[self._next]
            self._at += 1
        elif found is not None:
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else None
            self._at = found.end()
            if most is not None and most < least:
                raise ValueError(f"has the count {found[0]}, which nothing has")
        else:
            return 1, 1
        if self._next in ("?", "+", "*"):
            raise ValueError(f"has a {self._next} behind a count, which answers cannot be held to")
        return least, most

    def _atom(self, depth: int) -> _Part:
        character = self._next
        self._at += 1
        if character == "(":
            return self._group(depth)
        return _Part(_class(self._character(character)), 1, False)

    def _character(self, character: str) -> Ranges:
        if character == "[":
            return self._members()
        if character == ".":
            return _NO_LINE_END
        if character == "\\":
            return self._escape()
        if character in "*+?{}]":
            raise ValueError(f"has a {character} that counts nothing; write \\{character} for the character")
        if character in "^$":
            raise ValueError(f"has a {character} inside, which answers cannot be held to")
        return _one(character)

    def _group(self, depth: int) -> _Part:
        if self._next == "?":
            if not self._text.startswith("?:", self._at):
                name = self._text[self._at - 1 : self._at + 2]
                raise ValueError(f"has a group {name}, which answers cannot be held to")
            self._at += 2
        inside = self._choices(depth + 1)
        if self._next != ")":
            raise ValueError("has a ( without its )")
        self._at += 1
        return inside._replace(rule=f"({inside.rule})")

    def _escape(self) -> Ranges:
        """What a backslash and the character behind it stand for."""
        character = self._next
        self._at += 1
        kinds = {"d": _DIGITS, "w": _WORD, "s": _SPACES}
        if character in kinds:
            return kinds[character]
        if character in _CONTROLS:
            return _one(_CONTROLS[character])
        if not character or character.isalnum() or ord(character) > 0x7E:
            raise ValueError(f"has the escape \\{character}, which answers cannot be held to")
        return _one(character)

    def _members(self) -> Ranges:
        """The characters of a class; its [ has been read."""
        negated = self._next == "^"
        self._at += negated
        found, empty = Ranges(), True
        while self._next != "]":
            first, single = self._member()
            if negated and not single:  # other dialects have more digits and letters
                raise ValueError("has an escape for several characters in a class of what is not; name them")
            empty = False
            if single and self._next == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last, ends = self._member()
                if not ends or last[0][0] < first[0][0]:
                    raise ValueError("has a class with a range that has no order")
                first = [(first[0][0], last[0][0])]
            found += first
        self._at += 1
        if empty:
            raise ValueError("has an empty class []")
        return _others(found) if negated else _sorted(found)

    def _member(self) -> tuple[Ranges, bool]:
        """One character of a class, or what an escape stands for; is it one?"""
        character = self._next
        if not character:
            raise ValueError("has a [ without its ]")
        self._at += 1
        found = self._escape() if character == "\\" else _one(character)
        return found, len(found) == 1 and found[0][0] == found[0][1]


# ---- sets of characters --------------------------------------------------------------------------


def _one(character: str) -> Ranges:
    number = ord(character)
    if character not in _ESCAPED and not _shared([(number, number)], _PLAIN):
        raise ValueError(f"has the control character U+{number:04X}, which no answer may have")
    return [(number, number)]


def _sorted(ranges: Iterable[tuple[int, int]]) -> Ranges:
    found = Ranges()
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _others(ranges: Ranges) -> Ranges:
    """All code points but these."""
    found, at = Ranges(), 0
    for first, last in _sorted(ranges):
        if first > at:
            found.append((at, first - 1))
        at = last + 1
    return [*found, (at, _LAST)] if at <= _LAST else found


def _shared(some: Ranges, others: Ranges) -> Ranges:
    pairs = ((max(a, c), min(b, d)) for a, b in some for c, d in others)
    return _sorted((first, last) for first, last in pairs if first <= last)


def _class(ranges: Ranges) -> str:
    """One character out of these, as JSON writes it, in GBNF."""
    parts = []
    plain = _shared(ranges, _PLAIN)
    if plain:
        inside = (f"\\U{a:08X}" if a == b else f"\\U{a:08X}-\\U{b:08X}" for a, b in plain)
        parts.append(f"[{''.join(inside)}]")
    for character in _ESCAPED:
        if _shared(ranges, [(ord(character), ord(character))]):
            written = json.dumps(character)[1:-1].replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{written}"')
    if not parts:
        raise ValueError("has a class of control characters alone, which no answer may have")
    return parts[0] if len(parts) == 1 else f"({' | '.join(parts)})"
