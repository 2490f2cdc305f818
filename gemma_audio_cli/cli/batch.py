"""Many recordings, one after the other on the way in and on the way out, several windows at once in between.

    inputs ──► source ──► windows ──► Transcriber (all recordings together) ──► segments in order ──► outputs

The windows of the next recordings are taken in while those of this one are decoded. Results come in the order
of the inputs; a recording that fails is told when its turn comes, after the text of what could be heard.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gemma_audio_cli.audio.level import odd_level
from gemma_audio_cli.audio.source import SourceOptions, display_name, open_source
from gemma_audio_cli.audio.windows import Window, WindowOptions, windows
from gemma_audio_cli.cli.common import Job, oddity
from gemma_audio_cli.cli.telling import say
from gemma_audio_cli.engine.data import SAMPLE_RATE
from gemma_audio_cli.errors import InputError
from gemma_audio_cli.interrupts import Taking
from gemma_audio_cli.output import ItemOutput, OutputPlan, Progress, Recording

if TYPE_CHECKING:
    from gemma_audio_cli.audio.cutter import CutOptions
    from gemma_audio_cli.audio.reader import Floats
    from gemma_audio_cli.audio.source import Source
    from gemma_audio_cli.engine.transcriber import Segment
    from gemma_audio_cli.output import Item


@dataclass(frozen=True)
class BatchOptions:
    """What is the same for all recordings of a run."""

    instruction: str
    language: str | None = None
    source: SourceOptions = field(default_factory=SourceOptions)
    window: WindowOptions = field(default_factory=WindowOptions)
    cut: CutOptions | None = None
    """How speech is cut; None: no speech detection, everything is covered."""
    resume: bool = False
    stream: bool = False
    """Show words as they are decoded: a person is watching standard output."""
    all_tracks: bool = False
    """Each audio track apart, its number in place of a channel's."""


@dataclass(eq=False)
class _Take:
    """One recording on its way through."""

    item: Item
    name: str
    out: ItemOutput | None = None
    begun: bool = False
    ended: bool = False
    heard: bool = False
    channels: tuple[int, ...] = ()
    labels: dict[int, str] | None = None
    """What to call each of `channels`, where they are not channels but tracks."""
    held: list[Segment] = field(default_factory=list)
    """Segments of split channels, to be put in order of time at the end."""
    shown: str = ""
    levelled: bool = False
    """It has been told that its level is odd."""
    seconds: float = 0.0
    """How far it has been heard, from its start."""
    whole: bool = False
    """It has been heard to its end."""
    failure: InputError | None = None


_Tagged = tuple[tuple[_Take, int | None], Window]


class _Incoming:
    """The windows of all recordings, of which the first one has been taken already. `stop` tells them, from
    another thread, that no more are wanted.
    """

    def __init__(
        self, first: _Tagged, rest: Generator[_Tagged, None, None], stop: Callable[[], None]
    ) -> None:
        self._first: _Tagged | None = first
        self._rest = rest
        self.stop = stop
        self.close = rest.close

    def __iter__(self) -> Iterator[_Tagged]:
        return self

    def __next__(self) -> _Tagged:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first


