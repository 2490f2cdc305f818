"""Formats for programs: json (one object a recording), jsonl (an event a line, as it happens), tsv, words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gemma_audio_cli.formatting import json_text, one_line, printable
from gemma_audio_cli.output.as_json import SCHEMA, segment_as_dict, transcript_as_dict
from gemma_audio_cli.output.writers import Sink
from gemma_audio_cli.transcript import Recording, Segment, Transcript


class TranscriptWriter:
    """One JSON object a recording, schema gemma-audio/transcript/1, written when the recording is done."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._recording = Recording("")
        self._segments: list[Segment] = []

    def begin(self, recording: Recording) -> None:
        """A recording starts."""
        self._recording, self._segments = recording, []

    def delta(self, text: str) -> None:
        """Nothing yet."""

    def segment(self, segment: Segment) -> None:
        """Kept for the end."""
        self._segments.append(segment)

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """Writes the object, unless nothing at all came of the recording."""
        if error and not self._segments:
            return
        about = self._recording
        transcript = Transcript(
            about.file, duration, about.language, about.model, tuple(self._segments), error or None
        )
        self._write(transcript)
        self._out.flush()

    def _write(self, transcript: Transcript) -> None:
        self._out.write(json_text(transcript_as_dict(transcript), indent=2) + "\n")


class EventWriter:
    """What writers of events, a line of JSON each, share."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._recording = Recording("")
        self._count = 0

    def begin(self, recording: Recording) -> None:
        """A recording starts."""
        self._recording, self._count = recording, 0

    def delta(self, text: str) -> None:
        """Nothing: events are whole."""

    def _event(self, kind: str, **values: object) -> None:
        """One line in one write: whoever reads the pipe or the file never sees half an event."""
        self._out.write(json_text({"type": kind} | values) + "\n")
        self._out.flush()


class JsonlWriter(EventWriter):
    """A line for each segment as it is done, and one for each recording at its end."""

    def segment(self, segment: Segment) -> None:
        """Its event."""
        self._count += 1
        self._event("segment", file=self._recording.file, **segment_as_dict(segment))

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The event that says the recording is done, or what ended it."""
        about = self._recording
        self._event(
            "file",
            schema=SCHEMA,
            file=about.file,
            duration=None if duration is None else round(duration, 3),
            language=about.language,
            model=about.model,
            segments=self._count,
            **({"error": error} if error else {}),
        )


class TableWriter:
    """What writers of tables share: a header, then rows; with file first where several recordings share the
    stream, and last the channel where channels are split, or the speaker where speakers are looked for.
    """

    COLUMNS: tuple[str, ...] = ()

    def __init__(self, out: Sink, *, with_names: bool = False) -> None:
        self._out, self._with_names = out, with_names
        self._columns = self.COLUMNS
        self._recording = Recording("")
        self._has_header = False

    def begin(self, recording: Recording) -> None:
        """A recording starts: the header, unless it is there."""
        self._recording = recording
        if not self._has_header:
            self._row(self._columns, "file", "channel", "speaker")
            self._out.flush()
        self._has_header = True

    def delta(self, text: str) -> None:
        """Nothing: rows are whole."""

    def segment(self, segment: Segment) -> None:
        """Its rows."""
        channel = "" if segment.channel is None else str(segment.channel)
        speaker = one_line(segment.speaker or "")
        for cells in self._rows(segment):
            self._row(cells, printable(self._recording.file), channel, speaker)
        self._out.flush()

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """Nothing to add."""

    def _rows(self, segment: Segment) -> Iterable[Sequence[str]]:
        raise NotImplementedError

    def _row(self, cells: Sequence[str], name: str, channel: str, speaker: str) -> None:
        row = [name] * self._with_names + [*cells] + [channel] * self._recording.split_channels
        row += [speaker] * self._recording.speakers
        self._out.write("\t".join(row) + "\n")


class TsvWriter(TableWriter):
    """A row a segment: start_ms, end_ms, text, and translation with `translated`."""

    COLUMNS = ("start_ms", "end_ms", "text")

    def __init__(self, out: Sink, *, with_names: bool = False, translated: bool = False) -> None:
        super().__init__(out, with_names=with_names)
        self._translated = translated
        self._columns += ("translation",) * translated

    def _rows(self, segment: Segment) -> Iterable[Sequence[str]]:
        times = str(round(segment.start * 1000)), str(round(segment.end * 1000))
        yield *times, one_line(segment.text), *[one_line(segment.translation or "")] * self._translated


class WordsWriter(TableWriter):
    """A row a word: start_ms, end_ms, word, probability, source."""

    COLUMNS = ("start_ms", "end_ms", "word", "probability", "source")

    def _rows(self, segment: Segment) -> Iterable[Sequence[str]]:
        for word in segment.words:
            times = str(round(word.start * 1000)), str(round(word.end * 1000))
            yield *times, one_line(word.text), f"{word.probability:.2f}", word.source
