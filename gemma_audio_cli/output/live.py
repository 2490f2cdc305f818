"""A live stream as events, a line of JSON each: begin, partial ..., final, ..., end.

docs/OUTPUT.md is their contract.
"""

from __future__ import annotations

import datetime

from gemma_audio_cli.output.as_json import segment_as_dict
from gemma_audio_cli.output.records import EventWriter
from gemma_audio_cli.transcript import Final, Partial, Recording, Segment

LIVE_SCHEMA = "gemma-audio/live/1"


class LiveWriter(EventWriter):
    """The events of one stream after the other."""

    def begin(self, recording: Recording) -> None:
        """The stream starts."""
        super().begin(recording)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        self._event(
            "begin",
            schema=LIVE_SCHEMA,
            source=self._recording.file,
            time=now,
            language=self._recording.language,
            model=self._recording.model,
        )

    def partial(self, partial: Partial) -> None:
        """An utterance is being spoken."""
        self._event(
            "partial",
            start=round(partial.start, 3),
            end=round(partial.end, 3),
            text=partial.text,
            stable=partial.text[: partial.stable],
            delay=round(partial.delay, 3),
        )

    def segment(self, segment: Segment) -> None:
        """An utterance is over."""
        self._count += 1
        about = segment_as_dict(segment)
        del about["channel"]
        delay = segment.delay if isinstance(segment, Final) else None
        self._event("final", **about, delay=None if delay is None else round(delay, 3))

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The stream is over."""
        seconds = None if duration is None else round(duration, 3)
        self._event("end", duration=seconds, finals=self._count, **({"error": error} if error else {}))
