"""`gemma-audio backends`: what could run the model, what is built, what is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.messages import exit_codes, put, put_json, put_path, say
from gemma_audio_cli.cli.options import Quiet
from gemma_audio_cli.formatting import byte_amount

if TYPE_CHECKING:
    from gemma_audio_cli.backends.build import OnProgress
    from gemma_audio_cli.backends.parse import Device
    from gemma_audio_cli.backends.status import Line

EXAMPLES = """Examples:

\b
  gemma-audio backends
  gemma-audio backends --json
  gemma-audio backends build vulkan
  gemma-audio transcribe --backend vulkan talk.wav

Where a backend has no device or cannot be built, the last column says what it takes.
"""

BUILD_EXAMPLES = """Examples:

\b
  gemma-audio backends build vulkan
  nice gemma-audio backends build cuda

Compiles llama-cpp-python and the engine from source. Ctrl-C ends it; what was built before stays in
use until a new build is complete. CMAKE_BUILD_PARALLEL_LEVEL limits the compilers that run at once.
"""

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True, epilog=EXAMPLES)
def backends(
    context: typer.Context, as_json: bool = typer.Option(False, "--json", help="Print one JSON array.")
) -> None:
    """Show what this machine can compute on."""
    if context.invoked_subcommand is not None:
        return
    with exit_codes():
        from gemma_audio_cli.backends.status import lines

        found = lines()
        if as_json:
            put_json([line.as_json() for line in found])
        else:
            put(*table(found))


@app.command("build", epilog=BUILD_EXAMPLES)
def build(
    name: str = typer.Argument(
        ...,
        metavar="NAME",
        help="One of the table's names.",
        show_default=False,
        autocompletion=complete.backends,
    ),
    quiet: Quiet = False,
) -> None:
    """Build a backend into a folder of its own; takes some minutes, longer for CUDA."""
    with exit_codes():
        import signal

        from gemma_audio_cli.backends import build as building
        from gemma_audio_cli.backends.table import find_backend

        # Whoever ends this by a signal means the compilers too, which run in a session of their own.
        for number in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, number):
                signal.signal(getattr(signal, number), signal.default_int_handler)
        row = find_backend(name)
        with _progress(quiet) as advance:
            built = building.build(row, advance)
        if not quiet:
            say(f"{row.name} is built; use it with --backend {row.name}")
        put_path(built.prefix)


@contextmanager
def _progress(quiet: bool) -> Iterator[OnProgress]:
    """A bar where a person watches stderr, else a line for each step."""
    if quiet or not sys.stderr.isatty():
        yield lambda step, done, _all: None if quiet or done else say(f"{step} ...")
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def advance(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total or None)

        yield advance


def table(found: list[Line]) -> list[str]:
    """The table as text: a line for each backend, further devices below it."""
    rows = [("", "BACKEND", "DEVICE", "MEMORY", "DRIVER", "TOOL CHAIN", "BUILT", "TO GET IT")]
    for line in found:
        built = "package" if line.row.is_default else line.build.record.version if line.build else "-"
        devices = line.found.devices
        first = _device(devices[0]) if devices else ("-", "-", "-")
        mark = "*" if line.in_use else ""
        rows.append((mark, line.row.name, *first, line.found.toolchain or "-", built, line.advice))
        rows += [("", "", *_device(device), "", "", "") for device in devices[1:]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [*text, "", "* in use"]


def _device(device: Device) -> tuple[str, str, str]:
    name = device.name + (f" ({device.note})" if device.note.startswith("software") else "")
    return name, byte_amount(device.memory, device.free), device.driver or "-"
