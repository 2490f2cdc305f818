"""Formats for programs: json (one object a recording), jsonl (an event a line, as it happens) and tsv."""

from __future__ import annotations

from gemma_audio_cli.formatting import json_text, one_line, printable
from gemma_audio_cli.output.transcript import (
    SCHEMA,
    Recording,
    SegmentLike,
    Transcript,
    TranscriptSegment,
)
from gemma_audio_cli.output.writers import Sink


def write_event(out: Sink, event: dict[str, object]) -> None:
    """One line of JSON in one write: whoever reads the pipe or the file never sees half an event."""
    out.write(json_text(event) + "\n")
    out.flush()


class TranscriptWriter:
    """One JSON object a recording, schema gemma-audio/transcript/1, written when the recording is done."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._recording = Recording("")
        self._segments: list[TranscriptSegment] = []

    def begin(self, recording: Recording | str) -> None:
        """A recording starts."""
        self._recording, self._segments = Recording.of(recording), []

    def delta(self, text: str) -> None:
        """Nothing yet."""

    def segment(self, segment: SegmentLike) -> None:
        """Kept for the end."""
        self._segments.append(TranscriptSegment.of(segment))

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """Writes the object, unless nothing at all came of the recording."""
        if error and not self._segments:
            return
        about = self._recording
        transcript = Transcript(
            about.file, duration, about.language, about.model, tuple(self._segments), error or None
        )
        self._out.write(json_text(transcript.as_dict(), indent=2) + "\n")
        self._out.flush()


class JsonlWriter:
    """A line for each segment as it is done, and one for each recording at its end."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._recording = Recording("")
        self._count = 0

    def begin(self, recording: Recording | str) -> None:
        """A recording starts."""
        self._recording, self._count = Recording.of(recording), 0

    def delta(self, text: str) -> None:
        """Nothing: events are whole."""

    def segment(self, segment: SegmentLike) -> None:
        """Its event."""
        self._count += 1
        event = TranscriptSegment.of(segment).as_dict()
        write_event(self._out, {"type": "segment", "file": self._recording.file} | event)

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The event that says the recording is done, or what ended it."""
        event: dict[str, object] = {
            "type": "file",
            "schema": SCHEMA,
            "file": self._recording.file,
            "duration": None if duration is None else round(duration, 3),
            "language": self._recording.language,
            "model": self._recording.model,
            "segments": self._count,
        }
        if error:
            event["error"] = error
        write_event(self._out, event)


class TsvWriter:
    """A header, then a row a segment: start_ms, end_ms, text; with file first where several recordings share
    the stream, and channel last where channels are split.
    """

    def __init__(self, out: Sink, *, with_names: bool = False) -> None:
        self._out, self._with_names = out, with_names
        self._recording = Recording("")
        self._has_header = False

    def begin(self, recording: Recording | str) -> None:
        """A recording starts: the header, unless it is there."""
        self._recording = Recording.of(recording)
        if not self._has_header:
            self._row("start_ms", "end_ms", "text", name="file", channel="channel")
            self._out.flush()
        self._has_header = True

    def delta(self, text: str) -> None:
        """Nothing: rows are whole."""

    def segment(self, segment: SegmentLike) -> None:
        """Its row."""
        ours = TranscriptSegment.of(segment)
        self._row(
            str(round(ours.start * 1000)),
            str(round(ours.end * 1000)),
            one_line(ours.text),
            name=printable(self._recording.file),
            channel="" if ours.channel is None else str(ours.channel),
        )
        self._out.flush()

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """Nothing to add."""

    def _row(self, *cells: str, name: str, channel: str) -> None:
        row = [name] * self._with_names + [*cells] + [channel] * self._recording.split_channels
        self._out.write("\t".join(row) + "\n")
