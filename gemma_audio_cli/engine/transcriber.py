"""From windows to text: transcripts by the scheduler, answers to questions one at a time.

windows ──► encoder ──► prefill (prompt, clip, prompt) ──► decode ──► text filter ──► deltas, Segment
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from gemma_audio_cli.audio.windows import Window
from gemma_audio_cli.engine import prompt
from gemma_audio_cli.engine.audio_stream import AudioStream
from gemma_audio_cli.engine.data import (
    MAX_CLIP_SECONDS,
    Generation,
    Input,
    SamplerOptions,
    SessionOptions,
    whole_blocks,
)
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.guards import FLAG_TRUNCATED, TROUBLE, GuardOptions
from gemma_audio_cli.engine.incremental import Incremental
from gemma_audio_cli.engine.scheduler import Scheduler, Tag
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.text import TextFilter
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError, ModelError, TooLongError

Notice = Callable[[str], None]
FallBack = Callable[[Engine, Exception], Engine | None]
"""Another engine in place of one whose device failed, which it closes; None: there is no other."""
OnText = Callable[[str], None]

DEFAULT_SLOTS = 4
"""Decoding four windows takes little longer than one: a step reads the same weights."""


@dataclass(frozen=True)
class DecodeOptions:
    """How answers are decoded."""

    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    """Greedy unless told otherwise: what transcription wants."""
    tokens_per_second: float = 12.0
    """Budget of a transcript; quick speech needs about five tokens a second."""
    min_tokens: int = 32
    """Every transcript may be that long, however short the window."""
    max_tokens: int = 512
    """Budget of an answer to a question."""
    slots: int = DEFAULT_SLOTS
    """Windows decoded at once."""
    max_seconds: float = MAX_CLIP_SECONDS
    """Longest window that will be given."""
    guards: GuardOptions = field(default_factory=GuardOptions)
    """When a transcript is bad, and what to try then."""
    ignore_end: bool = False
    """Write the whole budget, past the end token, as benchmarks do: all engines then do the same work."""

    def budget(self, seconds: float) -> int:
        """Tokens a transcript of so many seconds may have."""
        return self.min_tokens + math.ceil(self.tokens_per_second * seconds)


@dataclass(frozen=True)
class Segment:
    """What was said in one window."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    text: str
    tokens: int = 0
    """Tokens the model wrote, its thoughts included."""
    logprob: float | None = None
    """Mean log-probability of those tokens; None where the model was not asked."""
    flags: tuple[str, ...] = ()
    """What is odd about it, sorted: see `engine.guards`. Empty where all is well."""
    channel: int | None = None
    """The channel it was heard on, from 1, where channels are transcribed apart."""

    @property
    def complete(self) -> bool:
        """False: the budget ended the answer, not the model."""
        return FLAG_TRUNCATED not in self.flags

    @property
    def reliable(self) -> bool:
        """False: no try at this window went well; the text is the best of them."""
        return not TROUBLE.intersection(self.flags)


@dataclass(frozen=True)
class Answer:
    """What the model says to a question."""

    text: str
    tokens: int
    logprob: float | None
    complete: bool


@dataclass
class _Reply:
    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    complete: bool = True

    @property
    def logprob(self) -> float | None:
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