class Batch:
    """One run of `transcribe`."""

    def __init__(self, job: Job, plan: OutputPlan, options: BatchOptions, progress: Progress) -> None:
        self._job, self._plan, self._options, self._progress = job, plan, options, progress
        self._takes: deque[_Take] = deque()
        self._stopping = self._gone = False
        self._source: Source | None = None

    def run(self) -> bool:
        """Does all recordings. False: a Ctrl-C ended it early; what was begun has been finished."""
        with Taking(self._interrupted):
            source = self._windows()
            try:
                first = next(source, None)  # before the model is opened: a bad file costs no model
                if first is not None:
                    self._transcribe(_Incoming(first, source, self._stop_reading))
                while self._takes:
                    self._finish_first()
            finally:
                with suppress(ValueError):  # a thread that cannot be ended is still at it
                    source.close()
                for take in self._takes:
                    self._abandon(take)
        return not self._stopping

    def _interrupted(self) -> bool:
        """The first Ctrl-C lets the windows in work finish, the second stops at once; so does the first where
        all that is done has been printed."""
        if self._stopping or not self._takes or self._plan.to_stdout:
            return False
        self._stopping = True
        with suppress(RuntimeError):  # stderr was being written to when the signal came
            say("finishing what is begun; Ctrl-C again stops now")
        return True

    # -- in --

    def _stop_reading(self) -> None:
        """From any thread: no more windows are wanted."""
        self._gone = True
        source = self._source
        if source is not None:
            source.stop()

    def _windows(self) -> Generator[_Tagged, None, None]:
        for item in self._plan.items:
            if self._stopping or self._gone:
                return
            if self._options.resume and self._plan.is_done(item):
                self._progress.skip()
                continue
            take = _Take(item, display_name(item.input))
            self._takes.append(take)
            for track in self._tracks(take):
                options = replace(self._options.source, track=track) if track else self._options.source
                try:
                    with open_source(item.input, options, self._job.notice) as source:
                        self._source = source
                        if self._gone:
                            source.stop()
                        take.channels = take.channels or source.channels
                        for channel, window in self._cut(source, self._measured(source, take)):
                            if window.gain != 1.0:
                                self._tell_level(take, window)
                            number = int(track) if track else channel
                            yield (take, number), replace(window, start=window.start + source.start)
                            if self._stopping or self._gone:
                                return
                except InputError as failure:
                    take.failure = take.failure or failure
            take.whole = take.failure is None

    def _tracks(self, take: _Take) -> list[str | None]:
        """The tracks to hear, each on its own; None: the recording's usual one."""
        if not self._options.all_tracks:
            return [None]
        try:
            with open_source(take.item.input, self._options.source) as source:
                tracks = source.tracks
        except InputError as failure:
            take.failure = failure
            return []
        for track in tracks:
            if not track.codec:
                self._job.notice(f"{take.name}: no decoder knows audio track {track}; it is left out")
        usable = [track for track in tracks if track.codec]
        if len(usable) < 2:
            return [None]
        take.labels = {track.number: track.label for track in usable}
        take.channels = tuple(take.labels)
        return [str(track.number) for track in usable]

    def _tell_level(self, take: _Take, window: Window) -> None:
        """Once a recording: its level is odd."""
        odd = None if take.levelled else odd_level(take.name, window)
        if odd:
            take.levelled = True
            self._job.notice(odd)

    @staticmethod
    def _measured(source: Source, take: _Take) -> Iterator[Floats]:
        """The blocks of a source, told to `take` as they go by."""
        n = 0
        for block in source.blocks():
            n += len(block)
            take.seconds = max(take.seconds, source.start + n / SAMPLE_RATE)
            yield block

    def _cut(self, source: Source, blocks: Iterator[Floats]) -> Iterator[tuple[int | None, Window]]:
        """Windows with the channel they are of."""
        if self._options.cut is None:
            return ((None, window) for window in windows(blocks, self._options.window))
        from gemma_audio_cli.audio.cutter import channel_windows

        return channel_windows(blocks, source.channels, self._options.cut)

    # -- out --

    def _transcribe(self, incoming: _Incoming) -> None:
        found = self._job.transcriber().transcribe_many(
            incoming,
            self._options.instruction,
            silence_peak=self._options.window.silence_peak,
            on_text=self._show if self._options.stream else None,
        )
        for (take, channel), segment in found:
            self._advance(take)
            self._take_segment(take, replace(segment, channel=channel))
            self._progress.advance(segment.end - segment.start)

    def _show(self, tag: tuple[_Take, int | None], text: str) -> None:
        take, _ = tag
        self._advance(take)
        self._begin(take).delta(text)
        take.shown += text

    def _advance(self, take: _Take) -> None:
        """Results are in order: what stands before this recording is done."""
        while self._takes[0] is not take:
            self._finish_first()

    def _begin(self, take: _Take) -> ItemOutput:
        if take.out is None:
            take.out = self._plan.open(take.item, sys.stdout, keep_partial=True)
            take.out.__enter__()
        if not take.begun:
            take.begun = True
            self._progress.start(take.name)
            take.out.begin(
                Recording(
                    take.name,
                    language=self._options.language,
                    model=self._job.pair.text.name,
                    split_channels=bool(take.channels),
                    labels=take.labels,
                )
            )
        return take.out

    def _take_segment(self, take: _Take, segment: Segment) -> None:
        out = self._begin(take)
        shown, take.shown = take.shown.strip(), ""
        take.heard = take.heard or bool(segment.text)
        odd = oddity(take.name, segment)
        if odd:
            self._job.notice(odd)
        if shown and shown != segment.text:
            out.delta(f"\n{segment.text}")  # what was shown was a try that did not hold
        if not segment.text and segment.reliable:
            return
        if take.channels:
            take.held.append(segment)
        else:
            out.segment(segment)

    def _finish_first(self) -> None:
        """The first recording that is under way has had its turn. It stays the first until all is written:
        what fails before abandons it.
        """
        self._finish(self._takes[0])
        self._takes.popleft()

    def _finish(self, take: _Take) -> None:
        """The recording's turn is over: write its end, give its files their names, tell a failure."""
        out = self._begin(take)
        for segment in sorted(take.held, key=lambda s: (s.start, s.channel or 0)):
            out.segment(segment)
        error = str(take.failure) if take.failure else None
        if not take.whole and not error:
            error = "interrupted"
        take.ended = True
        out.end(error, duration=take.seconds)
        out.__exit__(None, None, None)
        self._progress.finish(failed=take.failure is not None)
        if take.failure is not None:
            self._job.fail(take.item.input, take.failure)
        elif not take.heard and not self._stopping:
            self._job.notice(f"{take.name}: no speech was heard")

    def _abandon(self, take: _Take) -> None:
        """Something ended the whole run: close the output, keeping what is whole lines of it."""
        if take.out is None:
            return
        if not take.ended:
            with suppress(Exception):
                take.out.end("interrupted", duration=take.seconds)
        with suppress(Exception):
            take.out.__exit__(*sys.exc_info())
