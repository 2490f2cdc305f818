"""A live stream as events, a line of JSON each: begin, partial ..., final, ..., end.

docs/OUTPUT.md is their contract.
"""

from __future__ import annotations

import datetime
from typing import Protocol

from gemma_audio_cli.output.records import write_event
from gemma_audio_cli.output.transcript import Recording, SegmentLike, TranscriptSegment
from gemma_audio_cli.output.writers import Sink

LIVE_SCHEMA = "gemma-audio/live/1"


class PartialLike(Protocol):
    """What is said so far of an utterance that is not over."""

    @property
    def start(self) -> float:
        """Seconds from the start of the stream."""

    @property
    def end(self) -> float:
        """Seconds from the start of the stream, so far."""

    @property
    def text(self) -> str:
        """What was said."""

    @property
    def stable(self) -> int:
        """So many of its first characters will hardly change any more."""

    @property
    def delay(self) -> float:
        """Seconds since the sound it ends with arrived."""


class LiveWriter:
    """The events of one stream after the other."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._recording = Recording("")
        self._count = 0

    def begin(self, recording: Recording | str) -> None:
        """The stream starts."""
        self._recording, self._count = Recording.of(recording), 0
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        self._event(
            "begin",
            schema=LIVE_SCHEMA,
            source=self._recording.file,
            time=now,
            language=self._recording.language,
            model=self._recording.model,
        )

    def partial(self, partial: PartialLike) -> None:
        """An utterance is being spoken."""
        self._event(
            "partial",
            start=round(partial.start, 3),
            end=round(partial.end, 3),
            text=partial.text,
            stable=partial.text[: partial.stable],
            delay=round(partial.delay, 3),
        )

    def delta(self, text: str) -> None:
        """Nothing: events are whole."""

    def segment(self, segment: SegmentLike) -> None:
        """An utterance is over."""
        self._count += 1
        about = TranscriptSegment.of(segment).as_dict()
        del about["channel"]
        delay = getattr(segment, "delay", None)
        self._event("final", **about, delay=None if delay is None else round(delay, 3))

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The stream is over."""
        seconds = None if duration is None else round(duration, 3)
        self._event("end", duration=seconds, finals=self._count, **({"error": error} if error else {}))

    def _event(self, kind: str, **values: object) -> None:
        write_event(self._out, {"type": kind} | values)
