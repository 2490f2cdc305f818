"""Subtitle cues: how a segment's text is laid out in lines and in time.

    text ─► lines.py: cues of at most two lines, broken where a reader would pause
    cues ─► times of their words, or within the segment's in proportion to their text; long enough to be read

Pure functions, no file in sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from gemma_audio_cli.output.lines import Atom, Page, atoms_of, display_width

MAX_LINE = 42
"""Columns of a line, as most subtitle guides want it; a wide (Chinese, Japanese, Korean) character is two."""
MIN_LINE = 20
"""Narrower lines leave no room for words."""
MIN_CUE_MS = 1000
"""Less than a second cannot be read."""


@dataclass(frozen=True)
class Timed:
    """A word, or a piece of one, and when it was said."""

    text: str
    start: int
    """Milliseconds from the start of the recording."""
    end: int


@dataclass(frozen=True)
class Cue:
    """What is on the screen at one time."""

    start: int
    """Milliseconds from the start of the recording."""
    end: int
    lines: tuple[str, ...]
    """One line or two."""
    said: tuple[tuple[Timed, ...], ...] = ()
    """Where words have times: each line word by word, in order of time and within the cue's. A word has the
    space before it; together they are the line.
    """
    voice: str = ""
    """Who says it, where that is no part of the lines."""


def make_cues(
    text: str,
    start: int,
    end: int,
    *,
    max_line: int = MAX_LINE,
    min_ms: int = MIN_CUE_MS,
    label: str = "",
    max_words: int | None = None,
    words: Sequence[Timed] = (),
) -> list[Cue]:
    """The cues of a text (one line, single spaces) said from `start` to `end`, in milliseconds.

    `label` begins each of them. `max_words`: so many at most are in one. `words`: those of the text, all of
    it; cues have their times then. Without, they touch each other and fill the segment's time.
    """
    letters, owners = _letters(words)
    if "".join(text.split()) != "".join(letter.text for letter in letters):
        letters, owners = [], []
    room = max_line - display_width(label)
    atoms = atoms_of(text, room, owners)
    if not atoms:
        return []
    page = Page(atoms, room, max_line, max_words=max_words)
    spans = page.spans()
    if letters:
        times = _said(atoms, spans, letters, end, min_ms)
    else:
        borders = spread(start, max(start, end), [page.weight(i, j) for i, j in spans], min_ms)
        times = list(pairwise(borders))
    cues = []
    for (i, j), (since, until) in zip(spans, times, strict=True):
        lines = [atoms[a:b] for a, b in page.lines(i, j)]
        texts = [_rendered(line) for line in lines]
        said = [_pieces(line, letters, owners) for line in lines] if letters else []
        texts[0] = label + texts[0]
        if said and label:
            first = said[0][0]
            said[0][0] = replace(first, text=label + first.text)
        cues.append(Cue(since, until, tuple(texts), tuple(map(tuple, said))))
    return cues


# ---- times ---------------------------------------------------------------------------------------


def _letters(words: Sequence[Timed]) -> tuple[list[Timed], list[int]]:
    """The characters of the words, spaces left out, and the number of the word of each. A word's time is
    shared out among them: it may be cut where a line ends. Times never go back.
    """
    letters: list[Timed] = []
    owners: list[int] = []
    now = 0
    for number, word in enumerate(words):
        characters = "".join(word.text.split())
        start = max(now, word.start)
        length, count = max(0, word.end - start), len(characters)
        for k, character in enumerate(characters):
            letters.append(Timed(character, start + length * k // count, start + length * (k + 1) // count))
            owners.append(number)
        now = letters[-1].end if letters else 0
    return letters, owners


def _said(
    atoms: Sequence[Atom],
    spans: Sequence[tuple[int, int]],
    letters: Sequence[Timed],
    end: int,
    min_ms: int,
) -> list[tuple[int, int]]:
    """From the first word to the last. A short cue stays until the next one comes, if need be; the last one
    until the segment's `end`.
    """
    found = [(letters[atoms[i].at].start, letters[_behind(atoms[j - 1]) - 1].end) for i, j in spans]
    limits = [*(since for since, _ in found[1:]), max(end, found[-1][1])]
    return [
        (since, min(max(until, since + min_ms), limit))
        for (since, until), limit in zip(found, limits, strict=True)
    ]


def _behind(atom: Atom) -> int:
    """Characters of the text up to its end, spaces not counted."""
    return atom.at + len(atom.text)


def _pieces(line: Sequence[Atom], letters: Sequence[Timed], owners: Sequence[int]) -> list[Timed]:
    """The line word by word."""
    pieces: list[Timed] = []
    last = -1
    for number, atom in enumerate(line):
        space = " " if atom.gap and number else ""
        for at in range(atom.at, _behind(atom)):
            letter = letters[at]
            if pieces and owners[at] == last:
                before = pieces[-1]
                pieces[-1] = Timed(before.text + space + letter.text, before.start, letter.end)
            else:
                pieces.append(replace(letter, text=space + letter.text))
            last, space = owners[at], ""
    return pieces


def _rendered(line: Sequence[Atom]) -> str:
    return "".join(" " * (atom.gap if k else 0) + atom.text for k, atom in enumerate(line))


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
