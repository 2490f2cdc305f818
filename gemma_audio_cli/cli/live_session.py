"""One run of `live`: the ear in its thread, the model in this one, and between them what is not heard yet.

    LiveSource ──► Hearing ──► Backlog ──► Listener ──► partial texts: display, events
         (tap: FILE of --save)                    └──► final texts: results
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_audio_cli.audio.backlog import Backlog
from gemma_audio_cli.audio.hearing import Hearing
from gemma_audio_cli.audio.recorder import Recorder
from gemma_audio_cli.audio.utterances import Utterances, all_speech
from gemma_audio_cli.cli.common import Job, oddity
from gemma_audio_cli.cli.signals import until_signal
from gemma_audio_cli.cli.talk_key import TalkKey
from gemma_audio_cli.engine.data import SAMPLE_RATE
from gemma_audio_cli.errors import InputError
from gemma_audio_cli.output import OutputError, OutputPlan, Recording
from gemma_audio_cli.output.display import Display
from gemma_audio_cli.output.meter import Level, bar, elapsed

if TYPE_CHECKING:
    from gemma_audio_cli.audio.cutter import CutOptions
    from gemma_audio_cli.audio.reader import Floats
    from gemma_audio_cli.cli.live_source import LiveSource
    from gemma_audio_cli.engine.listener import ListenOptions, Told
    from gemma_audio_cli.output import ItemOutput

_BEHIND = 5.0
"""Seconds of speech that may wait before it is told; then twice as many, and so on."""


@dataclass(frozen=True)
class LiveOptions:
    """How a stream is heard."""

    instruction: str
    cut: CutOptions
    listen: ListenOptions
    language: str | None = None
    save: Path | None = None
    overwrite: bool = False
    push_to_talk: bool = False
    show: bool = True
    """On a terminal, show the present utterance and the level."""


@dataclass
class _Keeper:
    """Keeps what is heard in a file. If that fails, listening goes on."""

    recorder: Recorder
    notice: Callable[[str], None]
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
        self, job: Job, source: LiveSource, backlog: Backlog, plan: OutputPlan, options: LiveOptions
    ) -> None:
        self._job, self._source, self._backlog = job, source, backlog
        self._plan, self._options = plan, options
        self._level = Level()
        self._key: TalkKey | None = None
        self._hearing: Hearing | None = None
        self._state = "loading the model"
        self._told_behind = _BEHIND
        self._heard = False

    def run(self) -> None:
        """All of it. The first Ctrl-C ends the sound, and what was said is finished; the second stops."""
        options, source = self._options, self._source
        with ExitStack() as stack:
            if options.push_to_talk:
                self._key = TalkKey()
            stack.enter_context(source)
            keeper = self._keeper(stack)
            key = stack.enter_context(self._key) if self._key else None
            self._hearing = Hearing(
                source.blocks(),
                Utterances(options.cut, all_speech if key else None),
                self._backlog,
                taps=[self._level.hear, *([keeper] if keeper else [])],
                gate=(lambda: key.talking) if key else None,
            )
            stack.enter_context(until_signal(self._stop))
            stack.callback(self._leave, self._hearing)
            self._hearing.start()
            display = stack.enter_context(Display(self._status, enabled=options.show))
            self._listen(display, self._hearing)
        if keeper is not None and keeper.failed:
            self._job.exit_code = 1
        if not self._heard and not self._job.exit_code:
            self._job.notice(f"{source.name}: no speech was heard")

    # -- steps --

    def _keeper(self, stack: ExitStack) -> _Keeper | None:
        path = self._options.save
        if path is None:
            return None
        recorder = stack.enter_context(Recorder(path, SAMPLE_RATE, overwrite=self._options.overwrite))
        return _Keeper(recorder, self._job.notice)

    def _stop(self) -> None:
        """The first Ctrl-C."""
        self._state = "finishing"
        self._source.stop()
        if self._hearing is not None and self._source.blocking:
            # Not here: the interrupted thread may hold the very lock this needs.
            threading.Thread(target=self._hearing.give_up, daemon=True).start()

    def _leave(self, hearing: Hearing) -> None:
        """Whatever ended it: the ear is closed before its source is."""
        self._source.stop()
        if self._source.blocking:
            hearing.give_up()
        else:
            hearing.join(3.0)

    def _listen(self, display: Display, hearing: Hearing) -> None:
        name = self._source.name
        failure: InputError | None = None
        (item,) = self._plan.items
        with self._plan.open(item, display.out, keep_partial=True, growing=True) as out:
            out.begin(
                Recording(name, language=self._options.language, model=self._job.pair.text.name)
            )
            try:
                self._hear_all(out, display)
            except InputError as error:
                failure = error
            except BaseException:
                out.end("interrupted", duration=hearing.seconds)
                raise
            out.end(str(failure) if failure else None, duration=hearing.seconds)
        if failure is not None:
            self._job.fail(name, failure)

    def _hear_all(self, out: ItemOutput, display: Display) -> None:
        from gemma_audio_cli.engine.listener import Listener

        transcriber = self._job.transcriber()
        ear = Listener(transcriber, self._options.instruction, self._options.listen)
        if self._state != "finishing":
            self._state = "listening"
            if not display.active:
                how = "space begins and ends what is heard, " if self._key else ""
                self._job.notice(f"listening to {self._source.name}; {how}Ctrl-C ends it")
        try:
            for told in ear.listen(self._backlog):
                self._tell(told, out, display)
                self._tell_behind()
        finally:
            ear.close()

    def _tell(self, told: Told, out: ItemOutput, display: Display) -> None:
        from gemma_audio_cli.engine.listener import Partial

        if isinstance(told, Partial):
            display.partial(told)
            out.partial(told)
            return
        display.partial(None)
        odd = oddity(self._source.name, told)
        if odd:
            self._job.notice(odd)
        if told.text or not told.reliable:
            self._heard = self._heard or bool(told.text)
            out.segment(told)
            if not self._plan.to_stdout:
                display.line(told.text)

    def _tell_behind(self) -> None:
        behind = self._backlog.seconds
        if behind > self._told_behind:
            self._told_behind *= 2
            self._job.notice(
                f"{behind:.0f} s behind: this machine is slower than the speech; nothing is lost, "
                "final texts come later"
            )

    def _status(self, width: int) -> str:
        """The last line of the display: level, time, and how things are."""
        text = f"{elapsed(self._hearing.seconds if self._hearing else 0.0)} {self._how()}"
        # Narrow terminals: what is said in words goes before the level.
        room = min(20, width - len(text) - 1)
        plain = "utf" not in (sys.stderr.encoding or "").lower()
        return f"{bar(self._level, room, plain=plain)} {text}" if room >= 4 else text

    def _how(self) -> str:
        behind = self._backlog.seconds
        if behind > 2.0 and self._state == "listening":
            return f"{behind:.0f} s behind"
        if self._state != "listening":
            return self._state
        if self._key is not None:
            return "space ends it" if self._key.talking else "space to talk"
        return "hearing you" if self._hearing is not None and self._hearing.in_speech else "listening"
