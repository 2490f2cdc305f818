"""`gemma-audio transcribe FILE...`: what is said in recordings."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.common import (
    BACKEND,
    CHANNEL,
    DEVICE,
    END,
    FILES,
    GPU_LAYERS,
    MMPROJ,
    MODEL,
    QUIET,
    RAW,
    START,
    THREADS,
    TRACK,
    VAD,
    VAD_THRESHOLD,
    VERBOSE,
    Job,
    heard_from,
    no_default,
    source_options,
)
from gemma_audio_cli.cli.telling import exit_codes
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.audio.source import SourceOptions
    from gemma_audio_cli.cli.batch import BatchOptions

EXAMPLES = """Examples:

\b
  gemma-audio transcribe talk.wav
  gemma-audio transcribe talks/*.mp3 -f srt -o subs/ --resume
  gemma-audio transcribe --language German -m gemma-4-E2B-it-Q4_0.gguf rede.m4a
  gemma-audio transcribe --start 1:30 --end 2:00 --timestamps film.mkv
  gemma-audio transcribe --jsonl interview.flac | jq -r 'select(.type=="segment").text'
  ffmpeg -i clip.mkv -f wav - | gemma-audio transcribe - > clip.txt

Text is printed as it is decoded, a line for each stretch of at most 30 s. With several files
every line begins with "FILE: ". Formats: text, srt, vtt, ass, lrc, json, jsonl, tsv.
"""

def transcribe(
    files: list[str] = FILES,
    formats: list[str] = no_default(
        "-f", "--format", metavar="FORMAT", help="One, several (srt,vtt) or all.", complete=complete.formats
    ),
    output: str = no_default(
        "-o", "--output", metavar="FILE|FOLDER", help="Where results go; default: standard output."
    ),
    resume: bool = typer.Option(False, "--resume", help="Leave out recordings whose results are there."),
    recursive: bool = typer.Option(False, "-r", "--recursive", help="Take all recordings of folders."),
    timestamps: bool = typer.Option(False, "--timestamps", help="Text: begin each line with its times."),
    jsonl: bool = typer.Option(False, "--jsonl", help="Short for -f jsonl: events while it works."),
    max_line: int = typer.Option(42, "--max-line", help="Subtitles: columns of a line."),
    language: str = no_default(
        "-l", "--language", help="The language spoken (German or de); default: the model finds it."
    ),
    translate_to: str = no_default("--translate-to", metavar="LANGUAGE", help="Also translate."),
    context: str = no_default("--context", help="Names and terms that may be heard."),
    prompt: str = no_default("--prompt", help="Your own instruction in place of the usual one."),
    start: str = START,
    end: str = END,
    channel: int = CHANNEL,
    split_channels: bool = typer.Option(False, "--split-channels", help="Transcribe each channel apart."),
    track: str = TRACK,
    all_tracks: bool = typer.Option(False, "--all-tracks", help="Transcribe each audio track apart."),
    raw: str = RAW,
    vad: bool = VAD,
    vad_threshold: float = VAD_THRESHOLD,
    window: float = no_default("--window", metavar="SECONDS", help="Longest window; default: 30."),
    min_pause: float = typer.Option(0.12, "--min-pause", help="Shortest pause between words, in seconds."),
    batch: str = typer.Option("auto", "--batch", metavar="N|auto", help="Windows decoded at once."),
    model: str = MODEL,
    mmproj: str = MMPROJ,
    threads: int = THREADS,
    backend: str = BACKEND,
    device: str = DEVICE,
    gpu_layers: str = GPU_LAYERS,
    quiet: bool = QUIET,
    verbose: bool = VERBOSE,
) -> None:
    """Print what is said in recordings, or write it to files."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.audio.walk import expand
        from gemma_audio_cli.cli.batch import Batch
        from gemma_audio_cli.output import OutputPlan, Progress, Style

        if resume and output is None:
            raise UsageError("--resume needs -o: standard output keeps nothing to go on from")
        source = source_options(start, end, channel, raw, split=split_channels, track=track)
        if all_tracks:
            _check_all_tracks(files, source)
        style = Style(timestamps=timestamps, max_line=max_line)
        kinds = [*(formats or ()), *(["jsonl"] if jsonl else ())]
        job = Job(
            model, mmproj, threads, quiet=quiet, verbose=verbose,
            backend=backend, device=device, gpu_layers=gpu_layers,
        )  # fmt: skip
        seconds = window or job.longest_window
        job.decode = {"slots": _slots(batch), "max_seconds": seconds}
        named = map(local_path, files)
        inputs = list(expand(named, recursive=recursive, notice=job.notice, failed=job.fail))
        plan = OutputPlan(inputs, output, kinds, style=style, in_use=job.files)
        plan.prepare()
        watched = plan.to_stdout and sys.stdout.isatty()
        options = _options(
            source, seconds, min_pause, language or job.settings.language, translate_to, context, prompt,
            vad=vad, resume=resume, stream=watched, all_tracks=all_tracks,
        )  # fmt: skip
        if options.cut is not None:
            options = replace(options, cut=heard_from(options.cut, vad_threshold, job.settings))
        try:
            with Progress(len(plan.items), enabled=False if watched or quiet else None) as progress:
                whole = Batch(job, plan, options, progress).run()
            if len(plan.items) > 1 and not plan.to_stdout:
                job.notice(progress.summary())
        finally:
            job.close()
        if not whole:
            raise KeyboardInterrupt
        if job.exit_code:
            raise typer.Exit(job.exit_code)


def _options(
    source: SourceOptions,
    seconds: float,
    min_pause: float,
    language: str | None,
    translate_to: str | None,
    context: str | None,
    replacement: str | None,
    *,
    vad: bool,
    resume: bool,
    stream: bool,
    all_tracks: bool,
) -> BatchOptions:
    from gemma_audio_cli.audio.windows import WindowOptions
    from gemma_audio_cli.cli.batch import BatchOptions
    from gemma_audio_cli.engine.prompt import instruction

    cut = None
    try:
        whole = WindowOptions(max_seconds=seconds, search_seconds=min(8.0, seconds / 2))
        if vad:
            from gemma_audio_cli.audio.cutter import CutOptions

            cut = CutOptions(max_seconds=seconds, min_pause=min_pause)
    except ValueError as error:
        raise UsageError(f"--window, --min-pause: {error}") from None
    if source.split_channels and cut is None:
        raise UsageError("--split-channels needs speech detection; leave out --no-vad")
    text = instruction(language, translate_to=translate_to, context=context, replacement=replacement)
    return BatchOptions(
        text, language, source, whole, cut, resume=resume, stream=stream, all_tracks=all_tracks
    )


def _check_all_tracks(files: list[str], source: SourceOptions) -> None:
    if source.track is not None or source.split_channels or source.raw is not None:
        raise UsageError("--all-tracks does not go with --track, --split-channels or --raw")
    if "-" in files:
        raise UsageError("--all-tracks reads a file once for each track; save standard input to a file first")


def _slots(batch: str) -> int:
    from gemma_audio_cli.engine.transcriber import DEFAULT_SLOTS

    if batch == "auto":
        return DEFAULT_SLOTS
    if not batch.isdecimal() or not 1 <= int(batch) <= 64:
        raise UsageError(f"--batch must be auto or a number from 1 to 64, not {batch!r}")
    return int(batch)
