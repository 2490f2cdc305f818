"""`gemma-audio ask "QUESTION" FILE...`: a question about recordings."""

from __future__ import annotations

import sys

import typer

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
    each,
    heard_from,
    source_options,
)
from gemma_audio_cli.cli.telling import exit_codes
from gemma_audio_cli.errors import UsageError

EXAMPLES = """Examples:

\b
  gemma-audio ask "How many digits are spoken?" digits.wav
  gemma-audio ask -m gemma-4-E2B-it-Q4_0.gguf "Who agreed to send the draft?" call.wav
  gemma-audio ask "Is anybody angry?" calls/*.ogg
  gemma-audio ask --no-vad "Which instruments are played?" song.flac
  gemma-audio ask --start 12:30 --end 13:00 "What is decided?" meeting.m4a

The answer is printed as it is decoded. Several files are asked one after the other,
and every line begins with "FILE: ". Where nobody speaks nothing is answered, for a model that
hears nothing invents things; --no-vad asks about music and other sounds.
"""


def ask(
    question: str = typer.Argument(
        ..., metavar="QUESTION", help="What to ask, or tell, the model.", show_default=False
    ),
    files: list[str] = FILES,
    max_tokens: int = typer.Option(512, "--max-tokens", min=1, help="Longest answer, in tokens."),
    start: str = START,
    end: str = END,
    channel: int = CHANNEL,
    track: str = TRACK,
    raw: str = RAW,
    vad: bool = VAD,
    vad_threshold: float = VAD_THRESHOLD,
    model: str = MODEL,
    mmproj: str = MMPROJ,
    threads: int = THREADS,
    backend: str = BACKEND,
    device: str = DEVICE,
    gpu_layers: str = GPU_LAYERS,
    quiet: bool = QUIET,
    verbose: bool = VERBOSE,
) -> None:
    """Answer a question about recordings."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.audio import presence
        from gemma_audio_cli.audio.cutter import CutOptions
        from gemma_audio_cli.audio.decode import display_name
        from gemma_audio_cli.audio.windows import UntilFailure, WindowOptions
        from gemma_audio_cli.output import TextWriter

        if not question.strip():
            raise UsageError("the question is empty")
        source = source_options(start, end, channel, raw, track=track)
        job = Job(
            model, mmproj, threads, quiet=quiet, verbose=verbose, max_tokens=max_tokens,
            backend=backend, device=device, gpu_layers=gpu_layers,
        )  # fmt: skip
        onset = heard_from(CutOptions(), vad_threshold, job.settings).onset
        writer = TextWriter(sys.stdout, with_names=len(files) > 1)

        def work(file: str) -> None:
            name = display_name(file)
            writer.begin(name)
            try:
                heard = presence.speech(onset) if vad else presence.sound(WindowOptions().silence_peak)
                # Of a recording that is damaged or cut short, what is there is asked about.
                found = UntilFailure(job.windows(file, source))
                windows = presence.from_first(found, heard)
                if windows is None:
                    found.raise_failure()
                    job.notice(f"{name}: no speech was heard" + "; --no-vad asks about other sounds" * vad)
                    return
                answer = job.transcriber().ask(question, windows, on_text=writer.delta)
            finally:
                writer.end()
            if not answer.text:
                job.notice(f"{name}: the model gave no answer")
            if not answer.complete:
                job.notice(f"{name}: the answer was cut at {max_tokens} tokens; allow more with --max-tokens")
            found.raise_failure()

        each(job, list(map(local_path, files)), work)
