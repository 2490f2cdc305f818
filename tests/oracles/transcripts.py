"""Reads the .json files that are written, by docs/OUTPUT.md alone."""

from __future__ import annotations

import json
from typing import Any

from gemma_audio_cli.output.as_json import SCHEMA
from gemma_audio_cli.transcript import Segment, Transcript


def segment_from_dict(value: dict[str, Any]) -> Segment:
    """The segment that `segment_as_dict` wrote."""
    logprob, channel = value.get("avg_logprob"), value.get("channel")
    return Segment(
        start=float(value["start"]),
        end=float(value["end"]),
        text=str(value["text"]),
        channel=None if channel is None else int(channel),
        logprob=None if logprob is None else float(logprob),
        flags=tuple(map(str, value.get("flags", ()))),
        translation=value.get("translation"),
    )


def transcript_from_json(text: str) -> Transcript:
    """The transcript in the text of a .json file; a ValueError if it is none, or of another schema."""
    value = json.loads(text)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise ValueError(f"not a transcript of schema {SCHEMA}")
    duration = value.get("duration")
    return Transcript(
        file=value["file"],
        duration=None if duration is None else float(duration),
        language=value.get("language"),
        model=value.get("model"),
        segments=tuple(map(segment_from_dict, value["segments"])),
        error=value.get("error"),
    )
