"""Notes to an answer: as text, in as many levels as it takes.

notes ──► too many for one prompt? ──► groups, each condensed to one ──► ... ──► the answer, in pieces
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gemma_audio_cli.decoding import notes, prompt
from gemma_audio_cli.decoding.answering import answering
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.sequence import SequenceDecoder, decode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import SamplerOptions, SessionOptions, cache_size
from gemma_audio_cli.errors import TooLongError
from gemma_audio_cli.transcript import Answer, Evidence

MOST_NOTES = 4096
"""Tokens of notes that are read at once; of more such models lose some."""
_CONDENSED = 256
"""Budget of a condensed note."""


class Reducer:
    """Answers from notes with one engine."""

    def __init__(self, engine: Engine, options: DecodeOptions) -> None:
        self._engine, self._options = engine, options
        self._layout = prompt.layout_of(engine.info.projector)

    def answer(self, question: str, found: Sequence[Evidence], parts: int) -> Iterator[str | Answer]:
        """The answer in pieces as it is decoded; the Answer comes last, with the notes as its evidence.
        `parts`: stretches that were heard. Raises TooLongError where question and answer leave no room.
        """
        shape = self._options.shape
        hint = shape.hint if shape is not None else ""
        budget = self._options.max_tokens
        lines = self._fitting(question, list(found), parts, hint)
        built = self._built(notes.answering_from(question, lines, parts) + hint)
        session = self._engine.session(SessionOptions(n_ctx=self._size(built, budget)))
        try:
            decoder = SequenceDecoder(self._engine, session, built, self._options.guards)
            answer, _ = yield from answering(decoder, self._options)
        finally:
            session.close()
        yield replace(answer, evidence=tuple(found), parts=parts)

    def tokens(self, question: str, lines: Sequence[str], parts: int) -> tuple[int, ...]:
        """The tokens that ask for an answer from these lines."""
        return self._built(notes.answering_from(question, lines, parts)).tail

    # -- steps --

    def _built(self, text: str) -> prompt.Prompt:
        return prompt.build(self._engine, text, (), self._layout)

    def _size(self, built: prompt.Prompt, budget: int) -> int:
        return cache_size(built.positions(0, budget), self._engine.info.n_ctx_train)

    def _fitting(self, question: str, found: list[Evidence], parts: int, hint: str) -> list[str]:
        """The notes as lines, condensed level by level until one prompt holds them. Every level has fewer."""
        limit = self._engine.info.n_ctx_train
        last = self._built(notes.answering_from(question, (), parts) + hint)
        between = self._built(notes.condensing(question, ()))
        taken = max(last.positions(0, self._options.max_tokens), between.positions(0, _CONDENSED))
        room = min(MOST_NOTES, limit - taken)
        if room < 0:
            raise TooLongError(f"the question and its answer leave no room for notes in {limit} positions")
        while sum(map(self._cost, found)) > room:
            groups = self._groups(found, room)
            if len(groups) >= len(found):
                raise TooLongError(f"the notes do not fit into the model's {limit} positions")
            found = [group[0] if len(group) == 1 else self._condensed(question, group) for group in groups]
        return [notes.line(note) for note in found]

    def _groups(self, found: Sequence[Evidence], room: int) -> list[list[Evidence]]:
        groups: list[list[Evidence]] = []
        left = 0
        for note in found:
            cost = self._cost(note)
            if not groups or cost > left:
                groups.append([])
                left = room
            groups[-1].append(note)
            left -= cost
        return groups

    def _cost(self, note: Evidence) -> int:
        return len(self._engine.tokenize(notes.line(note))) + 1  # and the end of its line

    def _condensed(self, question: str, group: Sequence[Evidence]) -> Evidence:
        built = self._built(notes.condensing(question, [notes.line(note) for note in group]))
        session = self._engine.session(SessionOptions(n_ctx=self._size(built, _CONDENSED)))
        try:
            decoder = SequenceDecoder(self._engine, session, built, self._options.guards)
            decoder.begin(budget=_CONDENSED, sampler=SamplerOptions(), thinking=False)
            decode([decoder])
            text = decoder.reply().text
        finally:
            session.close()
        first, last = group[0], group[-1]
        return Evidence(
            first.start,
            last.end,
            text,
            first.file if first.file == last.file else "",
            speakers=tuple(dict.fromkeys(name for note in group for name in note.speakers)),
        )
