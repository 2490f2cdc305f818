"""What a transcript is, and how it looks as JSON.

    Recording (what is known at the start) + Segments (as they are decoded) + duration, error (at the end)
                                    └──────────────► Transcript ◄──► JSON, schema gemma-audio/transcript/1

docs/OUTPUT.md is the contract of the JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

SCHEMA = "gemma-audio/transcript/1"
UNRELIABLE = "unreliable"
"""The flag that says in one word: do not trust this text."""


class SegmentLike(Protocol):
    """Whatever the engine calls a segment.

    Read where they are there: `channel`, `flags`, `avg_logprob` (or `logprob`), `reliable`.
    """

    @property
    def start(self) -> float:
        """Seconds from the start of the recording."""

    @property
    def end(self) -> float:
        """Seconds from the start of the recording."""

    @property
    def text(self) -> str:
        """What was said; empty where nothing was."""


@dataclass(frozen=True)
class TranscriptSegment:
    """What was said in one stretch of a recording."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    text: str
    channel: int | None = None
    """The channel it was heard on, from 1, where channels are transcribed one by one."""
    avg_logprob: float | None = None
    """Mean log-probability of the text's tokens; None where it is not known."""
    flags: tuple[str, ...] = ()
    """What is odd about it, in words of engine.guards, and UNRELIABLE where no try at it went well."""

    def as_dict(self) -> dict[str, Any]:
        """As in JSON: times to the millisecond, and no infinities, which JSON has not."""
        return {
            "start": round(float(self.start), 3),
            "end": round(float(self.end), 3),
            "text": self.text,
            "channel": self.channel,
            "avg_logprob": _finite(self.avg_logprob),
            "flags": list(self.flags),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> TranscriptSegment:
        """The segment that `as_dict` wrote."""
        logprob, channel = value.get("avg_logprob"), value.get("channel")
        return cls(
            start=float(value["start"]),
            end=float(value["end"]),
            text=str(value["text"]),
            channel=None if channel is None else int(channel),
            avg_logprob=None if logprob is None else float(logprob),
            flags=tuple(map(str, value.get("flags", ()))),
        )

    @classmethod
    def of(cls, segment: SegmentLike) -> TranscriptSegment:
        """Any segment as one of ours. One that calls itself not `reliable` is flagged "unreliable"."""
        if isinstance(segment, cls):
            return segment
        flags: tuple[str, ...] = tuple(getattr(segment, "flags", None) or ())
        if not getattr(segment, "reliable", True) and UNRELIABLE not in flags:
            flags += (UNRELIABLE,)
        logprob = getattr(segment, "avg_logprob", None)
        if logprob is None:
            logprob = getattr(segment, "logprob", None)
        return cls(
            start=segment.start,
            end=max(segment.start, segment.end),
            text=segment.text,
            channel=getattr(segment, "channel", None),
            avg_logprob=logprob,
            flags=flags,
        )


@dataclass(frozen=True)
class Recording:
    """What is known of a recording before anything of it is decoded."""

    file: str
    """Its name, as it was given."""
    language: str | None = None
    """The language the model was told; None: the model finds it."""
    model: str | None = None
    split_channels: bool = False
    """Each channel is transcribed on its own, and what is written says which one it was."""
    labels: dict[int, str] | None = None
    """What to call each of them, where they are not channels but tracks."""

    @classmethod
    def of(cls, value: Recording | str) -> Recording:
        """A name alone will do."""
        return cls(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Transcript:
    """All that is known of a recording when it is done."""

    file: str
    duration: float | None = None
    """Seconds; None where it is not known."""
    language: str | None = None
    model: str | None = None
    segments: tuple[TranscriptSegment, ...] = field(default=())
    error: str | None = None
    """What ended it before its end."""

    @property
    def text(self) -> str:
        """All that was said, on one line."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    def as_dict(self) -> dict[str, Any]:
        """As in JSON."""
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "file": self.file,
            "duration": None if self.duration is None else round(self.duration, 3),
            "language": self.language,
            "model": self.model,
            "text": self.text,
            "segments": [segment.as_dict() for segment in self.segments],
        }
        if self.error:
            value["error"] = self.error
        return value

    @classmethod
    def from_json(cls, text: str) -> Transcript:
        """The transcript in the text of a .json file; a ValueError if it is none, or of another schema."""
        value = json.loads(text)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise ValueError(f"not a transcript of schema {SCHEMA}")
        duration = value.get("duration")
        return cls(
            file=value["file"],
            duration=None if duration is None else float(duration),
            language=value.get("language"),
            model=value.get("model"),
            segments=tuple(map(TranscriptSegment.from_dict, value["segments"])),
            error=value.get("error"),
        )


def channel_label(recording: Recording, channel: int | None) -> str:
    """What stands before the text of a channel; a channel may be one person, or a room full of them."""
    if not recording.split_channels or channel is None:
        return ""
    return f"{(recording.labels or {}).get(channel, f'Channel {channel}')}: "


def _finite(value: float | None) -> float | None:
    # Two digits: matrix kernels add up in another order for another number of windows at once, which shows in
    # the seventh digit. Rounded finely, a resumed run would now and then differ from an uninterrupted one.
    return round(value, 2) if value is not None and math.isfinite(value) else None
