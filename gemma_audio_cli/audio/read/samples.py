"""A whole recording as blocks of 16 kHz mono float32, in one call."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gemma_audio_cli.audio.read.source import SourceOptions, display_name, open_source
from gemma_audio_cli.errors import Notice, no_notice
from gemma_audio_cli.sound import Floats

__all__ = ["display_name", "samples"]


def samples(
    source: str | os.PathLike[str], notice: Notice = no_notice, options: SourceOptions | None = None
) -> Iterator[Floats]:
    """The recording `source` (a path, or "-" for standard input) as blocks float32 [n] of 16 kHz mono.

    `notice` gets, in one line, what is odd but no reason to stop. `options` say which part is wanted.
    """
    with open_source(source, options, notice) as opened:
        yield from opened.blocks()
