"""A whole recording as blocks of 16 kHz mono float32, in one call."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gemma_audio_cli.audio.reader import Floats, Notice
from gemma_audio_cli.audio.source import SourceOptions, display_name, open_source

__all__ = ["display_name", "samples"]


def _ignore(_text: str) -> None:
    pass


def samples(
    source: str | os.PathLike[str], notice: Notice = _ignore, options: SourceOptions | None = None
) -> Iterator[Floats]:
    """The recording `source` (a path, or "-" for standard input) as blocks float32 [n] of 16 kHz mono.

    `notice` is told, in one line, what is odd but no reason to stop. `options` say which part is wanted.
    """
    with open_source(source, options, notice) as opened:
        yield from opened.blocks()
