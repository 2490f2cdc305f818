"""Writers: what all formats share, and text.

A writer is called, for each recording, with: begin, then deltas and segments, then end. All formats are in
formats.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import clock, one_line, printable
from gemma_audio_cli.output.cues import MAX_LINE, MIN_CUE_MS, MIN_LINE
from gemma_audio_cli.output.unsure import Unsure
from gemma_audio_cli.transcript import Recording, Segment, source_label


class Sink(Protocol):
    """Where text goes: an open text file, standard output, or an AtomicFile."""

    def write(self, text: str, /) -> object:
        """Take more text."""

    def flush(self) -> object:
        """Pass on what was taken."""


class Writer(Protocol):
    """Gets the results of one recording after the other."""

    def begin(self, recording: Recording) -> None:
        """A recording starts."""

    def delta(self, text: str) -> None:
        """More text of the window being decoded. A writer may get none at all."""

    def segment(self, segment: Segment) -> None:
        """A window is done; its deltas, if any, came before."""

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The recording, of so many seconds, is done, or ended by an error."""


@dataclass(frozen=True)
class Style:
    """What a person can choose about the looks of a format."""

    timestamps: bool = False
    """Text: begin each line with its times."""
    max_line: int = MAX_LINE
    """Subtitles: columns of a line."""
    min_cue_ms: int = MIN_CUE_MS
    """Subtitles: the shortest time a cue is shown, where there is time."""
    live: bool = False
    """jsonl: events of a live stream."""
    bilingual: bool = False
    """Subtitles: what was said and then its translation, not the translation alone."""
    translated: bool = False
    """tsv: a column for translations."""
    max_words: int | None = None
    """Subtitles: words in one cue, at most."""
    karaoke: bool = False
    """Subtitles: words are shown as they are said, in formats that can."""
    unsure: Unsure | None = None
    """Text and subtitles: which words are marked as unsure, and how."""

    def __post_init__(self) -> None:
        if self.max_words is not None and self.max_words < 1:
            raise UsageError("a subtitle has at least one word; --max-words must be 1 or more")
        if self.max_line < MIN_LINE:
            raise UsageError(f"subtitle lines of {self.max_line} are too narrow; allow {MIN_LINE} or more")


class TextWriter:
    """Text as it is decoded: a line for each window, or as many as the model broke it into."""

    def __init__(
        self,
        out: Sink,
        *,
        with_names: bool = False,
        timestamps: bool = False,
        unsure: Unsure | None = None,
    ) -> None:
        """`with_names`: every line begins with the recording's name. `timestamps`: each window is one line
        with its times in front. With these, and where `unsure` words are marked, a window is written when it
        is done.
        """
        self._out = out
        self._with_names, self._timestamps, self._unsure = with_names, timestamps, unsure
        self._recording = Recording("")
        self._prefix = ""
        self._open = self._has_deltas = False

    def begin(self, recording: Recording) -> None:
        """A recording starts."""
        self._recording = recording
        self._prefix = f"{printable(self._recording.file)}: " if self._with_names else ""
        self._has_deltas = False

    def delta(self, text: str) -> None:
        """Written at once; a line break of the model's begins a new line with the same prefix. Not so where a
        line has something in it that is known at its end only.
        """
        if self._timestamps or self._unsure is not None or self._recording.labelled:
            return
        self._has_deltas = self._has_deltas or bool(text)
        self._write(text, self._prefix)

    def segment(self, segment: Segment) -> None:
        """Ends the window's line; writes it if its deltas did not come."""
        if segment.text and not self._has_deltas:
            label = source_label(self._recording, segment)
            parts = [segment.text, *([] if segment.translation is None else [segment.translation])]
            if self._timestamps:
                parts = [*map(one_line, parts)]
            if self._unsure is not None:
                parts[0] = self._unsure.text(parts[0], segment)
            if self._timestamps:
                times = f"[{clock(segment.start)} --> {clock(segment.end)}] "
                mark = "(unreliable) " if not segment.reliable else ""
                self._write(" ".join(filter(None, parts)), self._prefix + times + mark + label)
            else:
                self._write("\n".join(parts), self._prefix + label)
        self._close_line()

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """Ends a line that was cut short."""
        self._close_line()

    def _write(self, text: str, prefix: str) -> None:
        for line in text.splitlines(keepends=True):
            if not self._open:
                self._out.write(prefix)
            self._out.write(line)
            self._open = not line.endswith("\n")
        self._out.flush()

    def _close_line(self) -> None:
        self._has_deltas = False
        if self._open:
            self._out.write("\n")
            self._out.flush()
            self._open = False
