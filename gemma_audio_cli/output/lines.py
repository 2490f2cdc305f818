"""Subtitle text as lines: what is never broken, and how it is divided into cues of one line or two.

    text ─► atoms (a word, or a character of a script that puts no spaces between words)
    atoms ─► Page: the cheapest way to divide them into cues, broken where a reader would pause

Pure functions of text and columns; times are the business of cues.py.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

_SENTENCE_END = ".?!…。?!।؟"
_CLAUSE_END = ",;:、,;:،—–"
_CLOSERS = "\"'”’»)]」』)"
_NEVER_FIRST = "ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ々〻"


@lru_cache(maxsize=4096)
def _char_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def display_width(text: str) -> int:
    """Columns the text takes: two for a wide character, none for a combining one."""
    return sum(map(_char_width, text))


# ---- atoms ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Atom:
    """A word, or a character of a script that puts no spaces between words, with its punctuation."""

    text: str
    gap: int
    """1 where a space stands before it."""
    at: int
    """Characters of the text before it, spaces not counted."""
    words: tuple[int, int]
    """The numbers of the words that its first and its last character belong to."""

    @property
    def width(self) -> int:
        """Columns it takes."""
        return display_width(self.text)


def atoms_of(text: str, limit: int, owners: Sequence[int] = ()) -> list[Atom]:
    """The atoms of a text, none wider than `limit` columns.

    `owners`: of each character that is no space, the number of its word. Without them every word between
    spaces is one, and every character of a script without spaces.
    """
    atoms: list[Atom] = []
    at, number = 0, -1
    for k, run in enumerate(text.split()):
        first = True
        for part in _parts(run, owners[at : at + len(run)]):
            number += 1
            for piece in _chunks(part, limit):
                end = at + len(piece)
                words = (owners[at], owners[end - 1]) if owners else (number, number)
                atoms.append(Atom(piece, int(first and k > 0), at, words))
                at, first = end, False
    return atoms


def _parts(run: str, owners: Sequence[int]) -> list[str]:
    """A run without spaces, cut where its script allows a line to end, or where narrow words touch (Thai)."""
    parts = [run[0]]
    for index, (before, after) in enumerate(pairwise(run)):
        wide = _char_width(before) > 1 or _char_width(after) > 1
        touching = bool(owners) and not wide and owners[index] != owners[index + 1]
        if touching or (wide and _may_break(before, after)):
            parts.append(after)
        else:
            parts[-1] += after
    return parts


def _may_break(before: str, after: str) -> bool:
    if not _char_width(after) or after in _NEVER_FIRST or unicodedata.category(after) in ("Pe", "Pf", "Po"):
        return False
    return before != "\u200d" and unicodedata.category(before) not in ("Ps", "Pi")


def _chunks(part: str, limit: int) -> Iterator[str]:
    """What is wider than a whole line is cut wherever the line ends."""
    chunk, width = "", 0
    for character in part:
        width += _char_width(character)
        if width > limit and chunk:
            yield chunk
            chunk, width = "", _char_width(character)
        chunk += character
    yield chunk


# ---- lines ---------------------------------------------------------------------------------------


class Page:
    """Atoms as lines and cues. No atom is wider than `first`, the room on a cue's first line."""

    def __init__(
        self, atoms: Sequence[Atom], first: int, second: int, *, max_words: int | None = None
    ) -> None:
        self._atoms, self._first, self._second, self._max_words = atoms, first, second, max_words
        self._gaps = [atom.gap for atom in atoms] + [0]
        self._sums = list(accumulate((atom.gap + atom.width for atom in atoms), initial=0))
        self._last_words = [atom.words[1] for atom in atoms]

    def weight(self, i: int, j: int) -> int:
        """Of time: the columns of atoms i to j."""
        return max(1, self._width(i, j))

    def spans(self) -> list[tuple[int, int]]:
        """The cheapest way to divide the atoms into cues: few of them, full, ending where a reader pauses."""
        n = len(self._atoms)
        cost, origin = [0.0] + [float("inf")] * n, [0] * (n + 1)
        for i in range(n):
            for j in range(i + 1, self._furthest(i) + 1):
                room = self._first + self._second
                price = cost[i] + 0.5 + 0.5 * (1 - self._width(i, j) / room) ** 2 + self._break_price(j)
                if price < cost[j]:
                    cost[j], origin[j] = price, i
        spans, j = [], n
        while j:
            spans.append((origin[j], j))
            j = origin[j]
        return spans[::-1]

    def lines(self, i: int, j: int) -> list[tuple[int, int]]:
        """Atoms i to j on one line, or on two of nearly equal width."""
        if self._width(i, j) <= self._first:
            return [(i, j)]
        ends = [k for k in range(i + 1, self._reach(i, self._first) + 1) if self._width(k, j) <= self._second]
        end = min(ends, key=lambda k: abs(self._width(i, k) - self._width(k, j)) + 12 * self._break_price(k))
        return [(i, end), (end, j)]

    def _furthest(self, i: int) -> int:
        """The furthest j for which atoms i to j may be one cue."""
        j = self._reach(self._reach(i, self._first), self._second)
        if self._max_words is None:
            return j
        last = self._atoms[i].words[0] + self._max_words - 1
        return max(i + 1, min(j, bisect_right(self._last_words, last)))

    def _width(self, i: int, j: int) -> int:
        return self._sums[j] - self._sums[i] - self._gaps[i] if j > i else 0

    def _reach(self, i: int, room: int) -> int:
        """The furthest j for which atoms i to j fit into one line."""
        return bisect_right(self._sums, self._sums[i] + self._gaps[i] + room) - 1

    def _break_price(self, j: int) -> float:
        """0 at the end of the text or of a sentence, more after a comma, most between and inside words."""
        if j == len(self._atoms):
            return 0.0
        if self._atoms[j - 1].words[1] == self._atoms[j].words[0]:
            return 2.4
        last = self._atoms[j - 1].text.rstrip(_CLOSERS)[-1:]
        if last and last in _SENTENCE_END:
            return 0.0
        return 0.4 if last and last in _CLAUSE_END else 1.2
