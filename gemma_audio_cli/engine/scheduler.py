"""Many windows at once: N sequences of one K/V cache decode together, one window in each.

    windows ──► encode, prefill into a free slot ──► decode all slots together ──► results in order

Decoding reads every weight once a step, however many sequences take part; that is where several windows at
once gain. A sequence that ends makes room for the next window. The earliest unfinished window streams its
text, later ones are kept until their turn. What is decoded does not depend on the number of slots: each
window has its own sequence, sampler and guards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from gemma_audio_cli.audio.windows import Window, cut_point
from gemma_audio_cli.engine import prompt
from gemma_audio_cli.engine.ahead import Ahead, NotYet
from gemma_audio_cli.engine.data import (
    SAMPLE_RATE,
    Generation,
    Input,
    SamplerOptions,
    SessionOptions,
    clip_positions,
    whole_blocks,
)
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.guards import (
    FLAG_NO_SPEECH,
    FLAG_REPETITION,
    FLAG_SPLIT,
    TROUBLE,
    Attempt,
    GuardOptions,
    better,
    is_looping,
    judged,
    repeats,
    still_repeats,
    without_loop,
)
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.text import TextFilter
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError

Tag = TypeVar("Tag")

_AHEAD = 4
"""Windows taken in for each slot, at most: finished ones wait for a slow one before them."""


class Budget(Protocol):
    """How many tokens the transcript of a window may have."""

    def __call__(self, seconds: float) -> int:
        """Tokens for so many seconds."""


@dataclass(frozen=True)
class Result(Generic[Tag]):
    """What became of one window. `flags` are those of guards.py; empty where all is well."""

    tag: Tag
    window: Window
    text: str
    tokens: int
    logprob: float | None
    flags: frozenset[str]


@dataclass
class _Work:
    """A window, or half of one, on its way to text."""

    index: int
    window: Window
    tries: list[Attempt] = field(default_factory=list)
    parent: _Work | None = None
    halves: list[_Work] = field(default_factory=list)
    shown: str = ""
    """Text of the first try so far: what is streamed."""
    outcome: Attempt | None = None

    @property
    def has_looped(self) -> bool:
        """Did a try at this sound run into a loop?"""
        tries = [*self.tries, *(self.parent.tries if self.parent else ())]
        return any(FLAG_REPETITION in attempt.flags for attempt in tries)


@dataclass
class _Slot:
    """A sequence and the work it has, if any."""

    seq: int
    has_head: bool = False
    work: _Work | None = None
    generation: Generation | None = None
    filter: TextFilter | None = None
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    looping: bool = False


class Scheduler:
    """Transcribes windows with one engine in `slots` sequences."""

    def __init__(
        self,
        engine: Engine,
        pieces: Sequence[prompt.Piece],
        *,
        slots: int,
        budget: Budget,
        max_seconds: float,
        guards: GuardOptions | None = None,
        sampler: SamplerOptions | None = None,
        ignore_end: bool = False,
        fall_back: Callable[[EngineError], Engine | None] | None = None,
    ) -> None:
        """`pieces`: the prompt of one clip. Opens a session large enough for clips of `max_seconds`.
        `fall_back` gives the engine to go on with when the device of this one fails.
        """
        self._engine = engine
        self._guards = guards or GuardOptions()
        self._sampler = sampler or SamplerOptions()
        self._budget = budget
        self._ignore_end = ignore_end
        self._head, self._tail = prompt.around_clip(pieces)
        words = len(self._head) + len(self._tail) + budget(max_seconds)
        n_ctx = min(words + clip_positions(max_seconds), engine.info.n_ctx_train)
        self._options = SessionOptions(n_ctx=whole_blocks(n_ctx), n_seq=slots)
        self._fall_back = fall_back
        try:
            self._session: Session = engine.session(self._options)
        except DEVICE_FAILURES as error:
            self._go_on_elsewhere(error)
        self._slots = [_Slot(seq) for seq in range(slots)]
        self._waiting: deque[_Work] = deque()

    def close(self) -> None:
        """Free the K/V cache."""
        self._session.close()

    def run(
        self,
        windows: Iterable[tuple[Tag, Window]],
        *,
        silence_peak: float = 0.0,
        on_text: Callable[[Tag, str], None] | None = None,
    ) -> Iterator[Result[Tag]]:
        """A Result for each window, in order. `tag` is the caller's: it comes back with the result.

        `on_text` is told each window's text in pieces, before its result: as it is decoded where it is the
        earliest unfinished one, else at once. Of a window that is tried again it hears the first try only.
        """
        source = Ahead(windows, size=len(self._slots))
        try:
            yield from self._run(source, silence_peak, on_text)
        finally:
            source.close()

    def _run(
        self,
        source: Ahead[tuple[Tag, Window]],
        silence_peak: float,
        on_text: Callable[[Tag, str], None] | None,
    ) -> Iterator[Result[Tag]]:
        ended = False
        live: dict[int, tuple[Tag, _Work]] = {}
        taken = done = 0  # windows taken in, given out
        while True:
            while not ended and self._wants_more(len(live)):
                try:
                    # A live source may have nothing for a long time: only who has nothing to do waits for it.
                    tag, window = source.next(wait=not live)
                except NotYet:
                    break
                except StopIteration:
                    ended = True
                    break
                work = _Work(taken, window)
                live[taken] = (tag, work)
                taken += 1
                if window.peak < silence_peak:
                    work.outcome = Attempt("", (), frozenset((FLAG_NO_SPEECH,)))
                else:
                    self._waiting.append(work)
            try:
                self._fill()
            except DEVICE_FAILURES as error:
                self._start_over(error)
                continue
            while done in live and live[done][1].outcome is not None:
                tag, work = live.pop(done)
                done += 1
                result = self._result(tag, work)
                if on_text is not None and result.text.startswith(work.shown):
                    rest = result.text[len(work.shown) :]
                    if rest:  # it was finished before its turn came
                        on_text(tag, rest)
                yield result
            if not live and ended:
                return
            if any(slot.work for slot in self._slots):
                show = partial(on_text, live[done][0]) if on_text is not None else None
                more = not ended and self._wants_more(len(live))
                try:
                    self._step(done, show, source.ready if more else None)
                except DEVICE_FAILURES as error:
                    self._start_over(error)

    def _wants_more(self, live: int) -> bool:
        free = sum(slot.work is None for slot in self._slots)
        return free > len(self._waiting) and live < _AHEAD * len(self._slots)

    @property
    def engine(self) -> Engine:
        """The one that does the work."""
        return self._engine

    # -- a device that fails --

    def _go_on_elsewhere(self, error: EngineError) -> None:
        """Another engine and its session, or the error."""
        engine = self._fall_back(error) if self._fall_back is not None else None
        if engine is None:
            raise error
        self._engine = engine
        self._session = engine.session(self._options)

    def _start_over(self, error: EngineError) -> None:
        """Go on elsewhere; what was in the slots waits again, before the rest."""
        self._go_on_elsewhere(error)
        under_way = [slot.work for slot in self._slots if slot.work is not None]
        self._slots = [_Slot(slot.seq) for slot in self._slots]
        self._waiting.extendleft(sorted(under_way, key=lambda work: -work.index))

    # -- one window's way --

    def _fill(self) -> None:
        """Give waiting work to free slots: encode, prefill, first token."""
        for slot in self._slots:
            if slot.work is None and self._waiting:
                work = self._waiting.popleft()
                try:
                    self._start(slot, work)
                except DEVICE_FAILURES:
                    slot.work = None
                    self._waiting.appendleft(work)
                    raise

    def _start(self, slot: _Slot, work: _Work) -> None:
        audio = self._engine.audio()
        try:
            audio.push(work.window.samples)
            audio.finish()
            if not len(audio):
                self._settle(work, Attempt("", (), frozenset((FLAG_NO_SPEECH,))))
                return
            head = [] if slot.has_head else [Input(slot.seq, tokens=self._head)]
            self._session.rewind(len(self._head) if slot.has_head else 0, seq=slot.seq)
            self._session.forward(
                [*head, Input(slot.seq, audio=audio), Input(slot.seq, tokens=self._tail, n_logits=1)]
            )
            slot.has_head = True
        finally:
            audio.close()
        attempt = len(work.tries)
        warm = self._guards.attempts[min(attempt, len(self._guards.attempts) - 1)]
        base = self._sampler
        # A try's seed depends on the window alone, so that the number of slots does not matter.
        seed = base.seed + 1000 * work.index + attempt
        options = SamplerOptions(
            max(base.temperature, warm), base.top_k, base.top_p, base.min_p, seed, base.grammar
        )
        self._session.sampler(options, seq=slot.seq)
        slot.work, slot.filter, slot.text = work, TextFilter(self._engine), ""
        slot.tokens, slot.logprobs, slot.looping = [], [], False
        token, logprob = self._session.sample(0, seq=slot.seq)
        budget = self._budget(work.window.seconds)
        slot.generation = Generation(slot.seq, token, budget - 1, ignore_end=self._ignore_end)
        if self._engine.is_end(token) and not self._ignore_end:
            slot.generation.stop = "end"
            self._finish(slot)
        else:
            self._told(slot, token, logprob)

    def _step(
        self, earliest: int, on_text: Callable[[str], None] | None, interrupted: Callable[[], bool] | None
    ) -> None:
        """Decode all busy slots until one has finished, or until `interrupted`: a free slot has work."""
        busy = [slot for slot in self._slots if slot.work is not None]

        def show(slot: _Slot) -> None:
            work = slot.work
            if on_text is None or work is None or work.index != earliest or work.tries or work.parent:
                return
            if len(slot.text) > len(work.shown):
                on_text(slot.text[len(work.shown) :])
                work.shown = slot.text

        def told(index: int, token: int, logprob: float) -> bool | None:
            self._told(busy[index], token, logprob)
            show(busy[index])
            if busy[index].looping:
                return False
            return None if interrupted is not None and interrupted() else True

        for slot in busy:
            show(slot)
        generations = [slot.generation for slot in busy if slot.generation is not None]
        self._session.generate(generations, told, return_on_stop=True)
        for slot in busy:
            if slot.generation is not None and slot.generation.stop != "running":
                self._finish(slot)

    def _told(self, slot: _Slot, token: int, logprob: float) -> None:
        assert slot.filter is not None
        slot.tokens.append(token)
        slot.logprobs.append(logprob)
        slot.text = (slot.text + slot.filter.feed(token)).lstrip()
        slot.looping = is_looping(slot.tokens, self._guards)

    def _finish(self, slot: _Slot) -> None:
        """The slot's answer has ended: judge it, free the slot, and settle or queue the work again."""
        work, generation = slot.work, slot.generation
        assert work is not None
        assert generation is not None
        assert slot.filter is not None
        text = (slot.text + slot.filter.finish()).strip()
        looping = slot.looping or repeats(slot.tokens, work.window.seconds, self._guards)
        if work.has_looped:
            looping = looping or still_repeats(slot.tokens, self._guards)
        if looping:
            text = self._text_of(slot.tokens[: without_loop(slot.tokens, self._guards)])
        truncated = generation.stop == "budget"
        attempt = judged(text, slot.logprobs, self._guards, looping=looping, truncated=truncated)
        slot.work = slot.generation = slot.filter = None
        self._judge(work, attempt)

    def _text_of(self, tokens: Sequence[int]) -> str:
        text = TextFilter(self._engine)
        return ("".join([text.feed(token) for token in tokens]) + text.finish()).strip()

    def _judge(self, work: _Work, attempt: Attempt) -> None:
        work.tries.append(attempt)
        if attempt.good:
            self._settle(work, attempt)
        elif len(work.tries) < len(self._guards.attempts):
            self._waiting.appendleft(work)
        elif work.parent is None and self._may_split(work.window):
            self._split(work)
        else:
            best = work.tries[0]
            for other in work.tries[1:]:
                best = better(best, other)
            self._settle(work, best)

    def _may_split(self, window: Window) -> bool:
        return self._guards.split and window.seconds >= self._guards.min_split_seconds

    def _split(self, work: _Work) -> None:
        """Try the two halves, cut where it is quietest near the middle."""
        samples, n = work.window.samples, len(work.window.samples)
        at = cut_point(samples[: n * 3 // 4], n // 4)
        first = Window(work.window.start, samples[:at])
        second = Window(work.window.start + at / SAMPLE_RATE, samples[at:])
        work.halves = [_Work(work.index, half, parent=work) for half in (first, second)]
        self._waiting.extendleft(reversed(work.halves))

    def _settle(self, work: _Work, attempt: Attempt) -> None:
        """The work has its outcome; the second half to have one settles the whole window."""
        work.outcome = attempt
        whole = work.parent
        if whole is None or any(half.outcome is None for half in whole.halves):
            return
        outcomes = [half.outcome for half in whole.halves if half.outcome is not None]
        text = " ".join(outcome.text for outcome in outcomes if outcome.text)
        flags = frozenset((FLAG_SPLIT,)).union(*(outcome.flags & TROUBLE for outcome in outcomes))
        joined = Attempt(text, outcomes[0].logprobs + outcomes[1].logprobs, flags)
        if not joined.good:
            for other in whole.tries:
                joined = better(joined, other)
        whole.outcome = joined

    @staticmethod
    def _result(tag: Tag, work: _Work) -> Result[Tag]:
        assert work.outcome is not None
        outcome = work.outcome
        flags = outcome.flags if outcome.text else outcome.flags | {FLAG_NO_SPEECH}
        return Result(tag, work.window, outcome.text, len(outcome.logprobs), outcome.mean_logprob, flags)
