"""Questions about sound that is heard once.

    hear(windows) ──► encoder, prefill; stays in the K/V cache
    ask(question) ──► the question's own tokens, then the answer; back to the sound, or on from the last turn

The sound stands before the questions here: what is computed for it holds for every question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.answering import answering
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.sequence import SequenceDecoder
from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.engine.audio_stream import AudioStream, encode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import SessionOptions, cache_size
from gemma_audio_cli.errors import Notice, TooLongError, no_notice
from gemma_audio_cli.formatting import hms
from gemma_audio_cli.transcript import Answer

_ROOM = 2048
"""Positions for questions and answers behind the sound, where the model's context has them."""


def check_room(engine: Engine, prompt: int, answer: int) -> None:
    """Raises TooLongError where a prompt of so many positions and an answer of so many tokens do not fit into
    the model's context.
    """
    limit = engine.info.n_ctx_train
    if prompt + answer > limit:
        raise TooLongError(
            f"{prompt + answer} positions are needed, {answer} of them for the answer, and the model has "
            f"{limit}; hear less (--start, --end), or allow a shorter answer (--max-tokens)"
        )


def by_time(window: Window) -> str:
    """The stretch a window covers: 0:00:30-0:00:58."""
    return f"{hms(window.start)}-{hms(window.end)}"


@dataclass(frozen=True)
class Turn:
    """A question and the tokens of its answer, without thoughts."""

    question: str
    answer: tuple[int, ...]


class Conversation:
    """Any number of questions about one or several recordings. Close it."""

    def __init__(
        self,
        engine: Engine,
        options: DecodeOptions,
        *,
        remember: bool = False,
        notice: Notice = no_notice,
    ) -> None:
        """`remember`: each question follows the turns before it. Else each is put to the sound alone."""
        self._engine, self._options, self._remember, self._notice = engine, options, remember, notice
        self._layout = prompt.layout_of(engine.info.projector, audio_first=True)
        self._labels: list[str] = []
        self._decoder: SequenceDecoder | None = None
        self._sound = 0  # positions, behind the prompt's head
        self._held: list[int] = []  # tokens in the K/V cache, behind the sound
        self._turns: list[Turn] = []
        self._outgrown = False  # and told of

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that the next question follows."""
        return tuple(self._turns)

    def hear(self, windows: Iterable[tuple[str, Window]]) -> bool:
        """Takes in the sound, each window as one clip with its label, a recording's name or a time. False:
        there is too little to hear anything in.
        Raises TooLongError where it and one answer do not fit into the model's context.
        """
        self.unhear()
        clips: list[AudioStream] = []
        with ExitStack() as stack:
            for label, window in windows:
                (clip,) = encode(self._engine, [window.samples])
                stack.callback(clip.close)
                if len(clip):
                    clips.append(clip)
                    self._labels.append(label)
                    check_room(self._engine, sum(map(len, clips)), self._options.max_tokens)
            if not clips:
                return False
            built = self._built("")
            positions = built.positions(sum(map(len, clips)), self._options.max_tokens)
            check_room(self._engine, positions - self._options.max_tokens, self._options.max_tokens)
            limit = self._engine.info.n_ctx_train
            session = self._engine.session(SessionOptions(n_ctx=cache_size(positions + _ROOM, limit)))
            self._decoder = SequenceDecoder(self._engine, session, built, self._options.guards)
            self._decoder.prefill(built.sound(clips))
            self._sound = session.length() - len(built.head)
        return True

    def ask(self, question: str, *, temperature: float = 0.0, seed: int = 0) -> Iterator[str | Answer]:
        """The answer in pieces of text as it is decoded; the Answer comes last. Of nothing nothing is said.
        Raises TooLongError where the question does not fit into the model's context. An answer that nobody
        reads to its end is forgotten. `temperature`: at least so warm.
        """
        decoder = self._decoder
        if decoder is None:
            yield Answer("", 0, None, True)
            return
        wanted = self._wanted(question + self._hint)
        same = 0
        while same < min(len(wanted) - 1, len(self._held)) and wanted[same] == self._held[same]:
            same += 1
        decoder.keep(self._sound + same)
        self._held = wanted[:same]
        decoder.prompt = replace(decoder.prompt, tail=tuple(wanted[same:]))
        options = self._options
        if temperature > options.sampler.temperature:
            options = replace(options, sampler=replace(options.sampler, temperature=temperature, seed=seed))
        answer, tokens = yield from answering(decoder, options)
        fed = decoder.session.length() - len(decoder.prompt.head) - self._sound
        self._held = [*wanted, *tokens][:fed]
        if self._remember:
            self._turns.append(Turn(question, self._without_thoughts(answer, tokens)))
        yield answer

    def shape(self, shape: Shape) -> None:
        """What the answers from now on look like."""
        self._options = replace(self._options, shape=shape)

    def forget(self) -> None:
        """Drop all turns; the sound stays."""
        self._turns, self._outgrown = [], False

    def drop_last(self) -> Turn | None:
        """Take back the last turn; None: there is none."""
        return self._turns.pop() if self._turns else None

    @property
    def hears_something(self) -> bool:
        """Is there sound to ask about?"""
        return self._decoder is not None

    def unhear(self) -> None:
        """Forget the sound, and free the K/V cache; the turns stay."""
        if self._decoder is not None:
            self._decoder.session.close()
        self._decoder, self._labels, self._held = None, [], []

    def move(self, engine: Engine) -> None:
        """Go on with another engine of the same model. The turns stay, the sound has to be heard again."""
        self.unhear()
        self._engine = engine

    def close(self) -> None:
        """Forget everything."""
        self.unhear()
        self.forget()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- steps --

    @property
    def _hint(self) -> str:
        return self._options.shape.hint if self._options.shape is not None else ""

    def _built(self, question: str) -> prompt.Prompt:
        return prompt.build(self._engine, question, self._labels, self._layout)

    def _wanted(self, question: str) -> list[int]:
        """All tokens behind the sound, up to where the answer begins. The oldest turns go where the context
        is too small for them.
        """
        assert self._decoder is not None
        room = self._decoder.session.options.n_ctx - len(self._decoder.prompt.head) - self._sound
        while True:
            wanted: list[int] = []
            for turn in self._turns:
                wanted += [*self._asked(turn.question, first=not wanted), *turn.answer]
            wanted += self._asked(question, first=not wanted)
            if len(wanted) + self._options.max_tokens <= room:
                return wanted
            if not self._turns:
                raise TooLongError(f"the question is too long: it has {len(wanted)} tokens")
            self._turns.pop(0)
            if not self._outgrown:
                self._outgrown = True
                self._notice(
                    "the conversation outgrew the model's context; from now on its oldest turns are forgotten"
                )

    def _asked(self, question: str, *, first: bool) -> tuple[int, ...]:
        """The question with the marks around it: what ends the clip or the answer before it, and what begins
        its own answer.
        """
        if first:
            return self._built(question).tail
        return prompt.follow_up(self._engine, question, self._layout)

    def _without_thoughts(self, answer: Answer, tokens: tuple[int, ...]) -> tuple[int, ...]:
        if any(self._engine.is_control(token) for token in tokens):
            return tuple(self._engine.tokenize(answer.text))
        return tokens
