"""All formats by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.filenames import STDIN
from gemma_audio_cli.output.live import LiveWriter
from gemma_audio_cli.output.page.writer import PageWriter
from gemma_audio_cli.output.records import JsonlWriter, TranscriptWriter, TsvWriter, WordsWriter
from gemma_audio_cli.output.subtitles import DIALECTS, KARAOKE, SubtitleWriter
from gemma_audio_cli.output.unsure import BELOW, mark_for
from gemma_audio_cli.output.writers import Sink, Style, TextWriter, Writer

EXTENSIONS = {
    "text": "txt",
    "srt": "srt",
    "vtt": "vtt",
    "ass": "ass",
    "lrc": "lrc",
    "json": "json",
    "jsonl": "jsonl",
    "tsv": "tsv",
    "words": "words.tsv",
    "html": "html",
}
"""How the files of a format end; the keys are all formats there are."""

SHARED = ("text", "json", "jsonl", "tsv", "words")
"""Formats in which several recordings can follow each other in one stream."""

WITH_WORD_TIMES = ("words", "html")
"""Formats that are made of words and their times."""

ALL = "all"


def check_format(name: str) -> str:
    """The format of this name ("txt" will do for "text"), or a UsageError that lists them all."""
    name = name.lower()
    if name == "txt":
        return "text"
    if name not in EXTENSIONS:
        raise UsageError(
            f"there is no format {name!r}; choose from {', '.join(EXTENSIONS)}, several as srt,vtt, or {ALL}"
        )
    return name


def check_formats(names: Iterable[str]) -> tuple[str, ...]:
    """The formats of -f, which may be given several times, may name several ("srt,vtt"), or all of them."""
    found: list[str] = []
    for name in (part.strip() for names_ in names for part in names_.split(",")):
        found += EXTENSIONS if name.lower() == ALL else [check_format(name)]
    return tuple(dict.fromkeys(found))


def check_style(kinds: Sequence[str], style: Style) -> None:
    """Raises UsageError where what a person chose means nothing in any of these formats."""
    if style.karaoke and not set(KARAOKE).intersection(kinds):
        raise UsageError(
            f"--karaoke shows words as they are said, which {' and '.join(kinds)} cannot; "
            f"choose from {', '.join(KARAOKE)} with -f"
        )


def format_of_file(file: Path | None) -> str:
    """The format that a file's extension stands for; text where there is no file, or no extension. Raises
    UsageError for any other extension: what is under a name must be what the name says.
    """
    ending = file.suffix[1:].lower() if file else ""
    if file is None or not ending:
        return "text"
    # The longest one: what ends with .words.tsv ends with .tsv too.
    for kind, extension in sorted(EXTENSIONS.items(), key=lambda item: -len(item[1])):
        if file.name.lower().endswith(f".{extension}"):
            return kind
    known = ", ".join(f".{extension}" for extension in EXTENSIONS.values())
    raise UsageError(f"{file}: .{ending} is no format that can be written ({known}); name one with -f")


def open_writer(
    kind: str,
    out: Sink,
    *,
    with_names: bool = False,
    style: Style | None = None,
    source: str = STDIN,
    folder: Path = Path(),
) -> Writer:
    """A writer of the format. `with_names`: several recordings go to `out`, and each line tells its own.
    `source` and `folder`: a page plays this recording, and will be there.
    """
    style = style or Style()
    if kind in DIALECTS:
        return SubtitleWriter(out, kind, style)
    if kind == "json":
        return TranscriptWriter(out)
    if kind == "jsonl":
        return LiveWriter(out) if style.live else JsonlWriter(out)
    if kind == "tsv":
        return TsvWriter(out, with_names=with_names, translated=style.translated)
    if kind == "words":
        return WordsWriter(out, with_names=with_names)
    if kind == "html":
        below = style.unsure.below if style.unsure is not None else BELOW
        return PageWriter(out, source=source, folder=folder, below=below)
    if kind == "text":
        unsure = style.unsure
        if unsure is not None and unsure.mark is None:
            unsure = replace(unsure, mark=mark_for(out))
        return TextWriter(out, with_names=with_names, timestamps=style.timestamps, unsure=unsure)
    raise UsageError(f"there is no format {kind!r}; choose from {', '.join(EXTENSIONS)}")
