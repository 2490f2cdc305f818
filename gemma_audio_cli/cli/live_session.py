"""One run of `live`: what is shown, kept and written while a stream becomes text.

LiveTranscription.events() ──► Partial: display, events
                           ──► Final: results
     taps: level meter, FILE of --save
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_audio_cli.audio.capture.recorder import Recorder
from gemma_audio_cli.cli.common import Job, oddity
from gemma_audio_cli.cli.signals import until_signal
from gemma_audio_cli.cli.talk_key import TalkKey
from gemma_audio_cli.errors import Notice
from gemma_audio_cli.files import OutputError
from gemma_audio_cli.formatting import hms
from gemma_audio_cli.output import ItemOutput, OutputPlan
from gemma_audio_cli.output.display import Display
from gemma_audio_cli.output.meter import Level, bar
from gemma_audio_cli.pipeline.events import ListeningStarted, LiveEvent, RecordingDone, RecordingStarted
from gemma_audio_cli.pipeline.live import LiveOptions, LiveTranscription
from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.transcript import Final, Partial

if TYPE_CHECKING:
    from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
    from gemma_audio_cli.audio.capture.stream import LiveSource

_BEHIND = 5.0
"""Seconds of speech that may wait before a notice; then twice as many, and so on."""


@dataclass(frozen=True)
class Shown:
    """What happens beside the transcript."""

    save: Path | None = None
    overwrite: bool = False
    push_to_talk: bool = False
    show: bool = True
    """On a terminal, show the present utterance and the level."""


@dataclass
class _Keeper:
    """Keeps what is heard in a file. If that fails, listening goes on."""

    recorder: Recorder
    notice: Notice
    failed: bool = field(default=False, init=False)

    def __call__(self, block: Floats) -> None:
        if self.failed:
            return
        try:
            self.recorder.write(block)
        except OutputError as error:
            self.failed = True
            self.notice(f"{error}; listening goes on")


class LiveSession:
    """Listens to one source until it ends or is stopped."""

    def __init__(
        self,
        job: Job,
        source: LiveSource,
        speech_queue: SpeechQueue,
        plan: OutputPlan,
        options: LiveOptions,
        shown: Shown,
    ) -> None:
        self._job, self._source, self._queue = job, source, speech_queue
        self._plan, self._options, self._shown = plan, options, shown
        self._level = Level()
        self._key: TalkKey | None = None
        self._run: LiveTranscription | None = None
        self._state = "loading the model"
        self._reported_behind = _BEHIND

    def run(self) -> None:
        """All of it. The first Ctrl-C ends the sound, and what was said is finished; the second stops."""
        with ExitStack() as stack:
            if self._shown.push_to_talk:
                self._key = TalkKey()
            stack.enter_context(self._source)
            keeper = self._keeper(stack)
            key = stack.enter_context(self._key) if self._key else None
            self._run = run = LiveTranscription(
                self._job.recognizer,
                self._source,
                self._queue,
                self._options,
                taps=[self._level.hear, *([keeper] if keeper else [])],
                gate=(lambda: key.talking) if key else None,
            )
            stack.enter_context(until_signal(self._stop))
            stack.callback(run.close)
            run.start()
            display = stack.enter_context(Display(self._status, enabled=self._shown.show))
            self._listen(display, run)
        if keeper is not None and keeper.failed:
            self._job.failed()

    # -- steps --

    def _keeper(self, stack: ExitStack) -> _Keeper | None:
        path = self._shown.save
        if path is None:
            return None
        recorder = stack.enter_context(Recorder(path, SAMPLE_RATE, overwrite=self._shown.overwrite))
        return _Keeper(recorder, self._job.notice)

    def _stop(self) -> None:
        """The first Ctrl-C."""
        self._state = "finishing"
        if self._run is not None:
            self._run.stop()

    def _listen(self, display: Display, run: LiveTranscription) -> None:
        (item,) = self._plan.items
        events = run.events()
        done: RecordingDone | None = None
        with self._plan.open(item, display.out, keep_partial=True, growing=True) as out:
            try:
                for event in events:
                    if isinstance(event, RecordingDone):
                        done = event
                    else:
                        self._take(event, out, display)
            except BaseException:
                out.end("interrupted", duration=run.seconds)
                raise
            finally:
                events.close()
            assert done is not None
            out.end(str(done.error) if done.error else None, duration=done.duration)
        if done.error is not None:
            self._job.fail(self._source.name, done.error)
        elif not done.heard:
            self._job.notice(f"{self._source.name}: no speech was heard")

    def _take(self, event: LiveEvent, out: ItemOutput, display: Display) -> None:
        if isinstance(event, RecordingStarted):
            out.begin(event.recording)
        elif isinstance(event, ListeningStarted):
            self._begin(display)
        elif isinstance(event, Partial):
            display.partial(event)
            out.partial(event)
        elif isinstance(event, Final):
            display.partial(None)
            odd = oddity(self._source.name, event)
            if odd:
                self._job.notice(odd)
            if self._options.shape is not None and not event.reliable:
                self._job.failed()
            if not event.empty and (event.text or self._options.shape is None):
                out.segment(event)
                if not self._plan.to_stdout:
                    display.line(event.text)
        self._tell_behind()

    def _begin(self, display: Display) -> None:
        if self._state != "finishing":
            self._state = "listening"
            if not display.active:
                how = "space begins and ends what is heard, " if self._key else ""
                self._job.notice(f"listening to {self._source.name}; {how}Ctrl-C ends it")

    def _tell_behind(self) -> None:
        behind = self._queue.seconds
        if behind > self._reported_behind:
            self._reported_behind *= 2
            self._job.notice(
                f"{behind:.0f} s behind: this machine is slower than the speech; nothing is lost, "
                "final texts come later"
            )

    def _status(self, width: int) -> str:
        """The last line of the display: level, time, and how things are."""
        text = f"{hms(self._run.seconds if self._run else 0.0)} {self._how()}"
        # Narrow terminals: what is said in words goes before the level.
        room = min(20, width - len(text) - 1)
        plain = "utf" not in (sys.stderr.encoding or "").lower()
        return f"{bar(self._level, room, plain=plain)} {text}" if room >= 4 else text

    def _how(self) -> str:
        behind = self._queue.seconds
        if behind > 2.0 and self._state == "listening":
            return f"{behind:.0f} s behind"
        if self._state != "listening":
            return self._state
        if self._key is not None:
            return "space ends it" if self._key.talking else "space to talk"
        return "hearing you" if self._run is not None and self._run.in_speech else "listening"
