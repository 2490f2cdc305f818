"""The command line: one module a command, each of them parse, call, render.

Nothing heavy is imported here: `gemma-audio --help` must answer at once.
"""

from __future__ import annotations

import typer

from gemma_audio_cli import __version__
from gemma_audio_cli.cli import (
    ask,
    backends,
    bench,
    config,
    doctor,
    live,
    models,
    record,
    transcribe,
)
from gemma_audio_cli.cli.common import prepare_streams

_HELP = """Speech to text and questions about recordings, on this machine.

Recordings are audio or video files of any kind, or - for standard input. Results go to stdout,
everything else to stderr.
"""
_EXAMPLES = """Examples:

\b
  gemma-audio transcribe talk.wav
  gemma-audio models pull e2b
  gemma-audio transcribe -m e2b *.mp3
  gemma-audio ask "What is the first digit?" digits.wav
  gemma-audio live
  ffmpeg -i clip.mkv -f wav - | gemma-audio transcribe -
  gemma-audio record meeting.flac

\b
Exit codes: 0 all done, 1 some recording failed (the others are done), 2 wrong usage,
3 model, engine or microphone unusable, 130 interrupted.
"""

app = typer.Typer(
    name="gemma-audio",
    help=_HELP,
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("transcribe", epilog=transcribe.EXAMPLES)(transcribe.transcribe)
app.command("live", epilog=live.EXAMPLES)(live.live)
app.command("ask", epilog=ask.EXAMPLES)(ask.ask)
app.command("record", epilog=record.EXAMPLES)(record.record)
app.command("bench", epilog=bench.EXAMPLES)(bench.bench)
models.register(app)
app.add_typer(backends.app, name="backends")
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.add_typer(config.app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gemma-audio {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def run(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    prepare_streams()
    try:
        app(arguments, prog_name="gemma-audio")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0
