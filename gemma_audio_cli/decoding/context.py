"""The context of an instruction: which names and terms of a glossary the model is told of.

    glossary ──► Terms ──► fit(budget): those seen last, as many as there is room for ──► the instruction
                   ▲
    transcripts ───┘ saw(text)

A prompt is read again with every clip, and what it lists is what the model hears things into: it stays short.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

BUDGET = 512
"""Tokens of a context, at most: some hundred names."""
SHARE = 8
"""At most one in so many positions of the model's context."""

Count = Callable[[str], int]
"""The tokens of a text."""


@dataclass(frozen=True)
class Hints:
    """The terms that an instruction lists, and the same instruction without them."""

    terms: tuple[str, ...]
    without: str


def budget(n_ctx: int) -> int:
    """Tokens of a context for a model with so many positions."""
    return min(BUDGET, n_ctx // SHARE)


class Terms:
    """A glossary, and when each of its terms was last seen in a transcript."""

    def __init__(self, terms: Sequence[str]) -> None:
        self.all = tuple(terms)
        self._seen: dict[str, int] = {}
        self._texts = 0
        self._sizes: dict[str, int] = {}

    def saw(self, text: str) -> None:
        """One more transcript."""
        self._texts += 1
        words = f" {_words(text)} "
        for term in self.all:
            if _occurs(term, words):
                self._seen[term] = self._texts

    def fit(self, count: Count, room: int) -> tuple[str, ...]:
        """As many terms as there is room for, in tokens, in the order of the glossary. The ones that were not
        seen for longest go first, of those the last ones of the glossary; one that alone is too long goes in
        any case.
        """
        sizes = self._sizes = self._sizes or {term: count(f", {term}") for term in self.all}
        ranked = sorted(
            (term for term in self.all if sizes[term] <= room), key=lambda term: -self._seen.get(term, 0)
        )
        kept, total = list[str](), 0
        for term in ranked:
            total += sizes[term]
            if total > room:
                break
            kept.append(term)
        while kept and count(listed(kept)) > room:  # a tokenizer may join texts badly
            kept.pop()
        within = frozenset(kept)
        return tuple(term for term in self.all if term in within)


def listed(terms: Sequence[str]) -> str:
    """Terms as an instruction lists them."""
    return ", ".join(terms)


def only_terms(text: str, terms: Sequence[str]) -> bool:
    """Is there nothing in a text but these terms, in any order and number?"""
    letters = _letters(text)
    by_first: dict[str, list[str]] = {}
    for term in terms:
        spelled = _letters(term)
        if spelled:
            by_first.setdefault(spelled[0], []).append(spelled)
    ends = [True] + [False] * len(letters)  # can terms make up the first so many letters?
    for place, first in enumerate(letters):
        if ends[place]:
            for term in by_first.get(first, ()):
                if letters.startswith(term, place):
                    ends[place + len(term)] = True
    return bool(letters) and ends[-1]


def alike(one: str, other: str) -> bool:
    """Do two texts sound alike, so that one may be the other in another spelling?"""
    from difflib import SequenceMatcher

    a, b = _letters(one), _letters(other)
    return bool(a and b) and SequenceMatcher(None, a, b, autojunk=False).ratio() >= 0.6


@lru_cache(maxsize=20_000)
def _words(text: str) -> str:
    """Its words with single spaces between them, without upper case and marks."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _letters(text: str) -> str:
    return _words(text).replace(" ", "")


def _occurs(term: str, words: str) -> bool:
    """`words` begin and end with a space. Scripts without upper case mostly have no spaces either."""
    wanted = _words(term)
    if not wanted:
        return False
    return (wanted if wanted.upper() == wanted and wanted.isalpha() else f" {wanted} ") in words
