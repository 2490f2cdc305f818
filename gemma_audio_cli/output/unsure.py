"""Words that the model itself is not sure of, marked in texts for people.

text, words with probabilities ──► see [?Käthe] there             files, pipes
                               ──► the word dim and underlined    terminals
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.transcript import Segment, Word, Written

BELOW = 0.5
"""The probability below which a word is marked, if nobody says otherwise."""
_STYLE = "dim underline"

W = TypeVar("W", Word, Written)
Mark = Callable[[str], str]


def bracketed(word: str) -> str:
    """The mark in texts without styles."""
    return f"[?{word}]"


def underlined(word: str) -> str:
    """The mark on a terminal."""
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(_STYLE).render(word, color_system=ColorSystem.STANDARD)


def mark_for(sink: object) -> Mark:
    """The mark for what is written there: is it a terminal that can underline words?"""
    isatty = getattr(sink, "isatty", None)
    if isatty is None or not isatty():
        return bracketed
    from rich.console import Console

    console = Console()  # it knows about kinds of terminals
    return bracketed if console.is_dumb_terminal or console.legacy_windows else underlined


@dataclass(frozen=True)
class Unsure:
    """Which words are marked, and how."""

    below: float = BELOW
    mark: Mark | None = None
    """None: brackets, and a style where text goes to a terminal."""

    def __post_init__(self) -> None:
        if not 0 < self.below <= 1:
            raise UsageError(f"--unsure-below must be more than 0 and at most 1, not {self.below:g}")

    def marked(self, text: str, words: Sequence[W]) -> tuple[str, tuple[W, ...]]:
        """The text, and its words, with marks. `words` are those the text begins with; behind them nothing is
        marked.
        """
        mark = self.mark or bracketed
        done, at = "", 0
        found: list[W] = []
        for word in words:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            if not word.text or not text.startswith(word.text, start):
                break
            shown = mark(word.text) if word.probability < self.below else word.text
            done += text[at:start] + shown
            at = start + len(word.text)
            found.append(replace(word, text=shown))
        return done + text[at:], tuple(found + list(words[len(found) :]))

    def text(self, text: str, segment: Segment) -> str:
        """The text of a segment with marks, whether or not its words have times."""
        if segment.words:
            return self.marked(text, segment.words)[0]
        return self.marked(text, segment.written)[0]
