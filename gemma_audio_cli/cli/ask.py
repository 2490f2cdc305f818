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
    VERBOSE,
    Job,
    each,
    exit_codes,
    source_options,
)
from gemma_audio_cli.errors import UsageError

EXAMPLES = """Examples:

\b
  gemma-audio ask "How many digits are spoken?" digits.wav
  gemma-audio ask -m gemma-4-E2B-it-Q4_0.gguf "Who agreed to send the draft?" call.wav
  gemma-audio ask "Is anybody angry?" calls/*.ogg
  gemma-audio ask --start 12:30 --end 13:00 "What is decided?" meeting.m4a

The answer is printed as it is decoded. Several files are asked one after the other,
and every line begins with "FILE: ".
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
    raw: str = RAW,
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
        from gemma_audio_cli.audio.decode import display_name
        from gemma_audio_cli.output import TextWriter

        if not question.strip():
            raise UsageError("the question is empty")
        source = source_options(start, end, channel, raw)
        job = Job(
            model, mmproj, threads, quiet=quiet, verbose=verbose, max_tokens=max_tokens,
            backend=backend, device=device, gpu_layers=gpu_layers,
        )  # fmt: skip
        writer = TextWriter(sys.stdout, with_names=len(files) > 1)

        def work(file: str) -> None:
            name = display_name(file)
            writer.begin(name)
            try:
                windows = job.windows(file, source)
                answer = job.transcriber().ask(question, windows, on_text=writer.delta)
            finally:
                writer.end()
            if not answer.complete:
                job.notice(f"{name}: the answer was cut at {max_tokens} tokens; allow more with --max-tokens")

        each(job, files, work)
