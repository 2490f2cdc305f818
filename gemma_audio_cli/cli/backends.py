"""`gemma-audio backends`: what could run the model, what is built, what is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.common import QUIET
from gemma_audio_cli.cli.telling import exit_codes, put, put_json, put_path, say

if TYPE_CHECKING:
    from gemma_audio_cli.backends.build import OnProgress
    from gemma_audio_cli.backends.detect import Detection
    from gemma_audio_cli.backends.parse import Device
    from gemma_audio_cli.backends.store import Build
    from gemma_audio_cli.backends.table import BackEnd, Need

EXAMPLES = """Examples:

\b
  gemma-audio backends
  gemma-audio backends --json
  gemma-audio backends build vulkan
  gemma-audio transcribe --backend vulkan talk.wav

Where a back end has no device or cannot be built, the last column says what it takes.
"""

BUILD_EXAMPLES = """Examples:

\b
  gemma-audio backends build vulkan
  nice gemma-audio backends build cuda

Compiles llama-cpp-python and the engine from source. Ctrl-C ends it; what was built before stays in
use until a new build is complete. CMAKE_BUILD_PARALLEL_LEVEL limits the compilers that run at once.
"""

app = typer.Typer(rich_markup_mode=None)


@dataclass(frozen=True)
class Line:
    """One back end's line of the table."""

    row: BackEnd
    found: Detection
    build: Build | None
    in_use: bool
    advice: str

    def as_json(self) -> dict[str, object]:
        """The line as one object; memory in bytes."""
        row = self.row
        return {
            "name": row.name,
            "title": row.title,
            "devices": [asdict(device) for device in self.found.devices],
            "toolchain": self.found.toolchain,
            "note": self.found.note,
            "built": row.is_default or self.build is not None,
            "build": asdict(self.build.record) if self.build else None,
            "in_use": self.in_use,
            "verified": row.verified,
            "advice": self.advice,
        }


def lines() -> list[Line]:
    """The table: every back end of this system, the one in use marked."""
    from gemma_audio_cli import config
    from gemma_audio_cli.backends.choose import choose
    from gemma_audio_cli.backends.detect import detect_all, fetchable, missing
    from gemma_audio_cli.backends.store import find
    from gemma_audio_cli.backends.table import BACK_ENDS
    from gemma_audio_cli.backends.tools import Machine
    from gemma_audio_cli.errors import BackendError

    machine = Machine()
    try:
        used = choose(config.load().backend).backend
    except BackendError:  # the configured one is not built
        used = ""
    found = detect_all(machine)
    table = []
    for row in BACK_ENDS:
        if machine.system not in row.systems:
            continue
        build = None if row.is_default else find(row.name)
        needs = [need for need in missing(row, machine) if not fetchable(row, need, machine)]
        advice = _advice(row, found[row.name], build, needs)
        table.append(Line(row, found[row.name], build, row.name == used, advice))
    return table


def _advice(row: BackEnd, found: Detection, build: Build | None, needs: list[Need]) -> str:
    """What a person may do to use it, in a few words."""
    if row.is_default:
        return "part of the package"
    if build is not None:
        return found.note or f"--backend {row.name}"
    if not found.hardware:
        return found.note or f"no device seen; driver: {row.driver}"
    if needs:
        return "install " + "; ".join(need.package for need in needs)
    return found.note or f"gemma-audio backends build {row.name}"


@app.callback(invoke_without_command=True, epilog=EXAMPLES)
def backends(
    context: typer.Context, as_json: bool = typer.Option(False, "--json", help="Print one JSON array.")
) -> None:
    """Show what this machine can compute on."""
    if context.invoked_subcommand is not None:
        return
    with exit_codes():
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
    quiet: bool = QUIET,
) -> None:
    """Build a back end into a folder of its own; takes some minutes, longer for CUDA."""
    with exit_codes():
        import signal

        from gemma_audio_cli.backends import build as building
        from gemma_audio_cli.backends.table import back_end

        # Whoever ends this by a signal means the compilers too, which run in a session of their own.
        for number in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, number):
                signal.signal(getattr(signal, number), signal.default_int_handler)
        row = back_end(name)
        with _progress(quiet) as told:
            built = building.build(row, told)
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

        def told(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total or None)

        yield told


def table(found: list[Line]) -> list[str]:
    """The table as text: a line for each back end, further devices below it."""
    rows = [("", "BACK END", "DEVICE", "MEMORY", "DRIVER", "TOOL CHAIN", "BUILT", "TO GET IT")]
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
    return name, amount(device.memory, device.free), device.driver or "-"


def amount(total: int | None, free: int | None = None) -> str:
    """Bytes for a person, with what is free of them."""
    if total is None:
        return "-"
    gib = f"{total / (1 << 30):.1f} GiB"
    return gib if free is None else f"{gib}, {free / (1 << 30):.1f} free"
