"""One engine at work: windows to segments, utterances while they are spoken, questions to answers.

    windows ──► Scheduler ──► Segment          utterances ──► Incremental          clips ──► Answer

What all of them share is here: the prompt, the size of the K/V caches, and what happens when the device
fails while computing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.aligner import Aligner, WordAligner
from gemma_audio_cli.decoding.alignment import Heads
from gemma_audio_cli.decoding.answering import answering, in_shape
from gemma_audio_cli.decoding.calibration import calibrate
from gemma_audio_cli.decoding.context import Hints
from gemma_audio_cli.decoding.conversation import Conversation, by_time, check_room
from gemma_audio_cli.decoding.echo import EchoCheck
from gemma_audio_cli.decoding.forced import ForcedAligner
from gemma_audio_cli.decoding.guards import judged
from gemma_audio_cli.decoding.incremental import Incremental
from gemma_audio_cli.decoding.options import FORCED_ALIGNER, DecodeOptions
from gemma_audio_cli.decoding.scheduler import Check, Delta, Result, Scheduler, Tag
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder
from gemma_audio_cli.engine.audio_stream import AudioStream, encode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import SessionOptions, cache_size, clip_positions
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError, ModelError, Notice, no_notice
from gemma_audio_cli.transcript import Answer, Segment

FallBack = Callable[[Engine, Exception], Engine | None]
"""Another engine in place of one whose device failed, which it closes; None: there is no other."""
FindHeads = Callable[[Engine, prompt.Layout], Heads | None]
"""The attention heads of a model that follow speech; None: it has none."""
OnText = Callable[[str], None]

NO_HEADS = "this model does not show when it heard a word; word times are estimated from the text"


class Transcriber:
    """Transcribes windows and answers questions with one engine."""

    def __init__(
        self,
        engine: Engine,
        options: DecodeOptions | None = None,
        *,
        notice: Notice | None = None,
        fall_back: FallBack | None = None,
        find_heads: FindHeads = calibrate,
    ) -> None:
        """`notice` gets, in one line, what is odd but no reason to stop. `fall_back` gives another engine
        when this one's device fails; what was under way is done again on it. `find_heads` gives the heads
        that word times are found with, where the options want those.
        """
        if engine.info.projector == "none":
            raise ModelError("the model was opened without its audio projector; name it with --mmproj")
        self.engine = engine
        self.options = options or DecodeOptions()
        self._notice = notice or no_notice
        self._noticed: set[str] = set()
        self._fall_back, self._find_heads = fall_back, find_heads
        self._aligner: WordAligner | None = None
        self._scheduler: tuple[tuple[str, Hints | None], Scheduler] | None = None  # and its instruction
        self._echo: EchoCheck | None = None  # of that scheduler
        self._asked: SequenceDecoder | None = None  # of questions

    def transcribe(
        self,
        windows: Iterable[Window],
        *,
        language: str | None = None,
        silence_peak: float = 1e-4,
        on_text: OnText | None = None,
    ) -> Iterator[Segment]:
        """A Segment for each window of one recording, in order; see `transcribe_many`."""
        tagged = ((None, window) for window in windows)
        found = self.transcribe_many(
            tagged, prompt.transcription(language), silence_peak=silence_peak, stream=on_text is not None
        )
        for item in found:
            if isinstance(item, Result):
                yield item.segment
            elif on_text is not None:
                on_text(item.text)

    def transcribe_many(
        self,
        windows: Iterable[tuple[Tag, Window]],
        instruction: str,
        *,
        silence_peak: float = 1e-4,
        stream: bool = False,
        hints: Hints | None = None,
    ) -> Iterator[Delta[Tag] | Result[Tag]]:
        """A Result for each window of any number of recordings, in order, several at once; each tag comes
        back with its result. With `stream` the earliest unfinished one's text comes in Deltas before.
        `hints`: what the instruction says may occur; terms of it that nobody said are looked for.
        """
        scheduler = self._schedule(instruction, hints)
        return scheduler.run(windows, silence_peak=silence_peak, stream=stream)

    def incremental(self, instruction: str, *, answer: bool = False, step_tokens: int = 13) -> Incremental:
        """Understands utterances up to `max_seconds` long while they are spoken.

        `answer`: the instruction is a question, and its answer may be as long as one.
        """
        options = self.options
        self._word_aligner()  # what it has to find out takes seconds: not when somebody has spoken
        budget = (lambda _seconds: options.max_tokens) if answer else options.budget
        (decoder,) = self._decoders(instruction, 1, budget(options.max_seconds))
        sampler = options.sampler
        if answer and options.shape is not None:
            sampler = replace(sampler, grammar=options.shape.grammar)
        return Incremental(decoder, budget, step_tokens=step_tokens, sampler=sampler)

    def segment(
        self,
        window: Window,
        reply: Reply,
        decoder: SequenceDecoder,
        *,
        again: bool,
        check: Check | None = None,
    ) -> Segment:
        """The reply to a window as a segment. Where it went wrong and `again`, `decoder` tries once more.
        `check` has the last word on a try, as `echo_check` gives one. Where word times are wanted, `decoder`
        still holds the window's sound.
        """
        attempt = judged(reply, self.options.guards)
        shape = self.options.shape
        if shape is not None:  # what is not whole, or does not fit, is no answer
            return Result(None, window, in_shape(attempt, shape)).segment
        aligner = self._word_aligner()
        if aligner is not None:
            attempt = replace(attempt, words=aligner.words(decoder, reply, window))
        if check is not None:
            attempt = check(attempt, reply, window)
        if attempt.good or not again or not self.options.guards.tries_again:
            return Result(None, window, attempt).segment
        scheduler = Scheduler([decoder], self.options, check=check, aligner=aligner)
        return scheduler.retry(window, attempt).segment

    def echo_check(self, instruction: str, hints: Hints) -> EchoCheck:
        """Looks for terms of the instruction that nobody said. Close it before the engine."""

        def open_pair() -> tuple[SequenceDecoder, SequenceDecoder]:
            prompts = [self._prompt(instruction), self._prompt(hints.without)]
            longest, budget = self.options.max_seconds, self.options.budget(self.options.max_seconds)
            positions = max(built.positions(clip_positions(longest), budget) for built in prompts)
            session, guards = self._session(positions, 2), self.options.guards
            first, second = (
                SequenceDecoder(self.engine, session, built, guards, seq) for seq, built in enumerate(prompts)
            )
            return first, second

        return EchoCheck(hints, open_pair, lambda: self.engine, self.options, self._word_aligner())

    def ask(self, question: str, windows: Iterable[Window], *, on_text: OnText | None = None) -> Answer:
        """The answer to a question about all the windows, given to the model in order, each as one clip. Of
        nothing nothing is said: the answer is empty.
        """
        for item in self.answer(question, windows):
            if isinstance(item, Answer):
                return item
            if on_text is not None:
                on_text(item)
        raise AssertionError("an answer ends with an Answer")

    def answer(self, question: str, windows: Iterable[Window]) -> Iterator[str | Answer]:
        """As `ask`, in pieces of text as it is decoded; the Answer comes last."""
        windows, heard, shown = iter(windows), list[Window](), False

        def remembered() -> Iterator[Window]:
            for window in windows:
                heard.append(window)
                yield window

        try:
            for item in self._answer(question, remembered()):
                shown = True
                yield item
        except DEVICE_FAILURES as error:
            # What a person has seen of an answer cannot be taken back.
            if shown or self.replace_engine(error) is None:
                raise
        else:
            return
        yield from self._answer(question, chain(heard, windows))

    def conversation(self, *, remember: bool = False) -> Conversation:
        """Several questions about sound that is heard once; see there. Close it before the engine."""
        return Conversation(self.engine, self.options, remember=remember, notice=self._notice)

    def close(self) -> None:
        """Free the K/V caches; the engine stays open."""
        self._close_scheduler()
        if self._asked is not None:
            self._asked.session.close()
            self._asked = None

    def replace_engine(self, error: EngineError) -> Engine | None:
        """Another engine after the device of this one failed; its sessions are gone with it."""
        other = self._fall_back(self.engine, error) if self._fall_back is not None else None
        if other is not None:
            self.engine, self._asked = other, None
        return other

    # -- steps --

    @property
    def _layout(self) -> prompt.Layout:
        return prompt.layout_of(self.engine.info.projector, audio_first=self.options.audio_first)

    def _word_aligner(self) -> WordAligner | None:
        """What finds word times; None where they are not wanted."""
        if not self.options.word_times:
            return None
        if self._aligner is None and self.options.aligner == FORCED_ALIGNER:
            self._aligner = ForcedAligner()
        if self._aligner is None:
            heads = self._find_heads(self.engine, self._layout)
            self._aligner = Aligner(heads)
            if heads is None:
                self._notice(NO_HEADS)
        return self._aligner

    def _prompt(self, instruction: str, labels: Sequence[str] = ("",)) -> prompt.Prompt:
        built = prompt.build(self.engine, instruction, labels, self._layout)
        if built.notice and built.notice not in self._noticed:
            self._noticed.add(built.notice)
            self._notice(built.notice)
        return built

    def _decoders(self, instruction: str, slots: int, budget: int) -> list[SequenceDecoder]:
        """Sequences of a new session, each large enough for the longest clip and its answer. All hold the
        prompt's head, which is computed once.
        """
        built = self._prompt(instruction)
        session = self._session(built.positions(clip_positions(self.options.max_seconds), budget), slots)
        guards = self.options.guards
        decoders = [SequenceDecoder(self.engine, session, built, guards, seq) for seq in range(slots)]
        first, *others = decoders
        first.prefill(())
        for decoder in others:
            decoder.copy_head(first)
        return decoders

    def _session(self, positions: int, slots: int = 1) -> Session:
        """K/V caches that hold so many positions for each sequence, in whole blocks."""
        size = cache_size(positions, self.engine.info.n_ctx_train)
        return self.engine.session(SessionOptions(n_ctx=size, n_seq=slots))

    def _schedule(self, instruction: str, hints: Hints | None) -> Scheduler:
        """The scheduler for this instruction: the present one where it is the same."""
        known, wanted = self._scheduler, (instruction, hints)
        if known is not None and known[0] == wanted and known[1].decoders[0].engine is self.engine:
            return known[1]
        self._close_scheduler()
        budget = self.options.budget(self.options.max_seconds)

        def open_decoders() -> list[SequenceDecoder]:
            return self._decoders(instruction, self.options.slots, budget)

        def recover(error: EngineError) -> list[SequenceDecoder]:
            if self.replace_engine(error) is None:
                raise error
            return open_decoders()

        try:
            decoders = open_decoders()
        except DEVICE_FAILURES as error:
            decoders = recover(error)
        if hints is not None:
            self._echo = self.echo_check(instruction, hints)
        check = self._echo.checked if self._echo else None
        scheduler = Scheduler(decoders, self.options, recover, check, self._word_aligner())
        self._scheduler = (wanted, scheduler)
        return scheduler

    def _close_scheduler(self) -> None:
        if self._echo is not None:
            self._echo.close()
            self._echo = None
        if self._scheduler is not None:
            self._scheduler[1].decoders[0].session.close()
            self._scheduler = None

    # -- questions --

    def _answer(self, question: str, windows: Iterable[Window]) -> Iterator[str | Answer]:
        clips: list[AudioStream] = []
        labels: list[str] = []
        budget = self.options.max_tokens
        try:
            for window in windows:
                (clip,) = encode(self.engine, [window.samples])
                if not len(clip):
                    clip.close()
                    continue
                clips.append(clip)
                labels.append(by_time(window))
                check_room(self.engine, sum(map(len, clips)), budget)
            if not clips:  # too short to hear anything in: an answer would be made up
                yield Answer("", 0, None, True)
                return
            shape = self.options.shape
            built = self._prompt(question + (shape.hint if shape is not None else ""), labels)
            decoder = self._asking(built, sum(map(len, clips)), budget)
            decoder.reset()
            answer, _ = yield from answering(decoder, self.options, built.sound(clips))
        finally:
            for clip in clips:
                clip.close()
        yield answer

    def _asking(self, built: prompt.Prompt, clip_tokens: int, budget: int) -> SequenceDecoder:
        """A sequence that holds so much sound and answer: in the present session where it is large enough."""
        positions = built.positions(clip_tokens, budget)
        check_room(self.engine, positions - budget, budget)
        session = self._asked.session if self._asked is not None else None
        if session is None or session.options.n_ctx < positions:
            self.close()
            session = self._session(positions)
        self._asked = SequenceDecoder(self.engine, session, built, self.options.guards)
        return self._asked
