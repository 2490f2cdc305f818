"""One pass over a long recording: every stretch of it is asked all questions, several stretches at once.

    windows ──► packed ──► Stretch ──► rows, prefilled into a free slot ──► question after question ──► Noted

A stretch's sound is encoded and prefilled once; each question is asked behind it and taken back again. So a
note does not depend on what else is asked, nor on the number of slots. Notes come in the order of the
stretches; memory is that of the slots, whatever the length of the recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.guards import Attempt, judged
from gemma_audio_cli.decoding.hearing import Hearing
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.prefetch import NotReady, Prefetcher
from gemma_audio_cli.decoding.sequence import SequenceDecoder, decode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import SamplerOptions, SessionOptions, cache_size, clip_positions
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError, TooLongError
from gemma_audio_cli.formatting import stretch as span
from gemma_audio_cli.sound import TOKENS_A_SECOND

Tag = TypeVar("Tag")
NOTE_TOKENS = 96
"""Budget of a note: two sentences."""
LABEL_SECONDS = 1.0
"""What the label of a window counts for in the length of a stretch: it has fewer tokens than that much
sound."""
_AHEAD = 4
_MOST_POSITIONS = 16_384
"""Of all slots together: with E2B some 300 MB of keys and values."""


@dataclass(frozen=True)
class Stretch(Generic[Tag]):
    """Consecutive windows of one recording that are heard together."""

    tag: Tag
    windows: tuple[Window, ...]

    @property
    def start(self) -> float:
        """Seconds from the recording's start."""
        return self.windows[0].start

    @property
    def end(self) -> float:
        """Seconds from the recording's start."""
        return self.windows[-1].end


def packed(windows: Iterable[tuple[Tag, Window]], seconds: float) -> Iterator[Stretch[Tag]]:
    """As many windows of a recording as fit into so many seconds, from the first one's start to the last
    one's end and with their labels; one at least.
    """
    held: list[Window] = []
    tag: Tag | None = None
    for of, window in windows:
        if held and (of != tag or not _fits([*held, window], seconds)):
            yield Stretch(tag, tuple(held))  # type: ignore[arg-type]  # it is that of the windows held
            held = []
        tag = of
        held.append(window)
    if held:
        yield Stretch(tag, tuple(held))  # type: ignore[arg-type]


def _fits(windows: Sequence[Window], seconds: float) -> bool:
    heard = sum(window.seconds + LABEL_SECONDS for window in windows)
    return max(heard, windows[-1].end - windows[0].start) <= seconds


@dataclass(frozen=True)
class Noted(Generic[Tag]):
    """What the model wrote on a stretch."""

    stretch: Stretch[Tag]
    attempts: tuple[Attempt, ...]
    """One a question; none where the stretch is too short to hear anything in."""


@dataclass(eq=False)
class _Work(Generic[Tag]):
    stretch: Stretch[Tag]
    attempts: list[Attempt] = field(default_factory=list)
    done: bool = False


@dataclass(eq=False)
class _Slot(Generic[Tag]):
    seq: int
    work: _Work[Tag] | None = None
    decoder: SequenceDecoder | None = None
    tails: tuple[tuple[int, ...], ...] = ()
    sound: int = 0
    """Positions behind the prompt's head."""


