"""The words of an answer, and the tokens that write them.

    tokens ──► text with the token of each character ──► words: first token, last token, probability

A word is what stands between spaces. Scripts without spaces (Chinese, Japanese, Thai, ...) are cut where a
token ends.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from gemma_audio_cli.decoding.text import TextFilter, TokenTexts

_NO_SPACES = ("THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True)
class Spoken:
    """One word as it was written."""

    text: str
    first: int
    """The token that begins it."""
    last: int
    """The token that ends it."""
    probability: float
    """Geometric mean of its tokens' probabilities."""


def spoken_words(engine: TokenTexts, tokens: Sequence[int], logprobs: Sequence[float]) -> list[Spoken]:
    """The words of the text that the tokens write, thoughts left out."""
    text, owner = "", list[int]()
    texts = TextFilter(engine)
    for index, token in enumerate(tokens):
        piece = texts.feed(token)
        text += piece
        owner += [index] * len(piece)
    rest = texts.finish()
    text += rest
    owner += [len(tokens) - 1] * len(rest)
    found = []
    for run in re.finditer(r"\S+", text):
        for start, end in _parts(text, owner, run.start(), run.end()):
            first, last = owner[start], owner[end - 1]
            mean = sum(logprobs[first : last + 1]) / (last + 1 - first)
            found.append(Spoken(text[start:end], first, last, math.exp(min(0.0, mean))))
    return found


def _parts(text: str, owner: Sequence[int], start: int, end: int) -> list[tuple[int, int]]:
    """A run without spaces, cut between tokens where its script has no spaces."""
    cuts = [start]
    for at in range(start + 1, end):
        if owner[at] != owner[at - 1] and (_dense(text[at - 1]) or _dense(text[at])):
            if unicodedata.category(text[at]) in ("Mn", "Mc", "Cf", "Pe", "Pf", "Po"):
                continue  # a mark or a full stop belongs to what is before it
            if text[at - 1] == "\u200d":
                continue  # a joiner holds two characters together
            cuts.append(at)
    return list(zip(cuts, [*cuts[1:], end], strict=True))


def _dense(character: str) -> bool:
    """Is it of a script that puts no spaces between words?"""
    return unicodedata.east_asian_width(character) == "W" or unicodedata.name(character, "").startswith(
        _NO_SPACES
    )
