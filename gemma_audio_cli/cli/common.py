"""What all commands share: streams, messages, exit codes, and the model that is opened when first needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.telling import say
from gemma_audio_cli.engine.data import MAX_CLIP_SECONDS, SAMPLE_RATE
from gemma_audio_cli.errors import GemmaAudioError, InputError
from gemma_audio_cli.formatting import printable

if TYPE_CHECKING:
    from pathlib import Path

    from gemma_audio_cli.audio.cutter import CutOptions
    from gemma_audio_cli.audio.source import SourceOptions
    from gemma_audio_cli.audio.windows import Window
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.engine.data import Timings
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.transcriber import Segment, Transcriber

DEMO_NOTICE = (
    "using the small demo model, which knows spoken digits and a few commands only; "
    "choose another with -m, or get one: gemma-audio models pull e2b"
)

DEMO_WINDOW = 8.0
"""Seconds: the demo model was trained on short clips."""

FILES = typer.Argument(..., metavar="FILE", help="Recordings; - is standard input.", show_default=False)
MODEL = typer.Option(
    None, "-m", "--model", metavar="MODEL", show_default=False,
    help="e2b, e4b, 12b, demo, OWNER/REPOSITORY[:TYPE], a text GGUF, or a folder with a pair.",
    autocompletion=complete.models,
)  # fmt: skip
MMPROJ = typer.Option(
    None,
    "--mmproj",
    metavar="FILE",
    help="The audio projector, if not found beside the model.",
    show_default=False,
    autocompletion=complete.projectors,
)
THREADS = typer.Option(
    None, "-t", "--threads", min=1, help="CPU threads; default: one per physical core.", show_default=False
)
BACKEND = typer.Option(
    None, "--backend", metavar="NAME", help="auto, cpu, or one of `gemma-audio backends`.",
    show_default=False, autocompletion=complete.backends,
)  # fmt: skip
DEVICE = typer.Option(
    None, "--device", metavar="NAME", help="ggml's name of a device: CPU, CUDA1.", show_default=False,
    autocompletion=complete.devices,
)  # fmt: skip
GPU_LAYERS = typer.Option(
    None, "--gpu-layers", metavar="N", show_default=False,
    help="Layers of the text model on the device; default: auto, all that fit into its memory.",
)  # fmt: skip


def no_default(
    *names: str,
    help: str,
    metavar: str | None = None,
    min: float | None = None,
    complete: Callable[[str], list[str]] | None = None,
) -> Any:
    """An option that need not be given."""
    return typer.Option(
        None, *names, help=help, metavar=metavar, min=min, show_default=False, autocompletion=complete
    )


START = no_default("--start", metavar="TIME", help="Begin there: seconds, 1:30 or 1:02:03.")
END = no_default("--end", metavar="TIME", help="End there.")
CHANNEL = no_default("--channel", min=1, help="Hear only this channel, from 1.")
TRACK = no_default(
    "--track", metavar="N|LANG", help="Of a file with several audio tracks: this one (2, or deu)."
)
RAW = no_default("--raw", metavar="TYPE:RATE:CHANNELS", help="Headerless input: s16le:16000:1.")
VAD = typer.Option(
    True, "--vad/--no-vad", envvar="GEMMA_AUDIO_VAD", help="Find speech first; leave out silence."
)
VAD_THRESHOLD = no_default(
    "--vad-threshold",
    metavar="NUMBER",
    help="The probability from which on sound is speech, 0.05 to 0.95; default: 0.5.",
)
QUIET = typer.Option(False, "-q", "--quiet", help="No notices on stderr; errors only.")
VERBOSE = typer.Option(False, "-v", "--verbose", help="Print a timing table on stderr.")


def source_options(
    start: str | None,
    end: str | None,
    channel: int | None,
    raw: str | None,
    *,
    split: bool = False,
    track: str | None = None,
) -> SourceOptions:
    """What the options of a command say about its recordings. Raises UsageError."""
    from gemma_audio_cli.audio.pcm import parse_raw
    from gemma_audio_cli.audio.source import SourceOptions
    from gemma_audio_cli.audio.timecode import parse_time

    return SourceOptions(
        start=parse_time(start, "--start") if start else 0.0,
        end=parse_time(end, "--end") if end else None,
        channel=channel,
        split_channels=split,
        raw=parse_raw(raw) if raw else None,
        track=track,
    )


def heard_from(cut: CutOptions, threshold: float | None, settings: Settings) -> CutOptions:
    """The cut with the threshold that --vad-threshold or else the settings name. Raises UsageError."""
    from dataclasses import replace

    from gemma_audio_cli import config

    value = settings.vad_threshold if threshold is None else config.threshold(threshold, "--vad-threshold")
    # Speech that has begun goes on a little below the threshold, as by default.
    return cut if value is None else replace(cut, onset=value, offset=max(0.01, value - 0.15))


def oddity(name: str, segment: Segment) -> str | None:
    """What a person should know of a segment of the recording `name`, on one line; None: nothing."""
    if not segment.text or segment.reliable:
        return None
    what = f"unreliable ({', '.join(segment.flags)})" if segment.complete else "text cut at its longest"
    return f"{name}: {segment.start:.1f} s to {segment.end:.1f} s: {what}"


class Job:
    """One run of a command: its settings, its model, and how it went so far."""

    def __init__(
        self,
        model: str | None,
        mmproj: str | None,
        threads: int | None,
        *,
        quiet: bool,
        verbose: bool,
        max_tokens: int | None = None,
        backend: str | None = None,
        device: str | None = None,
        gpu_layers: str | None = None,
    ) -> None:
        """Names the files to use at once, so that a wrong path costs no time."""
        from gemma_audio_cli import config
        from gemma_audio_cli.backends.choose import choose, layers
        from gemma_audio_cli.models import resolve

        loaded = config.load_all()
        self.settings: Settings = loaded.settings
        self._quiet, self._verbose = quiet, verbose
        for warning in loaded.warnings:
            self.notice(f"warning: {warning}")
        self._threads = threads or self.settings.threads
        self._backend = backend or self.settings.backend
        self._device = device or self.settings.device
        self._gpu_layers = layers(gpu_layers or self.settings.gpu_layers)
        choose(self._backend, self._device)
        self.decode: dict[str, Any] = {"max_tokens": max_tokens} if max_tokens else {}
        """Fields of DecodeOptions that differ from their defaults."""
        # A projector in the settings belongs to the model in the settings.
        if model is None:
            mmproj = mmproj or self.settings.mmproj
        self.pair = resolve(model or self.settings.model, mmproj)
        self._implicit_demo = self.pair.is_demo and model is None and self.settings.model is None
        self.longest_window = DEMO_WINDOW if self.pair.is_demo else MAX_CLIP_SECONDS
        """Seconds of sound that the model hears well at once."""
        self._transcriber: Transcriber | None = None
        self.exit_code = 0

    @property
    def files(self) -> list[Path]:
        """The model's files, which nothing may be written to."""
        from gemma_audio_cli.models.names import part_paths

        return [*part_paths(self.pair.text), self.pair.mmproj]

    def notice(self, text: str) -> None:
        """A line for the person, unless -q."""
        if not self._quiet:
            say(text)

    def fail(self, file: str, error: GemmaAudioError) -> None:
        """An input failed: say so, naming it, and go on."""
        from gemma_audio_cli.audio.decode import display_name

        name = f"{display_name(file)}: "
        say(f"error: {str(error) if str(error).startswith(name) else name + str(error)}")
        self.exit_code = error.exit_code

    def transcriber(self) -> Transcriber:
        """The model, opened at the first call."""
        if self._transcriber is None:
            from gemma_audio_cli.backends.opening import Opener
            from gemma_audio_cli.engine.data import EngineOptions
            from gemma_audio_cli.engine.transcriber import DecodeOptions, Transcriber

            if self._implicit_demo:
                self.notice(DEMO_NOTICE)
            placed = EngineOptions(self._threads, self._device, gpu_layers=self._gpu_layers)
            opener = Opener(self.pair.text, self.pair.mmproj, placed, self.notice)
            self._transcriber = Transcriber(
                opener.open(self._backend),
                DecodeOptions(**self.decode),
                notice=self.notice,
                fall_back=opener.fall_back,
            )
        return self._transcriber

    def windows(self, file: str, options: SourceOptions) -> Iterator[Window]:
        """The windows of a recording, all of it covered. Its first one is decoded before this returns: a bad
        file costs no model.
        """
        from itertools import chain

        from gemma_audio_cli.audio.decode import display_name, samples
        from gemma_audio_cli.audio.level import telling
        from gemma_audio_cli.audio.windows import windows

        found = telling(windows(samples(file, self.notice, options)), display_name(file), self.notice)
        first = next(found, None)
        return chain(() if first is None else (first,), found)

    def close(self) -> None:
        """Free the model; with -v, say where the time went."""
        if self._transcriber is not None:
            self._transcriber.close()
            if self._verbose:
                self._say_timings(self._transcriber.engine)
            self._transcriber.engine.close()

    @staticmethod
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


def each(job: Job, files: list[str], work: Callable[[str], None]) -> None:
    """Does the work for every file; one that fails does not stop the others. Ends the command."""
    try:
        for file in files:
            try:
                work(file)
            except InputError as error:
                job.fail(file, error)
    finally:
        job.close()
    if job.exit_code:
        raise typer.Exit(job.exit_code)
