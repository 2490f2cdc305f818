"""What all commands share: streams, messages, exit codes, and the model that is opened when first needed."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli.messages import say
from gemma_audio_cli.errors import GemmaAudioError
from gemma_audio_cli.formatting import printable
from gemma_audio_cli.sound import SAMPLE_RATE

if TYPE_CHECKING:
    from gemma_audio_cli.cli.options import Model, Notices
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.structs import Timings
    from gemma_audio_cli.transcript import Segment

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


class Job:
    """One run of a command: its settings, its model, and how it went so far."""

    def __init__(self, model: Model, notices: Notices) -> None:
        """Names the model's files at once, so that a wrong path costs no time."""
        from gemma_audio_cli import config
        from gemma_audio_cli.pipeline.recognizer import Recognizer

        loaded = config.load_all()
        self.settings: Settings = loaded.settings
        self._quiet, self._verbose = notices.quiet, notices.verbose
        for warning in loaded.warnings:
            self.notice(f"warning: {warning}")
        chosen = model.options(self.settings)
        self.recognizer = Recognizer(
            chosen, notice=self.notice, demo_notice=None if chosen.model else DEMO_NOTICE
        )
        self._exit_code = 0

    def notice(self, text: str) -> None:
        """A line for the person, unless -q."""
        if not self._quiet:
            say(text)

    def fail(self, file: str, error: GemmaAudioError) -> None:
        """An input failed: say so, naming it, and go on."""
        from gemma_audio_cli.audio.read.source import display_name

        name = f"{display_name(file)}: "
        say(f"error: {str(error) if str(error).startswith(name) else name + str(error)}")
        self._exit_code = error.exit_code

    def failed(self) -> None:
        """Something went wrong and was reported."""
        self._exit_code = self._exit_code or 1

    def close(self) -> None:
        """Free the model; with -v, say where the time went."""
        engine = self.recognizer.engine
        if engine is not None and self._verbose:
            _say_timings(engine)
        self.recognizer.close()

    def end(self) -> None:
        """The command is over: an exit code where something failed."""
        if self._exit_code:
            raise typer.Exit(self._exit_code)


def _say_timings(engine: Engine) -> None:
    info = engine.info
    sys.stdout.flush()
    placed = f"  {info.n_gpu_layers} of {info.n_layer + 1} layers" if info.device != "CPU" else ""
    lines = [f"device   {info.device}{placed}  {info.buffers}".rstrip(), *timing_lines(engine.timings())]
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
