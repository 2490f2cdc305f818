"""Subtitle cues: how a segment's text is laid out in lines and in time.

    text ─► atoms (what is never broken) ─► cues of at most two lines, broken where a reader would pause
    cues ─► times of their words, or within the segment's in proportion to their text; long enough to be read

Pure functions, no file in sight.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

MAX_LINE = 42
"""Columns of a line, as most subtitle guides want it; a wide (Chinese, Japanese, Korean) character is two."""
MIN_LINE = 20
"""Narrower lines leave no room for words."""
MIN_CUE_MS = 1000
"""Less than a second cannot be read."""

_SENTENCE_END = ".?!…。?!।؟"
_CLAUSE_END = ",;:、,;:،—–"
_CLOSERS = "\"'”’»)]」』)"
_NEVER_FIRST = "ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ々〻"


@dataclass(frozen=True)
class Cue:
    """What is on the screen at one time."""

    start: int
    """Milliseconds from the start of the recording."""
    end: int
    lines: tuple[str, ...]
    """One line or two."""


@lru_cache(maxsize=4096)
def _char_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def display_width(text: str) -> int:
    """Columns the text takes: two for a wide character, none for a combining one."""
    return sum(map(_char_width, text))


def make_cues(
    text: str,
    start: int,
    end: int,
    *,
    max_line: int = MAX_LINE,
    min_ms: int = MIN_CUE_MS,
    label: str = "",
    said: Sequence[tuple[int, int]] = (),
) -> list[Cue]:
    """The cues of a text (one line, single spaces) said from `start` to `end`, in milliseconds.

    `label` begins each of them. `said`: of each character that is no space, the start and the end of its
    word; cues have the times of their words then. Without, they touch each other and fill the segment's time.
    """
    atoms = _atoms(text, max_line - display_width(label))
    if not atoms:
        return []
    page = _Page(atoms, max_line - display_width(label), max_line)
    spans = page.spans()
    if said and len(said) == sum(len(atom.text) for atom in atoms):
        times = _said(atoms, spans, said, min_ms)
    else:
        borders = spread(start, max(start, end), [page.weight(i, j) for i, j in spans], min_ms)
        times = list(pairwise(borders))
    return [
        Cue(since, until, _labelled(page.lines(i, j), label))
        for (i, j), (since, until) in zip(spans, times, strict=True)
    ]


def _said(
    atoms: Sequence[_Atom], spans: Sequence[tuple[int, int]], said: Sequence[tuple[int, int]], min_ms: int
) -> list[tuple[int, int]]:
    """From the first word to the last; a short cue stays until the next one comes, if need be."""
    ends = list(accumulate((len(atom.text) for atom in atoms), initial=0))
    found: list[tuple[int, int]] = []
    for i, j in spans:
        before = found[-1][0] if found else 0
        since = max(before, said[ends[i]][0])
        found.append((since, max(since, said[ends[j] - 1][1])))
    following = [since for since, _ in found[1:]]
    shown = [
        min(max(until, since + min_ms), then)
        for (since, until), then in zip(found, following, strict=False)  # the last one has none to wait for
    ]
    return [(since, until) for (since, _), until in zip(found, [*shown, found[-1][1]], strict=True)]


def spread(start: int, end: int, weights: Sequence[int], minimum: int) -> list[int]:
    """The len(weights) + 1 borders that share the time between `start` and `end` out in proportion to the
    weights (all > 0), each part at least `minimum` where there is time for that.
    """
    total, raised = end - start, set[int]()
    if total >= minimum * len(weights):
        # Raising one part takes from the others, which may bring the next one below.
        while low := {
            i
            for i, weight in enumerate(weights)
            if i not in raised and weight * _rate(total, weights, raised, minimum) < minimum
        }:
            raised |= low
    rate = _rate(total, weights, raised, minimum)
    parts = (minimum if i in raised else weight * rate for i, weight in enumerate(weights))
    borders = [start + min(total, round(part)) for part in accumulate(parts, initial=0.0)]
    borders[-1] = end
    return borders


def _rate(total: int, weights: Sequence[int], raised: set[int], minimum: int) -> float:
    """Time for each unit of weight among the parts that were not raised to the minimum."""
    weight = sum(weight for i, weight in enumerate(weights) if i not in raised)
    return (total - minimum * len(raised)) / weight if weight else 0.0


def _labelled(lines: tuple[str, ...], label: str) -> tuple[str, ...]:
    return (label + lines[0], *lines[1:])


# ---- atoms ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Atom:
    """A word, or a character of a script that puts no spaces between words, with its punctuation."""

    text: str
    gap: int
    """1 where a space stands before it."""

    @property
    def width(self) -> int:
        return display_width(self.text)


def _atoms(text: str, limit: int) -> list[_Atom]:
    return [
        _Atom(piece, int(n == 0 and k > 0))
        for k, word in enumerate(text.split())
        for n, piece in enumerate(p for part in _parts(word) for p in _chunks(part, limit))
    ]


def _parts(word: str) -> list[str]:
    """A word cut where its script allows a line to end."""
    parts = [word[0]]
    for before, after in pairwise(word):
        if _may_break(before, after):
            parts.append(after)
        else:
            parts[-1] += after
    return parts


def _may_break(before: str, after: str) -> bool:
    if _char_width(before) < 2 and _char_width(after) < 2:
        return False
    if not _char_width(after) or after in _NEVER_FIRST or unicodedata.category(after) in ("Pe", "Pf", "Po"):
        return False
    return before != "\u200d" and unicodedata.category(before) not in ("Ps", "Pi")


def _chunks(part: str, limit: int) -> list[str]:
    """What is wider than a whole line is cut wherever the line ends."""
    chunks, width = [""], 0
    for character in part:
        width += _char_width(character)
        if width > limit:
            chunks.append("")
            width = _char_width(character)
        chunks[-1] += character
    return chunks


# ---- lines ---------------------------------------------------------------------------------------


class _Page:
    """Atoms as lines and cues. No atom is wider than `first`, the room on a cue's first line."""

    def __init__(self, atoms: Sequence[_Atom], first: int, second: int) -> None:
        self._atoms, self._first, self._second = atoms, first, second
        self._gaps = [atom.gap for atom in atoms] + [0]
        self._sums = list(accumulate((atom.gap + atom.width for atom in atoms), initial=0))

    def weight(self, i: int, j: int) -> int:
        """Of time: the columns of atoms i to j."""
        return max(1, self._width(i, j))

    def spans(self) -> list[tuple[int, int]]:
        """The cheapest way to divide the atoms into cues: few of them, full, ending where a reader pauses."""
        n = len(self._atoms)
        cost, origin = [0.0] + [float("inf")] * n, [0] * (n + 1)
        for i in range(n):
            for j in range(i + 1, self._reach(self._reach(i, self._first), self._second) + 1):
                room = self._first + self._second
                price = cost[i] + 0.5 + 0.5 * (1 - self._width(i, j) / room) ** 2 + self._break_price(j)
                if price < cost[j]:
                    cost[j], origin[j] = price, i
        spans, j = [], n
        while j:
            spans.append((origin[j], j))
            j = origin[j]
        return spans[::-1]

    def lines(self, i: int, j: int) -> tuple[str, ...]:
        """Atoms i to j on one line, or on two of nearly equal width."""
        if self._width(i, j) <= self._first:
            return (self._render(i, j),)
        ends = [k for k in range(i + 1, self._reach(i, self._first) + 1) if self._width(k, j) <= self._second]
        end = min(ends, key=lambda k: abs(self._width(i, k) - self._width(k, j)) + 12 * self._break_price(k))
        return self._render(i, end), self._render(end, j)

    def _width(self, i: int, j: int) -> int:
        return self._sums[j] - self._sums[i] - self._gaps[i] if j > i else 0

    def _reach(self, i: int, room: int) -> int:
        """The furthest j for which atoms i to j fit into one line."""
        return bisect_right(self._sums, self._sums[i] + self._gaps[i] + room) - 1

    def _break_price(self, j: int) -> float:
        """0 at the end of the text or of a sentence, more after a comma, most between two words."""
        if j == len(self._atoms):
            return 0.0
        last = self._atoms[j - 1].text.rstrip(_CLOSERS)[-1:]
        if last and last in _SENTENCE_END:
            return 0.0
        return 0.4 if last and last in _CLAUSE_END else 1.2

    def _render(self, i: int, j: int) -> str:
        atoms = self._atoms[i:j]
        return "".join(" " * (atom.gap if k else 0) + atom.text for k, atom in enumerate(atoms))
