"""One writer a format. A writer is told, for each recording: begin, then deltas and segments, then end.

text   each window's text on a line of its own, streamed; several recordings: every line begins "FILE: "
json   one object a recording, written when the recording is done
"""

from __future__ import annotations

import json
import math
from typing import Protocol, TextIO

from gemma_audio_cli.engine.transcriber import Segment


class Writer(Protocol):
    """Gets the results of one recording after the other."""

    def begin(self, name: str) -> None:
        """A recording starts."""

    def delta(self, text: str) -> None:
        """More text of the window being decoded."""

    def segment(self, segment: Segment) -> None:
        """A window is done; its deltas were all told."""

    def end(self, error: str | None = None) -> None:
        """The recording is done, or ended by an error."""


class TextWriter:
    """Text as it is decoded."""

    def __init__(self, out: TextIO, *, with_names: bool = False) -> None:
        self._out = out
        self._with_names = with_names
        self._prefix = ""
        self._open = False

    def begin(self, name: str) -> None:
        """A recording starts."""
        self._prefix = f"{name}: " if self._with_names else ""

    def delta(self, text: str) -> None:
        """Written at once; a line break of the model's begins a new line with the same prefix."""
        for line in text.splitlines(keepends=True):
            if not self._open:
                self._out.write(self._prefix)
            self._out.write(line)
            self._open = not line.endswith("\n")
        self._out.flush()

    def segment(self, segment: Segment) -> None:
        """Ends the window's line."""
        self._close_line()

    def end(self, error: str | None = None) -> None:
        """Ends a line that was cut short."""
        self._close_line()

    def _close_line(self) -> None:
        if self._open:
            self._out.write("\n")
            self._out.flush()
            self._open = False


class JsonWriter:
    """One JSON object a recording: {"file", "text", "segments": [{"start", "end", "text", ...}], "error"}."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._name = ""
        self._segments: list[Segment] = []

    def begin(self, name: str) -> None:
        """A recording starts."""
        self._name, self._segments = name, []

    def delta(self, text: str) -> None:
        """Nothing yet."""

    def segment(self, segment: Segment) -> None:
        """Kept for the end."""
        self._segments.append(segment)

    def end(self, error: str | None = None) -> None:
        """Writes the object, unless nothing at all came of the recording."""
        if error and not self._segments:
            return
        value: dict[str, object] = {
            "file": self._name,
            "text": " ".join(segment.text for segment in self._segments if segment.text),
            "segments": [
                {
                    "start": round(segment.start, 3),
                    "end": round(segment.end, 3),
                    "text": segment.text,
                    "tokens": segment.tokens,
                    "logprob": _finite(segment.logprob),
                    "complete": segment.complete,
                }
                for segment in self._segments
            ],
        }
        if error:
            value["error"] = error
        json.dump(value, self._out, ensure_ascii=False, indent=2)
        self._out.write("\n")
        self._out.flush()


def _finite(value: float | None) -> float | None:
    """JSON has no infinities."""
    return round(value, 4) if value is not None and math.isfinite(value) else None


FORMATS = ("text", "json")


def make_writer(kind: str, out: TextIO, *, with_names: bool) -> Writer:
    """The writer of a format."""
    return JsonWriter(out) if kind == "json" else TextWriter(out, with_names=with_names)
