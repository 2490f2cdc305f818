"""What all commands share: streams, messages, exit codes, and the model that is opened when first needed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli.messages import say
from gemma_audio_cli.errors import GemmaAudioError, ModelNotFoundError, UsageError
from gemma_audio_cli.formatting import printable
from gemma_audio_cli.sound import SAMPLE_RATE
from gemma_audio_cli.transcript import FLAG_REPETITION, FLAG_THINKING

if TYPE_CHECKING:
    from gemma_audio_cli.cli.options import Model, Notices
    from gemma_audio_cli.config import Loaded, Settings
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.structs import Timings
    from gemma_audio_cli.pipeline.events import RecordingDone
    from gemma_audio_cli.pipeline.options import AskOptions
    from gemma_audio_cli.pipeline.recognizer import Recognizer
    from gemma_audio_cli.pipeline.slots import Slots
    from gemma_audio_cli.transcript import Answer, Segment

DEMO_NOTICE = (
    "using the small demo model, which knows spoken digits and a few commands only; "
    "choose another with -m, or get one: gemma-audio models pull e2b"
)


def oddity(name: str, segment: Segment) -> str | None:
    """What a person should know of a segment of the recording `name`, on one line; None: nothing."""
    if segment.reliable:
        return None
    if not segment.text:
        what = f"the model gave no text ({', '.join(segment.flags)}); what was said there is lost"
    else:
        what = f"unreliable ({', '.join(segment.flags)})" if segment.complete else "text cut at its longest"
    return f"{name}: {segment.start:.1f} s to {segment.end:.1f} s: {what}"


def unfinished(answer: Answer, max_tokens: int) -> str | None:
    """Why the model did not end its answer by itself, and what helps; None: it did."""
    if answer.complete:
        return None
    if FLAG_REPETITION in answer.flags:
        return "it ran into a loop and was ended there; ask otherwise, or try another model"
    if FLAG_THINKING in answer.flags:
        return f"the model thought for all of its {max_tokens} tokens; allow more with --max-tokens"
    return f"it was cut at {max_tokens} tokens; allow more with --max-tokens"


class Job:
    """One run of a command: its settings, its model, and how it went so far."""

    def __init__(self, model: Model, notices: Notices) -> None:
        from gemma_audio_cli.folder_settings import FolderSettings

        self._folders = FolderSettings()
        self._model, self.quiet, self._verbose = model, notices.quiet, notices.verbose
        self._warned: set[str] = set()
        self._recognizer: Recognizer | None = None
        self._exit_code = 0
        self._loaded = self._settings_of(None)

    @property
    def settings(self) -> Settings:
        """Those of the run."""
        return self._loaded.settings

    def settings_of(self, recording: str | None) -> Settings:
        """With what its folder says; None: without that. Raises UsageError."""
        return self._settings_of(recording).settings

    def _settings_of(self, recording: str | None) -> Loaded:
        loaded = self._folders.of(recording)
        for warning in loaded.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self.notice(f"warning: {warning}")
        return loaded

    def about(self, recordings: Iterable[str]) -> None:
        """What the run is about: the model is the one of their folders. Raises UsageError where those name
        several, ModelError where it is not there: a wrong path costs no time.
        """
        found: dict[str | None, str] = {}
        for recording in recordings:
            found.setdefault(self.settings_of(recording).model, recording)
        if self._model.model is None and len(found) > 1:
            (one, first), (other, second) = list(found.items())[:2]
            usual = "the usual model"
            raise UsageError(
                f"the folder of {printable(first)} asks for {one or usual}, that of {printable(second)} for "
                f"{other or usual}; name one with -m, or take two runs"
            )
        if found:
            self._loaded = self._settings_of(next(iter(found.values())))
        _ = self.recognizer

    @property
    def recognizer(self) -> Recognizer:
        """The model; it is opened when first needed."""
        from gemma_audio_cli.pipeline.recognizer import Recognizer

        if self._recognizer is None:
            chosen = self._model.options(self.settings)
            demo_notice = None if chosen.model else DEMO_NOTICE
            try:
                self._recognizer = Recognizer(chosen, notice=self.notice, demo_notice=demo_notice)
            except ModelNotFoundError as error:
                sources = self._loaded.sources
                if self._model.model is None and "model" in sources and chosen.mmproj is None:
                    raise ModelNotFoundError(f"{sources['model']}: model: {error}") from None
                raise
        return self._recognizer

    def notice(self, text: str) -> None:
        """A line for the person, unless -q."""
        if not self.quiet:
            say(text)

    def fail(self, file: str, error: GemmaAudioError) -> None:
        """An input failed: say so, naming it, and go on."""
        from gemma_audio_cli.audio.read.source import display_name

        name = f"{display_name(file)}: "
        say(f"error: {str(error) if str(error).startswith(name) else name + str(error)}")
        self._exit_code = error.exit_code

    def asked(self, event: RecordingDone, options: AskOptions) -> None:
        """A recording that was asked about is done: say where it failed, or had nothing to hear."""
        name = event.recording.file
        if event.error is not None:
            self.fail(name, event.error)
        elif not event.heard:
            hint = "; --no-vad asks about other sounds" if options.cut.vad else ""
            self.notice(f"{name}: no speech was heard{hint}")

    def failed(self) -> None:
        """Something went wrong and was reported."""
        self._exit_code = self._exit_code or 1

    def close(self) -> None:
        """Free the model; with -v, say where the time went."""
        if self._recognizer is None:
            return
        engine = self._recognizer.engine
        if engine is not None and self._verbose:
            _say_timings(engine, self._recognizer.slots)
        self._recognizer.close()

    def end(self) -> None:
        """The command is over: an exit code where something failed."""
        if self._exit_code:
            raise typer.Exit(self._exit_code)


def _say_timings(engine: Engine, slots: Slots | None) -> None:
    info = engine.info
    sys.stdout.flush()
    placed = f"  {info.n_gpu_layers} of {info.n_layer + 1} layers" if info.device != "CPU" else ""
    together = [f"batch    {slots.reason}"] if slots is not None and slots.rates else []
    lines = [f"device   {info.device}{placed}  {info.buffers}".rstrip(), *together]
    lines += timing_lines(engine.timings())
    with suppress(OSError):
        sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stderr.flush()


def timing_lines(timings: Timings) -> list[str]:
    """The table of -v: seconds of each stage, how much went through it, and how quickly."""
    t, audio = timings, timings.n_samples / SAMPLE_RATE
    rows = [
        ("load", t.load_s, "", 0.0, ""),
        ("mel", t.mel_s, f"{audio:.1f} s audio", audio, "x real time"),
        ("encode", t.encode_s, f"{t.n_audio_tokens} tokens", audio, "x real time"),
        ("prefill", t.prefill_s, f"{t.n_prefill} tokens", t.n_prefill, "tokens/s"),
        ("decode", t.decode_s, f"{t.n_decode} tokens", t.n_decode, "tokens/s"),
        (
            "total",
            sum((t.load_s, t.mel_s, t.encode_s, t.prefill_s, t.decode_s)),
            f"{audio:.1f} s audio",
            0.0,
            "",
        ),
    ]
    lines = []
    for name, seconds, what, amount, unit in rows:
        speed = f"{amount / seconds:10.1f} {unit}" if unit and seconds > 0 else ""
        lines.append(f"{name:8} {seconds:8.3f} s  {what:>16} {speed}".rstrip())
    return lines
