"""What a run of `transcribe` prints and writes: events in, results out.

Transcription.events() ──► RecordingStarted: open the item's outputs
                       ──► TextDelta, SegmentDone: write
                       ──► RecordingDone: give files their names, say what failed
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from gemma_audio_cli.cli.common import Job, oddity
from gemma_audio_cli.cli.messages import say
from gemma_audio_cli.interrupts import Taking
from gemma_audio_cli.output import Item, ItemOutput, OutputPlan, Progress
from gemma_audio_cli.pipeline.events import (
    RecordingDone,
    RecordingStarted,
    SegmentDone,
    StretchHeard,
    TranscribeEvent,
)
from gemma_audio_cli.pipeline.files import Transcription
from gemma_audio_cli.pipeline.options import TranscribeOptions
from gemma_audio_cli.transcript import Segment


class Results:
    """The results of one run."""

    def __init__(self, job: Job, plan: OutputPlan, progress: Progress) -> None:
        self._job, self._plan, self._progress = job, plan, progress
        self._items: deque[Item] = deque()
        """Begun, in the order in which their results come."""
        self._out: ItemOutput | None = None
        self._ended = False
        self._shown = ""
        self._run: Transcription | None = None
        self._start = 0.0
        """Where in every recording the part that is wanted begins, in seconds."""
        self._at_end = False
        """What was said is told at a recording's end."""

    def write(self, options: TranscribeOptions, *, resume: bool) -> bool:
        """Does all of the plan. False: a Ctrl-C ended it early; what was begun has been finished."""
        self._start, self._at_end = options.source.start, options.at_end
        self._run = run = Transcription(self._job.recognizer, self._inputs(resume), options)
        with Taking(self._interrupted):
            events = run.events()
            try:
                for event in events:
                    self._take(event)
            except BaseException:
                self._abandon()
                raise
            finally:
                events.close()
        return not run.stopping

    # -- in --

    def _inputs(self, resume: bool) -> Iterator[str]:
        """The inputs that are to be transcribed, each when its turn to be read comes."""
        for item in self._plan.items:
            if resume and self._plan.is_done(item):
                self._progress.skip(item.input)
                continue
            self._items.append(item)
            yield item.input

    def _interrupted(self) -> bool:
        """The first Ctrl-C lets the windows in work finish, the second stops at once; so does the first where
        all that is done has been printed."""
        run = self._run
        if run is None or run.stopping or not self._items or (self._plan.to_stdout and not self._at_end):
            return False
        run.stop()
        with suppress(RuntimeError):  # stderr was being written to when the signal came
            say("finishing what is begun; Ctrl-C again stops now")
        return True

    # -- out --

    def _take(self, event: TranscribeEvent) -> None:
        if isinstance(event, RecordingStarted):
            self._out = self._plan.open(self._items[0], sys.stdout, keep_partial=True)
            self._out.__enter__()
            self._progress.start(event.recording.file)
            self._out.begin(event.recording)
        elif isinstance(event, SegmentDone):
            self._segment(event.recording.file, event.segment)
        elif isinstance(event, RecordingDone):
            self._done(event)
        elif isinstance(event, StretchHeard):
            self._progress.reach(event.seconds - self._start)
        else:
            self._open.delta(event.text)
            self._shown += event.text

    @property
    def _open(self) -> ItemOutput:
        assert self._out is not None
        return self._out

    def _segment(self, name: str, segment: Segment) -> None:
        self._progress.reach(segment.end - self._start)
        if self._at_end and self._plan.to_stdout:
            self._progress.pause()
        shown, self._shown = self._shown.strip(), ""
        odd = oddity(name, segment)
        if odd:
            self._job.notice(odd)
        if shown and shown != segment.text:
            self._open.delta(f"\n{segment.text}")  # what was shown was a try that did not hold
        if not segment.empty:
            self._open.segment(segment)

    def _done(self, event: RecordingDone) -> None:
        """The recording's turn is over: write its end, give its files their names, tell a failure."""
        error = str(event.error) if event.error else "interrupted" if event.interrupted else None
        self._ended = True
        if event.waveform is not None:
            self._open.waveform(event.waveform)
        self._open.end(error, duration=event.duration)
        self._open.__exit__(None, None, None)
        self._out, self._ended = None, False
        item = self._items.popleft()
        self._progress.reach(event.duration - self._start)
        self._progress.finish(failed=event.error is not None)
        if event.error is not None:
            self._job.fail(item.input, event.error)
        elif not event.heard and not event.interrupted:
            self._job.notice(f"{event.recording.file}: no speech was heard")

    def _abandon(self) -> None:
        """Something ended the whole run: close the output, keeping what is whole lines of it."""
        if self._out is None:
            return
        if not self._ended:
            with suppress(Exception):
                self._out.end("interrupted", duration=None)
        with suppress(Exception):
            self._out.__exit__(*sys.exc_info())