class Transcriber:
    """Transcribes windows and answers questions with one engine."""

    def __init__(
        self,
        engine: Engine,
        options: DecodeOptions | None = None,
        *,
        notice: Notice | None = None,
        fall_back: FallBack | None = None,
    ) -> None:
        """`notice` is told, in one line, what is odd but no reason to stop. `fall_back` gives another engine
        when this one's device fails; what was under way is done again on it.
        """
        if engine.info.projector == "none":
            raise ModelError("the model was opened without its audio projector; name it with --mmproj")
        self.engine = engine
        self.options = options or DecodeOptions()
        self._notice = notice or (lambda _text: None)
        self._noticed: set[str] = set()
        self._fall_back = fall_back
        self._session: Session | None = None  # of questions
        self._scheduler: tuple[str, Scheduler] | None = None  # of transcripts, and their instruction

    def transcribe(
        self,
        windows: Iterable[Window],
        *,
        language: str | None = None,
        silence_peak: float = 1e-4,
        on_text: OnText | None = None,
    ) -> Iterator[Segment]:
        """A Segment for each window, in order; `on_text` is told the earliest one's text as it is decoded."""
        tagged = ((None, window) for window in windows)
        instruction = prompt.transcription(language)
        told = (lambda _tag, text: on_text(text)) if on_text is not None else None
        for _, segment in self.transcribe_many(tagged, instruction, silence_peak=silence_peak, on_text=told):
            yield segment

    def transcribe_many(
        self,
        windows: Iterable[tuple[Tag, Window]],
        instruction: str,
        *,
        silence_peak: float = 1e-4,
        on_text: Callable[[Tag, str], None] | None = None,
    ) -> Iterator[tuple[Tag, Segment]]:
        """Windows of any number of recordings, several at once; each tag comes back with its segment."""
        scheduler = self._schedule(instruction)
        for result in scheduler.run(windows, silence_peak=silence_peak, on_text=on_text):
            window, flags = result.window, tuple(sorted(result.flags))
            yield (
                result.tag,
                Segment(window.start, window.end, result.text, result.tokens, result.logprob, flags),
            )

    def incremental(self, instruction: str, *, answer: bool = False, step_tokens: int = 13) -> Incremental:
        """An ear for utterances up to `max_seconds` long, which are understood while they are spoken.

        `answer`: the instruction is a question, and its answer may be as long as one.
        """
        options = self.options
        return Incremental(
            self.engine,
            self._build(instruction, 1),
            budget=(lambda _seconds: options.max_tokens) if answer else options.budget,
            max_seconds=options.max_seconds,
            step_tokens=step_tokens,
            guards=options.guards,
        )

    def ask(self, question: str, windows: Iterable[Window], *, on_text: OnText | None = None) -> Answer:
        """The answer to a question about all the windows, given to the model in order, each as one clip. Of
        nothing nothing is said: the answer is empty.
        """
        windows, heard, told = iter(windows), list[Window](), list[str]()

        def remembered() -> Iterator[Window]:
            for window in windows:
                heard.append(window)
                yield window

        def tell(text: str) -> None:
            told.append(text)
            if on_text is not None:
                on_text(text)

        try:
            return self._ask(question, remembered(), tell)
        except DEVICE_FAILURES as error:
            # What a person has seen of an answer cannot be taken back.
            if told or self.replace_engine(error) is None:
                raise
        return self._ask(question, chain(heard, windows), tell)

    def _ask(self, question: str, windows: Iterable[Window], on_text: OnText) -> Answer:
        clips: list[AudioStream] = []
        try:
            for window in windows:
                clips.append(self._encode(window))
                self._check_room(sum(map(len, clips)) + self.options.max_tokens)
            clips = [clip for clip in clips if len(clip)]
            if not clips:  # too short to hear anything in: an answer would be made up
                return Answer("", 0, None, True)
            pieces = self._build(question, len(clips))
            length = self._length(pieces, clips)
            session = self._open(length + self.options.max_tokens)
            session.rewind(0)
            session.forward(_inputs(pieces, clips))
        finally:
            for clip in clips:
                clip.close()
        reply = self._decode(session, self.options.max_tokens, on_text)
        return Answer(reply.text.strip(), len(reply.logprobs), reply.logprob, reply.complete)

    def close(self) -> None:
        """Free the K/V caches; the engine stays open."""
        if self._scheduler is not None:
            self._scheduler[1].close()
            self._scheduler = None
        if self._session is not None:
            self._session.close()
            self._session = None

    # -- steps --

    def replace_engine(self, error: EngineError) -> Engine | None:
        """Another engine after the device of this one failed; its sessions are gone with it."""
        other = self._fall_back(self.engine, error) if self._fall_back is not None else None
        if other is not None:
            self.engine, self._session = other, None
        return other

    def _schedule(self, instruction: str) -> Scheduler:
        """The scheduler for this instruction: the present one where it is the same."""
        known = self._scheduler
        if known is None or known[0] != instruction or known[1].engine is not self.engine:
            if known is not None:
                known[1].close()
                self._scheduler = None
            scheduler = Scheduler(
                self.engine,
                self._build(instruction, 1),
                slots=self.options.slots,
                budget=self.options.budget,
                max_seconds=self.options.max_seconds,
                guards=self.options.guards,
                sampler=self.options.sampler,
                ignore_end=self.options.ignore_end,
                fall_back=self.replace_engine,
            )
            self._scheduler = known = (instruction, scheduler)
        return known[1]

    def _build(self, instruction: str, clips: int) -> list[prompt.Piece]:
        pieces, notice = prompt.build(self.engine, instruction, clips)
        if notice and notice not in self._noticed:
            self._noticed.add(notice)
            self._notice(notice)
        return pieces

    def _encode(self, window: Window) -> AudioStream:
        audio = self.engine.audio()
        audio.push(window.samples)
        audio.finish()
        return audio

    @staticmethod
    def _length(pieces: Sequence[prompt.Piece], clips: Sequence[AudioStream]) -> int:
        return sum(
            len(piece.ids) if isinstance(piece, prompt.Tokens) else len(clips[piece.index])
            for piece in pieces
        )

    def _check_room(self, positions: int) -> None:
        limit = self.engine.info.n_ctx_train
        if positions > limit:
            raise TooLongError(
                f"{positions} positions are needed, the model has {limit}; give shorter recordings"
            )

    def _open(self, positions: int) -> Session:
        """A session that holds so many positions: the present one where it is large enough."""
        self._check_room(positions)
        limit = self.engine.info.n_ctx_train
        if self._session is None or self._session.options.n_ctx < positions:
            self.close()
            n_ctx = min(limit, whole_blocks(positions))
            self._session = self.engine.session(SessionOptions(n_ctx=n_ctx))
        return self._session

    def _decode(self, session: Session, budget: int, on_text: OnText | None) -> _Reply:
        """The answer to the prompt whose last logits are there."""
        reply = _Reply()
        text = TextFilter(self.engine)
        session.sampler(self.options.sampler)

        def show(delta: str) -> None:
            if not reply.text:
                delta = delta.lstrip()
            if delta:
                reply.text += delta
                if on_text:
                    on_text(delta)

        def told(_index: int, token: int, logprob: float) -> bool:
            reply.logprobs.append(logprob)
            show(text.feed(token))
            return True

        token, logprob = session.sample()
        if not self.engine.is_end(token):
            told(0, token, logprob)
            generation = Generation(seq=0, next_token=token, n_max=budget - 1)
            session.generate([generation], told)
            reply.complete = generation.stop == "end"
        show(text.finish())
        return reply


def _inputs(pieces: Sequence[prompt.Piece], clips: Sequence[AudioStream], n_logits: int = 1) -> list[Input]:
    """The pieces as inputs of one forward, with logits for the last `n_logits` positions."""
    inputs = [
        Input(tokens=piece.ids) if isinstance(piece, prompt.Tokens) else Input(audio=clips[piece.index])
        for piece in pieces
    ]
    last = inputs[-1]
    inputs[-1] = Input(tokens=last.tokens, audio=last.audio, n_logits=n_logits)
    return inputs
