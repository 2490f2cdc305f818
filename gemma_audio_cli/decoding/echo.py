"""Terms of the context that nobody said: a model that hears little writes what it was told of.

    nothing but terms? ──► the same words without the context: far less likely?
                                └──► what it hears without the context: something else? ──► that, or the flag

Words that were said and are spelled as the context spells them stay: without the context the model hears the
same thing in another spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.aligner import WordAligner
from gemma_audio_cli.decoding.context import Hints, alike, only_terms
from gemma_audio_cli.decoding.guards import Attempt, better, judged
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder, decode, likelihoods
from gemma_audio_cli.engine.audio_stream import encode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.transcript import FLAG_CONTEXT_ECHO

FALL = 2.3
"""Fall of the log-probability that makes a text suspicious: ten times less likely without the context."""

Pair = tuple[SequenceDecoder, SequenceDecoder]
"""Two sequences of one session: one with the context in its prompt, one without."""


class EchoCheck:
    """Looks for echoes of one instruction's context. Its K/V cache is opened when it is first needed."""

    def __init__(
        self,
        hints: Hints,
        open_pair: Callable[[], Pair],
        engine: Callable[[], Engine],
        options: DecodeOptions,
        aligner: WordAligner | None = None,
    ) -> None:
        """`open_pair` gives a pair on the engine that is in use then, which `engine` tells: another one takes
        the place of one whose device failed. `aligner` finds word times; None: they are not wanted.
        """
        self._aligner = aligner
        self._hints, self._open, self._engine, self._options = hints, open_pair, engine, options
        self._pair: Pair | None = None

    def checked(self, attempt: Attempt, reply: Reply, window: Window) -> Attempt:
        """A try at a window, given its reply: itself, flagged where it is an echo, or what the model hears
        without the context where that is better.
        """
        if not attempt.good or not only_terms(attempt.text, self._hints.terms):
            return attempt
        if self._pair is None or self._pair[0].engine is not self._engine():
            self._pair = self._open()
        told, untold = self._pair
        (clip,) = encode(told.engine, [window.samples])
        try:
            sounds = [decoder.prompt.sound([clip], decoder.seq) for decoder in self._pair]
            with_it, without = likelihoods(self._pair, sounds, reply.tokens)
            if with_it - without < FALL:
                return attempt
            other = self._heard(untold, window)
        finally:
            clip.close()
        if alike(other.text, attempt.text):
            return attempt
        echo = replace(attempt, flags=attempt.flags | {FLAG_CONTEXT_ECHO})
        return other if other.good else better(echo, other)

    def close(self) -> None:
        """Free the K/V cache. Closing twice is allowed."""
        if self._pair is not None:
            self._pair[0].session.close()
            self._pair = None

    def _heard(self, untold: SequenceDecoder, window: Window) -> Attempt:
        """What the model hears without the context: greedily, and without thoughts."""
        options = self._options
        untold.begin(budget=options.budget(window.seconds), sampler=options.sampler, thinking=False)
        decode([untold])
        reply = untold.reply(window.seconds)
        words = self._aligner.words(untold, reply, window) if self._aligner is not None else ()
        return replace(judged(reply, options.guards), words=words)