class Mapper(Generic[Tag]):
    """Asks stretches of up to `seconds` seconds."""

    def __init__(
        self,
        engine: Engine,
        questions: Sequence[str],
        options: DecodeOptions,
        hearing: Hearing,
        seconds: float,
        recover: Callable[[EngineError], Engine],
    ) -> None:
        """`questions`: what a stretch is asked, word for word. `recover` gives another engine in place of one
        whose device failed, or raises. Raises TooLongError where a stretch does not fit into the context.
        """
        self._engine, self._questions, self._options = engine, questions, options
        self._hearing, self._seconds, self._recover = hearing, seconds, recover
        self._waiting: deque[_Work[Tag]] = deque()
        self._session: Session | None = None
        self._slots: list[_Slot[Tag]] = []
        self._positions = _positions(engine, questions, seconds)
        if self._positions > engine.info.n_ctx_train:
            raise TooLongError(
                f"a stretch of {seconds:g} s and its question need {self._positions} positions, the model "
                f"has {engine.info.n_ctx_train}; choose a smaller --recall-seconds"
            )

    def run(self, stretches: Iterable[Stretch[Tag]]) -> Iterator[Noted[Tag]]:
        """The notes on each stretch, in order. They are read in a thread of their own."""
        source = Prefetcher(stretches, size=2)
        try:
            self._open()
            yield from self._run(source)
        finally:
            source.close()
            self._close()

    # -- steps --

    def _run(self, source: Prefetcher[Stretch[Tag]]) -> Iterator[Noted[Tag]]:
        ended = False
        live: deque[_Work[Tag]] = deque()
        while True:
            while not ended and self._wants_more(len(live)):
                try:
                    live.append(_Work(source.next(wait=not live)))
                except NotReady:
                    break
                except StopIteration:
                    ended = True
                    break
                self._waiting.append(live[-1])
            if not self._guarded(self._fill):
                continue
            while live and live[0].done:
                work = live.popleft()
                yield Noted(work.stretch, tuple(work.attempts))
            if not live and ended:
                return
            if any(slot.work for slot in self._slots):
                more = not ended and self._wants_more(len(live))
                ready = source.ready if more else None
                self._guarded(lambda ready=ready: self._step(ready))  # type: ignore[misc]

    def _wants_more(self, live: int) -> bool:
        free = sum(slot.work is None for slot in self._slots)
        return free > len(self._waiting) and live < _AHEAD * len(self._slots)

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Does the step. False: the device failed; what was in the slots is done again on another engine."""
        try:
            step()
        except DEVICE_FAILURES as error:
            under_way = [slot.work for slot in self._slots if slot.work is not None]
            self._engine = self._recover(error)
            self._session = None  # it went with its engine
            self._open()
            for work in reversed(under_way):
                work.attempts = []
                self._waiting.appendleft(work)
            return False
        return True

    def _fill(self) -> None:
        for slot in self._slots:
            while slot.work is None and self._waiting:
                slot.work = self._waiting.popleft()
                self._begin(slot, slot.work)

    def _begin(self, slot: _Slot[Tag], work: _Work[Tag]) -> None:
        """The sound of a stretch, and the first question."""
        assert self._session is not None
        rows = [(window, self._hearing.rows(self._engine, window)) for window in work.stretch.windows]
        rows = [(window, found) for window, found in rows if len(found)]
        if not rows:
            slot.work, work.done = None, True
            return
        labels = [span(window.start, window.end) for window, _ in rows]
        built = [prompt.build(self._engine, text, labels, _layout(self._engine)) for text in self._questions]
        self._session.rewind(0, seq=slot.seq)
        guards = self._options.guards
        slot.decoder = SequenceDecoder(self._engine, self._session, built[0], guards, slot.seq)
        slot.tails = tuple(one.tail for one in built)
        slot.decoder.prefill(built[0].sound([found for _, found in rows], slot.seq))
        slot.sound = self._session.length(slot.seq) - len(built[0].head)
        self._ask(slot, work)

    def _ask(self, slot: _Slot[Tag], work: _Work[Tag]) -> None:
        """The next question behind the sound, and its first token; as many as are answered with none."""
        decoder = slot.decoder
        assert decoder is not None
        while len(work.attempts) < len(slot.tails):
            decoder.keep(slot.sound)
            decoder.prompt = replace(decoder.prompt, tail=slot.tails[len(work.attempts)])
            # A thought about a part is no note, and costs as much as one.
            decoder.begin(budget=NOTE_TOKENS, sampler=SamplerOptions(), thinking=False)
            if decoder.running:
                return
            work.attempts.append(judged(decoder.reply(), self._options.guards))
        slot.work, work.done = None, True

    def _step(self, ready: Callable[[], bool] | None) -> None:
        busy = [slot for slot in self._slots if slot.work is not None]
        decoders = [slot.decoder for slot in busy if slot.decoder is not None]
        if ready is None or not ready():
            decode(decoders, until_one_ends=True, pause=ready)
        for slot in busy:
            if slot.decoder is not None and slot.work is not None and not slot.decoder.running:
                slot.work.attempts.append(judged(slot.decoder.reply(), self._options.guards))
                self._ask(slot, slot.work)

    def _open(self) -> None:
        size = cache_size(self._positions, self._engine.info.n_ctx_train)
        count = max(1, min(self._options.slots, _MOST_POSITIONS // size))
        self._session = self._engine.session(SessionOptions(n_ctx=size, n_seq=count))
        self._slots = [_Slot(seq) for seq in range(count)]

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def fitting_seconds(engine: Engine, questions: Sequence[str]) -> float:
    """The longest stretch that fits into the model's context with its question and a note."""
    return max(0.0, (engine.info.n_ctx_train - _positions(engine, questions, 0.0)) / TOKENS_A_SECOND - 1)


def _positions(engine: Engine, questions: Sequence[str], seconds: float) -> int:
    built = [prompt.build(engine, text, layout=_layout(engine)) for text in questions]
    return max(one.positions(clip_positions(seconds + LABEL_SECONDS), NOTE_TOKENS) for one in built)


def _layout(engine: Engine) -> prompt.Layout:
    """The sound stands first: it is computed once for all questions."""
    return prompt.layout_of(engine.info.projector, audio_first=True)
