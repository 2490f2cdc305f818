"""`gemma-audio live`: a microphone, or another live stream, becomes text while it is spoken."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.common import (
    BACKEND,
    CHANNEL,
    GPU_LAYERS,
    MMPROJ,
    MODEL,
    QUIET,
    RAW,
    THREADS,
    VAD_THRESHOLD,
    VERBOSE,
    Job,
    heard_from,
    no_default,
    source_options,
)
from gemma_audio_cli.cli.devices import DEVICE, LIST_DEVICES, print_devices
from gemma_audio_cli.cli.telling import exit_codes
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.audio.backlog import Backlog
    from gemma_audio_cli.audio.cutter import CutOptions
    from gemma_audio_cli.audio.source import SourceOptions
    from gemma_audio_cli.cli.live_source import LiveSource
    from gemma_audio_cli.output import OutputPlan

EXAMPLES = """Examples:

\b
  gemma-audio live
  gemma-audio live -m gemma-4-E2B-it-Q4_0.gguf --language German --save rede.flac
  gemma-audio live -f srt -o talk.srt
  gemma-audio live --ask "What was asked for?" --push-to-talk
  gemma-audio live --jsonl | jq -r 'select(.type=="final").text'
  ffmpeg -i http://radio.example/stream -f wav - | gemma-audio live -
  gemma-audio live --realtime talk.wav

Words show while they are spoken and may still change; a pause makes them final, and final lines
stay. When standard output is no terminal it gets final lines only. Ctrl-C ends the sound, and
what was said is finished; Ctrl-C again stops at once.
"""


def live(
    source: str = typer.Argument(
        None, metavar="[FILE]", help="A stream instead of the microphone; - is standard input.",
        show_default=False,
    ),
    device: str = DEVICE,
    list_devices: bool = LIST_DEVICES,
    pause: float = typer.Option(0.6, "--pause", metavar="SECONDS", help="A pause that long ends a line."),
    push_to_talk: bool = typer.Option(
        False, "--push-to-talk", help="Hear only between two presses of the space bar."
    ),
    ask: str = no_default("--ask", metavar="QUESTION", help="Answer this about each utterance instead."),
    language: str = no_default("-l", "--language", help="The language spoken (German or de)."),
    translate_to: str = no_default("--translate-to", metavar="LANGUAGE", help="Also translate."),
    context: str = no_default("--context", help="Names and terms that may be heard."),
    formats: list[str] = no_default(
        "-f", "--format", metavar="FORMAT", help="One, several (srt,vtt) or all.", complete=complete.formats
    ),
    output: str = no_default(
        "-o", "--output", metavar="FILE|FOLDER", help="Where results go; default: standard output."
    ),
    jsonl: bool = typer.Option(False, "--jsonl", help="Short for -f jsonl: partial and final events."),
    timestamps: bool = typer.Option(False, "--timestamps", help="Text: begin each line with its times."),
    save: str = no_default("--save", metavar="FILE", help="Keep what is heard: .flac, .wav or .ogg."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that are there."),
    realtime: bool = typer.Option(False, "--realtime", help="Replay FILE at speaking pace."),
    channel: int = CHANNEL,
    raw: str = RAW,
    vad_threshold: float = VAD_THRESHOLD,
    window: float = no_default("--window", metavar="SECONDS", help="Longest utterance; default: 30."),
    model: str = MODEL,
    mmproj: str = MMPROJ,
    threads: int = THREADS,
    backend: str = BACKEND,
    gpu_layers: str = GPU_LAYERS,
    quiet: bool = QUIET,
    verbose: bool = VERBOSE,
) -> None:
    """Turn speech into text while it is spoken."""  # fmt: skip
    with exit_codes():
        if list_devices:
            print_devices()
            return
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.audio.backlog import Backlog
        from gemma_audio_cli.audio.recorder import check_output
        from gemma_audio_cli.cli.live_session import LiveOptions, LiveSession
        from gemma_audio_cli.engine.data import SAMPLE_RATE
        from gemma_audio_cli.engine.listener import ListenOptions
        from gemma_audio_cli.engine.prompt import instruction
        from gemma_audio_cli.output.names import identity

        if realtime and source is None:
            raise UsageError("--realtime replays a file; name it")
        if ask is not None and not ask.strip():
            raise UsageError("the question is empty")
        part = source_options(None, None, channel, raw)
        source = local_path(source) if source else source
        job = Job(
            model, mmproj, threads, quiet=quiet, verbose=verbose, backend=backend, gpu_layers=gpu_layers
        )
        spoken = language or job.settings.language
        seconds = window or job.longest_window
        job.decode = {"slots": 1, "max_seconds": seconds}
        kinds = [*(formats or ()), *(["jsonl"] if jsonl else ())]
        options = LiveOptions(
            instruction(spoken, translate_to=translate_to, context=context, replacement=ask),
            heard_from(_cut(pause, seconds), vad_threshold, job.settings),
            ListenOptions(answer=ask is not None, partials=ask is None),
            language=spoken,
            save=Path(save) if save else None,
            overwrite=overwrite,
            push_to_talk=push_to_talk,
            show=not quiet,
        )
        if options.save is not None:
            used = set(map(identity, job.files)) | ({identity(source)} if source else set())
            if identity(options.save) in used:
                raise UsageError(f"{options.save}: this file is in use here; choose another for --save")
            check_output(options.save, SAMPLE_RATE, overwrite=overwrite)
        in_use = [*job.files, *([options.save] if options.save else [])]
        plan = _plan(source, output, kinds, in_use, timestamps=timestamps, overwrite=overwrite)
        backlog = Backlog()
        try:
            opened = _open(source, device or job.settings.microphone, part, job, backlog, realtime=realtime)
            LiveSession(job, opened, backlog, plan, options).run()
        finally:
            backlog.dispose()
            job.close()
        if job.exit_code:
            raise typer.Exit(job.exit_code)


def _cut(pause: float, seconds: float) -> CutOptions:
    from gemma_audio_cli.audio.utterances import live_cut

    try:
        return live_cut(pause, seconds)
    except ValueError as error:
        raise UsageError(f"--pause, --window: {error}") from None


def _plan(
    source: str | None,
    output: str | None,
    kinds: list[str],
    in_use: list[Path],
    *,
    timestamps: bool,
    overwrite: bool,
) -> OutputPlan:
    """Where results go. A stream cannot be heard again, so what is there is not written over unasked."""
    from gemma_audio_cli.output import OutputPlan, Style

    name = source if source not in (None, "-") else f"live-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"
    style = Style(timestamps=timestamps, live=True)
    plan = OutputPlan([str(name)], output, kinds, style=style, in_use=in_use)
    for item in plan.items:
        for path in item.paths:
            if path.is_file() and not overwrite:
                raise UsageError(f"{path}: is there already; choose another place, or --overwrite")
    plan.prepare()
    return plan


def _open(
    source: str | None,
    device: str | None,
    part: SourceOptions,
    job: Job,
    backlog: Backlog,
    *,
    realtime: bool,
) -> LiveSource:
    """The microphone, or the stream that was named."""
    if source is None:
        from gemma_audio_cli.audio.microphone import Microphone

        return Microphone(device, notice=job.notice)
    from gemma_audio_cli.cli.live_source import Stream

    if source != "-" and os.path.isdir(source):
        raise UsageError(f"{source}: this is a folder; name one recording")
    return Stream(source, part, job.notice, realtime=realtime, waiting=lambda: backlog.seconds)
