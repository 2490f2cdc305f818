"""`gemma-audio transcribe FILE...`: what is said in recordings."""

from __future__ import annotations

import sys

import typer

from gemma_audio_cli.cli.common import FILES, MMPROJ, MODEL, QUIET, THREADS, VERBOSE, Job, each, exit_codes
from gemma_audio_cli.errors import InputError, UsageError

EXAMPLES = """Examples:

\b
  gemma-audio transcribe talk.wav
  gemma-audio transcribe --language German -m gemma-4-E2B-it-Q4_0.gguf rede.mp3
  gemma-audio transcribe -f json interview.flac | jq -r .text
  ffmpeg -i clip.mkv -f wav - | gemma-audio transcribe - > clip.txt

Text is printed as it is decoded, a line for each stretch of at most 30 s. With several files
every line begins with "FILE: ".
"""


def transcribe(
    files: list[str] = FILES,
    output_format: str = typer.Option(
        "text", "-f", "--format", metavar="text|json", help="How to print results."
    ),
    language: str = typer.Option(
        None,
        "-l",
        "--language",
        help="The language spoken (German or de); default: the model finds it.",
        show_default=False,
    ),
    model: str = MODEL,
    mmproj: str = MMPROJ,
    threads: int = THREADS,
    quiet: bool = QUIET,
    verbose: bool = VERBOSE,
) -> None:
    """Print what is said in recordings."""
    with exit_codes():
        from gemma_audio_cli.audio.decode import display_name
        from gemma_audio_cli.audio.windows import UntilFailure
        from gemma_audio_cli.output import FORMATS, make_writer

        if output_format not in FORMATS:
            raise UsageError(f"there is no format {output_format!r}; choose from {', '.join(FORMATS)}")
        job = Job(model, mmproj, threads, quiet=quiet, verbose=verbose)
        writer = make_writer(output_format, sys.stdout, with_names=len(files) > 1)

        def work(file: str) -> None:
            name = display_name(file)
            error: str | None = None
            heard = False
            writer.begin(name)
            try:
                windows = UntilFailure(job.windows(file))
                for segment in job.transcriber().transcribe(
                    windows, language=language or job.settings.language, on_text=writer.delta
                ):
                    heard = heard or bool(segment.text)
                    if not segment.complete:
                        job.notice(
                            f"{name}: {segment.start:.1f} s to {segment.end:.1f} s: text cut at its longest"
                        )
                    writer.segment(segment)
                windows.raise_failure()
            except InputError as failure:
                error = str(failure)
                raise
            except BaseException:
                error = "interrupted"
                raise
            finally:
                writer.end(error)
            if not heard:
                job.notice(f"{name}: no speech was heard")

        each(job, files, work)
