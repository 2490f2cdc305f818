"""The words of a window's answer with their times, while its sound is still in the K/V cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.alignment import Heads, Span, sounding, spans, word_ends
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder
from gemma_audio_cli.decoding.spoken import Spoken
from gemma_audio_cli.transcript import TIMES_ESTIMATED, TIMES_FOUND, Word, words_of


class WordAligner(Protocol):
    """What finds word times."""

    def words(self, decoder: SequenceDecoder, reply: Reply, window: Window) -> tuple[Word, ...]:
        """The words of the reply to this window, which `decoder` has just given."""


class Aligner:
    """Finds word times with these heads; without any, words are spread by their length."""

    def __init__(self, heads: Heads | None) -> None:
        self.heads = heads

    def words(self, decoder: SequenceDecoder, reply: Reply, window: Window) -> tuple[Word, ...]:
        """The words of the reply to this window, which `decoder` has just given. What it holds behind its
        sound is forgotten.
        """
        spoken = reply.spoken
        if not spoken:
            return ()
        if self.heads is not None:
            weights = self.heads.mean(decoder.attention(self.heads.layers))
            ends = word_ends(weights, [word.last for word in spoken], self.heads.offset)
            found = spans(ends, window.samples)
            source = TIMES_FOUND
        else:
            found, source = spread(spoken, sounding(window.samples)), TIMES_ESTIMATED
        words = [
            Word(word.text, window.start + span.start, window.start + span.end, word.probability, source)
            for word, span in zip(spoken, found, strict=True)
        ]
        return words_of(words, reply.text)


def spread(words: Sequence[Spoken], span: Span) -> list[Span]:
    """Words from the span's start to its end, by their length."""
    total = sum(len(word.text) for word in words)
    seconds, at, found = span.end - span.start, span.start, []
    for word in words:
        end = at + seconds * len(word.text) / total
        found.append(Span(at, end))
        at = end
    return found
