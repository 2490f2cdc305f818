"""Many windows at once: N sequences of one K/V cache decode together, one window in each.

    windows ──► encode, prefill into a free slot ──► decode all slots together ──► results in order

Decoding reads every weight once a step, however many sequences take part; that is where several windows at
once gain. A sequence that ends makes room for the next window. The earliest unfinished window streams its
text, later ones are kept until their turn. What is decoded does not depend on the number of slots: each
window has its own sequence, sampler and guards.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from gemma_audio_cli.audio.segment.windows import Window, cut_point
from gemma_audio_cli.decoding.aligner import WordAligner
from gemma_audio_cli.decoding.guards import Attempt, better, judged, still_repeats
from gemma_audio_cli.decoding.options import DEFAULT_SLOTS, DecodeOptions
from gemma_audio_cli.decoding.prefetch import NotReady, Prefetcher
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder, decode
from gemma_audio_cli.engine.audio_stream import AudioStream, encode
from gemma_audio_cli.engine.structs import SamplerOptions
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError
from gemma_audio_cli.sound import MAX_CLIP_SECONDS, SAMPLE_RATE
from gemma_audio_cli.transcript import FLAG_NO_SPEECH, FLAG_REPETITION, FLAG_SPLIT, TROUBLE, Segment

Tag = TypeVar("Tag")
Recover = Callable[[EngineError], Sequence[SequenceDecoder]]
"""Other decoders in place of those whose device failed; raises the error where there are none."""

Check = Callable[[Attempt, Reply, Window], Attempt]
"""(a try, its reply, the window) -> the try, or what is better."""

_AHEAD = 4
"""Windows taken in for each slot, at most: finished ones wait for a slow one before them."""


@dataclass(frozen=True)
class Delta(Generic[Tag]):
    """More text of the earliest unfinished window."""

    tag: Tag
    text: str


@dataclass(frozen=True)
class Result(Generic[Tag]):
    """What became of one window: the try at it that is kept."""

    tag: Tag
    window: Window
    attempt: Attempt

    @property
    def segment(self) -> Segment:
        """It as a segment."""
        window, attempt = self.window, self.attempt
        flags = attempt.flags
        if attempt.good and not attempt.text:
            flags |= {FLAG_NO_SPEECH}
        return Segment(
            window.start,
            window.end,
            attempt.text,
            len(attempt.logprobs),
            attempt.mean_logprob,
            tuple(sorted(flags)),
            words=attempt.words,
            written=attempt.written,
        )


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
        return any(FLAG_REPETITION in attempt.flags for attempt in self._all_tries)

    @property
    def has_thought(self) -> bool:
        """Was a try at this sound spent on a thought?"""
        return any(attempt.thinking for attempt in self._all_tries)

    @property
    def warmth(self) -> int:
        """Tries so far, and so how warm the next one is. The first one spent on a thought does not count: the
        same one follows, without thoughts.
        """
        return len(self.tries) - any(attempt.thinking for attempt in self.tries)

    @property
    def _all_tries(self) -> list[Attempt]:
        return [*self.tries, *(self.parent.tries if self.parent else ())]


@dataclass(eq=False)
class _Slot:
    """A sequence and the work it has, if any."""

    decoder: SequenceDecoder
    work: _Work | None = None


class Scheduler:
    """Transcribes windows with the sequences it is given."""

    def __init__(
        self,
        decoders: Sequence[SequenceDecoder],
        options: DecodeOptions,
        recover: Recover | None = None,
        check: Check | None = None,
        aligner: WordAligner | None = None,
    ) -> None:
        """`decoders` are sequences of one session, all with the prompt of one clip. `recover` gives others
        when their device fails. `check` has the last word on a try. `aligner` finds word times; None: they
        are not wanted.
        """
        self._options, self._recover, self._check, self._aligner = options, recover, check, aligner
        self._slots = [_Slot(decoder) for decoder in decoders]
        self._waiting: deque[_Work] = deque()
        self._room = min(len(self._slots), DEFAULT_SLOTS)
        """Slots that may be busy. Each answer that ends makes room for two, until all are in use: were all
        filled at first, the first words would wait for the prompts of sixteen windows.
        """

    @property
    def decoders(self) -> list[SequenceDecoder]:
        """Those that do the work."""
        return [slot.decoder for slot in self._slots]

    def run(
        self, windows: Iterable[tuple[Tag, Window]], *, silence_peak: float = 0.0, stream: bool = False
    ) -> Iterator[Delta[Tag] | Result[Tag]]:
        """A Result for each window, in order. `tag` is the caller's: it comes back with the result.

        With `stream`, each window's text comes in Deltas before its result: as it is decoded where it is the
        earliest unfinished one, else at once. Of a window that is tried again they are the first try's.
        """
        source = Prefetcher(windows, size=len(self._slots))
        try:
            yield from self._run(source, silence_peak, stream)
        finally:
            source.close()

    def retry(self, window: Window, first: Attempt) -> Result[None]:
        """The window tried again, after a first try that did not go well."""
        work = _Work(0, window)
        self._judge(work, first)
        while work.outcome is None:
            self._guarded(self._fill)
            self._guarded(partial(self._step, None, None))
        return Result(None, window, work.outcome)

    def _run(
        self, source: Prefetcher[tuple[Tag, Window]], silence_peak: float, stream: bool
    ) -> Iterator[Delta[Tag] | Result[Tag]]:
        ended = False
        live: dict[int, tuple[Tag, _Work]] = {}
        taken = done = 0  # windows taken in, given out
        while True:
            while not ended and self._wants_more(len(live)):
                try:
                    # A live source may have nothing for a long time: only who has nothing to do waits for it.
                    tag, window = source.next(wait=not live)
                except NotReady:
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
            if not self._guarded(self._fill):
                continue
            while done in live and live[done][1].outcome is not None:
                tag, work = live.pop(done)
                done += 1
                assert work.outcome is not None
                text = work.outcome.text
                if stream and text.startswith(work.shown) and len(text) > len(work.shown):
                    yield Delta(tag, text[len(work.shown) :])  # it was finished before its turn came
                yield Result(tag, work.window, work.outcome)
            if not live and ended:
                return
            if any(slot.work for slot in self._slots):
                tag, earliest = live[done]
                more = not ended and self._wants_more(len(live))
                shown = len(earliest.shown)
                self._guarded(
                    partial(self._step, earliest if stream else None, source.ready if more else None)
                )
                if len(earliest.shown) > shown:
                    yield Delta(tag, earliest.shown[shown:])

    def _wants_more(self, live: int) -> bool:
        return len(self._free()) > len(self._waiting) and live < _AHEAD * len(self._slots)

    # -- a device that fails --

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Does the step. False: the device failed; what was in the slots waits again, before the rest."""
        try:
            step()
        except DEVICE_FAILURES as error:
            if self._recover is None:
                raise
            decoders = self._recover(error)
            under_way = [slot.work for slot in self._slots if slot.work is not None]
            self._slots = [_Slot(decoder) for decoder in decoders]
            self._waiting.extendleft(sorted(under_way, key=lambda work: -work.index))
            return False
        return True

    # -- one window's way --

    def _fill(self) -> None:
        """Give waiting work to free slots: encode, prefill, first token.

        Short windows are encoded together, which gains much; long ones are not, so that the first words
        need not wait for all of them.
        """
        free = self._free()
        while free and self._waiting:
            count, seconds = 1, self._waiting[0].window.seconds
            for item in list(self._waiting)[1 : len(free)]:
                seconds += item.window.seconds
                if seconds > MAX_CLIP_SECONDS:
                    break
                count += 1
            self._fill_slots([self._waiting.popleft() for _ in range(count)], free[:count])
            free = self._free()

    def _free(self) -> list[_Slot]:
        """Slots that have nothing to do and may be given something."""
        free = [slot for slot in self._slots if slot.work is None]
        return free[: max(0, self._room - (len(self._slots) - len(free)))]

    def _fill_slots(self, work: Sequence[_Work], free: Sequence[_Slot]) -> None:
        try:
            clips = encode(free[0].decoder.engine, [item.window.samples for item in work])
        except BaseException:
            self._waiting.extendleft(reversed(work))
            raise
        try:
            for slot, item, clip in zip(free, work, clips, strict=True):
                slot.work = item
                if len(clip):
                    self._start(slot, item, clip)
                else:
                    slot.work = None
                    self._settle(item, Attempt("", (), frozenset((FLAG_NO_SPEECH,))))
        except BaseException:
            begun = [slot.work for slot in free]
            # What no slot has taken waits again; what one has, is put back by who recovers.
            self._waiting.extendleft(reversed([w for w in work if w not in begun and w.outcome is None]))
            raise
        finally:
            for clip in clips:
                clip.close()

    def _start(self, slot: _Slot, work: _Work, clip: AudioStream) -> None:
        options, decoder = self._options, slot.decoder
        warm = options.guards.attempts[min(work.warmth, len(options.guards.attempts) - 1)]
        base = options.sampler
        seed = _seed(base, work.window, len(work.tries))
        sampler = replace(base, temperature=max(base.temperature, warm), seed=seed)
        decoder.reset()
        decoder.begin(
            decoder.prompt.sound([clip], decoder.seq),
            budget=options.budget(work.window.seconds),
            sampler=sampler,
            ignore_end=options.ignore_end,
            thinking=not work.has_thought,
        )
        if not decoder.running:
            self._finish(slot)

    def _step(self, watched: _Work | None, interrupted: Callable[[], bool] | None) -> None:
        """Decode all busy slots until one has finished, until the `watched` window has more text to show, or
        until `interrupted`: a free slot has work.
        """
        busy = {slot.decoder: slot for slot in self._slots if slot.work is not None}
        shown = None
        if watched is not None and not watched.tries:
            shown = next((decoder for decoder, slot in busy.items() if slot.work is watched), None)

        def pause() -> bool:
            if shown is not None and watched is not None and len(shown.text) > len(watched.shown):
                return True
            return interrupted is not None and interrupted()

        if not pause():
            decode(list(busy), until_one_ends=True, pause=pause)
        if shown is not None and watched is not None and len(shown.text) > len(watched.shown):
            watched.shown = shown.text
        for decoder, slot in busy.items():
            if not decoder.running:
                self._finish(slot)

    def _finish(self, slot: _Slot) -> None:
        """The slot's answer has ended: judge it, free the slot, and settle or queue the work again."""
        work, decoder, guards = slot.work, slot.decoder, self._options.guards
        assert work is not None
        self._room = min(len(self._slots), self._room + 1)
        reply = decoder.reply(work.window.seconds)
        if work.has_looped and still_repeats(reply.tokens, guards):
            reply = replace(reply, looping=True)
        attempt = judged(reply, guards)
        # Both compute, and so may fail; till then the slot has the work.
        if self._aligner is not None:
            attempt = replace(attempt, words=self._aligner.words(decoder, reply, work.window))
        if self._check is not None:
            attempt = self._check(attempt, reply, work.window)
        slot.work = None
        self._judge(work, attempt)

    def _judge(self, work: _Work, attempt: Attempt) -> None:
        work.tries.append(attempt)
        if attempt.good:
            self._settle(work, attempt)
        elif work.warmth < len(self._options.guards.attempts):
            self._waiting.appendleft(work)
        elif work.parent is None and self._may_split(work.window):
            self._split(work)
        else:
            best = work.tries[0]
            for other in work.tries[1:]:
                best = better(best, other)
            self._settle(work, best)

    def _may_split(self, window: Window) -> bool:
        return self._options.guards.split and window.seconds >= self._options.guards.min_split_seconds

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
        first, second = outcomes
        joined = Attempt(
            text,
            first.logprobs + second.logprobs,
            flags,
            first.words + second.words,
            first.written + second.written,
        )
        if not joined.good:
            for other in whole.tries:
                joined = better(joined, other)
        whole.outcome = joined


def _seed(sampler: SamplerOptions, window: Window, attempt: int) -> int:
    """A try's seed depends on the window's sound alone, not on its place in a run or the number of slots."""
    sound = zlib.crc32(np.ascontiguousarray(window.samples).tobytes())
    return (sampler.seed + sound + attempt) % (1 << 32)
