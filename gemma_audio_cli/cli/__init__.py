"""The command line: one module a command, each of them parse, call, render.

Nothing heavy is imported here: `gemma-audio --help` must answer at once.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from io import StringIO
from typing import Any

import typer

from gemma_audio_cli import interrupts
from gemma_audio_cli.cli import (
    ask,
    backends,
    bench,
    cache,
    chat,
    config,
    doctor,
    live,
    models,
    recipes,
    record,
    transcribe,
)
from gemma_audio_cli.cli.messages import failed, interrupted
from gemma_audio_cli.cli.options import GroupedCommand
from gemma_audio_cli.cli.streams import prepare_streams, reader_is_gone
from gemma_audio_cli.formatting import printable
from gemma_audio_cli.version import __version__

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
app.command("transcribe", cls=GroupedCommand, epilog=transcribe.EXAMPLES)(transcribe.transcribe)
app.command("live", cls=GroupedCommand, epilog=live.EXAMPLES)(live.live)
app.command("ask", cls=GroupedCommand, epilog=ask.EXAMPLES)(ask.ask)
app.command("chat", cls=GroupedCommand, epilog=chat.EXAMPLES)(chat.chat)
app.command("minutes", cls=GroupedCommand, epilog=recipes.EXAMPLES)(recipes.minutes)
app.add_typer(recipes.app, name="recipes")
app.command("record", cls=GroupedCommand, epilog=record.EXAMPLES)(record.record)
app.command("bench", cls=GroupedCommand, epilog=bench.EXAMPLES)(bench.bench)
models.register(app)
app.add_typer(backends.app, name="backends")
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(cache.app, name="cache")


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
        code = app(arguments, prog_name="gemma-audio", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SystemExit as end:  # completion, or help whose reader went away
        if end.code == 1 and reader_is_gone():
            return interrupts.READER_GONE
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except (KeyboardInterrupt, typer.Abort):
        return interrupted()
    except OSError as error:
        return failed(error)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _tell_usage(error)
        return int(getattr(error, "exit_code", 2))


def _tell_usage(error: Any) -> None:
    """What the parser of options says of a command line. That may hold names of files, which a pattern of the
    shell put there.
    """
    shown = StringIO()
    error.show(file=shown)
    usage, mark, message = shown.getvalue().partition("Error: ")
    lines = usage.splitlines() + ([f"{mark}{message.strip()}"] if mark else [])
    with suppress(OSError):
        sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stderr.flush()
