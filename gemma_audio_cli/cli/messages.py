"""What a command says and how it ends: results on stdout, messages on stderr, an exit code.

All text that a command prints passes here, so that nothing in it acts on a terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from gemma_audio_cli import interrupts, limits
from gemma_audio_cli.cli.streams import give_up_stdout, reader_is_gone
from gemma_audio_cli.errors import GemmaAudioError
from gemma_audio_cli.formatting import json_text, printable


def say(text: str) -> None:
    """One line on stderr, behind whatever stdout has so far."""
    sys.stdout.flush()
    # In one piece, so that an interruption leaves no half line. A full stderr cannot be reported.
    with suppress(OSError):
        sys.stderr.write(f"gemma-audio: {printable(text.strip())}\n")
        sys.stderr.flush()


def put(*lines: str) -> None:
    """Results for a person, a line each, on stdout; what names and models bring along is made printable."""
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))


def put_json(value: object) -> None:
    """A result for a program: JSON on one line."""
    sys.stdout.write(f"{json_text(value)}\n")


def put_path(path: str | os.PathLike[str]) -> None:
    """A path as a result, a line. For a program its bytes that are no UTF-8 stay as they are."""
    text, shown = os.fspath(path), printable(os.fspath(path))
    if shown != text and not sys.stdout.isatty():
        shown = "".join(c if "\udc80" <= c <= "\udcff" else printable(c) for c in text)
    sys.stdout.write(f"{shown}\n")


@contextmanager
def exit_codes() -> Iterator[None]:
    """The work of a command: what ends it becomes one line and an exit code."""
    try:
        with interrupts.Working():
            yield
            sys.stdout.flush()
    except GemmaAudioError as error:
        _last_words(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(interrupted()) from None
    except OSError as error:
        raise typer.Exit(failed(error)) from None


def interrupted() -> int:
    """Says so, behind what was printed; the exit code."""
    with suppress(OSError):
        sys.stdout.flush()
    interrupts.tell()
    return interrupts.INTERRUPTED


def failed(error: OSError) -> int:
    """Something that nobody expected to fail, such as writing the results: the exit code, after a line."""
    if isinstance(error, BrokenPipeError) and reader_is_gone():
        give_up_stdout()
        return interrupts.READER_GONE
    lack = limits.describe(error)
    if lack is not None:
        say(f"error: {lack}")
        return limits.EXIT_CODE
    give_up_stdout()
    reason = error.strerror or str(error)
    if error.filename is not None:
        say(f"error: {os.fsdecode(error.filename)}: {reason}")
    elif error.errno == errno.EBADF:
        say("error: cannot write the results: standard output is closed; send it somewhere, or use -o")
    else:
        say(f"error: cannot write the results: {reason}; choose another place for them")
    return 1


def _last_words(text: str) -> None:
    """`say`, though standard output may be what failed."""
    try:
        say(text)
    except OSError:
        give_up_stdout()
        say(text)
