"""Bars of bytes on stderr while it is a terminal, for what takes minutes with models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemma_audio_cli.cli.messages import say
from gemma_audio_cli.formatting import printable

if TYPE_CHECKING:
    from pathlib import Path

    from gemma_audio_cli.models.plan import Plan
    from gemma_audio_cli.models.resolve import ModelPair
    from gemma_audio_cli.models.store import Pulled


@contextmanager
def byte_bar(total: int, *, quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """(advance, name) of a bar over `total` bytes; where stderr is no terminal they do nothing."""
    if quiet or not sys.stderr.isatty():
        yield (lambda _bytes: None), (lambda _name: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed
    from rich.table import Column

    bar = Progress(
        BarColumn(bar_width=20),
        DownloadColumn(),
        Speed(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        console=Console(file=sys.stderr),
        redirect_stdout=False,
        transient=True,
        refresh_per_second=4,
        expand=True,
    )
    with bar:
        task = bar.add_task("", total=total)

        def name(text: str) -> None:
            bar.update(task, description=printable(text))

        yield (lambda count: bar.advance(task, count)), name


def fetching(wanted: Plan, *, quiet: bool) -> Pulled:
    """Pulls what was planned."""
    from gemma_audio_cli.models.pull import pull

    def notice(text: str) -> None:
        if not quiet:
            say(text)

    with byte_bar(wanted.bytes, quiet=quiet) as (advance, name):
        return pull(wanted, advance, notice, name)


def fetching_speakers(*, quiet: bool) -> list[Path]:
    """Pulls what tells speakers apart."""
    from gemma_audio_cli.models.pull import bring
    from gemma_audio_cli.models.speaker_files import NAME, REMOTE

    def notice(text: str) -> None:
        if not quiet:
            say(text)

    with byte_bar(sum(file.size for file in REMOTE), quiet=quiet) as (advance, name):
        return list(bring(REMOTE, NAME, advance, notice, name).values())


def verifying(pair: ModelPair, *, quiet: bool) -> Iterator[tuple[str, bool]]:
    """(line, is it good) of each check, as they are done."""
    from gemma_audio_cli.models.names import part_paths
    from gemma_audio_cli.models.verify import verify, verify_pair

    files = [*part_paths(pair.text), pair.mmproj]
    # Each file is read twice: for its hash and for its tensors.
    with byte_bar(2 * sum(path.stat().st_size for path in files), quiet=quiet) as (advance, name):
        whole = True
        for path in files:
            name(path.name)
            for line, sound in verify(path, advance):
                whole = whole and sound
                yield line, sound
    if whole:
        yield from verify_pair(pair)
