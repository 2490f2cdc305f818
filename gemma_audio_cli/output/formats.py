"""All formats by name."""

from __future__ import annotations

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.output.live import LiveWriter
from gemma_audio_cli.output.records import JsonlWriter, TranscriptWriter, TsvWriter
from gemma_audio_cli.output.subtitles import SubtitleWriter
from gemma_audio_cli.output.writers import Sink, Style, TextWriter, Writer

EXTENSIONS = {"text": "txt", "srt": "srt", "vtt": "vtt", "json": "json", "jsonl": "jsonl", "tsv": "tsv"}
"""How the files of a format end; the keys are all formats there are."""

SHARED = ("text", "json", "jsonl", "tsv")
"""Formats in which several recordings can follow each other in one stream."""


def check_format(name: str) -> str:
    """The format of this name ("txt" will do for "text"), or a UsageError that lists them all."""
    name = name.lower()
    if name == "txt":
        return "text"
    if name not in EXTENSIONS:
        raise UsageError(f"there is no format {name!r}; choose from {', '.join(EXTENSIONS)}")
    return name


def open_writer(kind: str, out: Sink, *, with_names: bool = False, style: Style | None = None) -> Writer:
    """A writer of the format. `with_names`: several recordings go to `out`, and each line tells its own."""
    style = style or Style()
    if kind in ("srt", "vtt"):
        return SubtitleWriter(out, kind, style)
    if kind == "json":
        return TranscriptWriter(out)
    if kind == "jsonl":
        return LiveWriter(out) if style.live else JsonlWriter(out)
    if kind == "tsv":
        return TsvWriter(out, with_names=with_names)
    if kind == "text":
        return TextWriter(out, with_names=with_names, timestamps=style.timestamps)
    raise UsageError(f"there is no format {kind!r}; choose from {', '.join(EXTENSIONS)}")
