"""Results as JSON: schema gemma-audio/transcript/1, of which docs/OUTPUT.md is the contract.

Segment, Transcript ──► dictionaries ──► text
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from gemma_audio_cli.transcript import (
    FLAG_UNRELIABLE,
    Answer,
    Evidence,
    Recording,
    Segment,
    Transcript,
    Word,
)

if TYPE_CHECKING:
    from gemma_audio_cli.decoding.shape import Shape

SCHEMA = "gemma-audio/transcript/1"
ANSWERS_SCHEMA = "gemma-audio/answers/1"


def segment_as_dict(segment: Segment) -> dict[str, Any]:
    """Times to the millisecond, and no infinities, which JSON has not. One that is not reliable says so in
    one word more.
    """
    flags = list(segment.flags)
    if not segment.reliable and FLAG_UNRELIABLE not in flags:
        flags.append(FLAG_UNRELIABLE)
    value: dict[str, Any] = {
        "start": round(float(segment.start), 3),
        "end": round(float(max(segment.start, segment.end)), 3),
        "text": segment.text,
        "channel": segment.channel,
        "avg_logprob": _finite(segment.logprob),
        "flags": flags,
    }
    if segment.speaker is not None:
        value["speaker"] = segment.speaker
    if segment.translation is not None:
        value["translation"] = segment.translation
    if segment.words:
        value["words"] = [word_as_dict(word) for word in segment.words]
    return value


def word_as_dict(word: Word) -> dict[str, Any]:
    """One of a segment's words. Two digits of its probability, as of the segment's."""
    return {
        "word": word.text,
        "start": round(float(word.start), 3),
        "end": round(float(word.end), 3),
        "probability": round(word.probability, 2),
        "source": word.source,
        **({"speaker": word.speaker} if word.speaker is not None else {}),
    }


def transcript_as_dict(transcript: Transcript) -> dict[str, Any]:
    """The object of a .json file."""
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "file": transcript.file,
        "duration": None if transcript.duration is None else round(transcript.duration, 3),
        "language": transcript.language,
        "model": transcript.model,
        "text": transcript.text,
        "segments": [segment_as_dict(segment) for segment in transcript.segments],
    }
    if transcript.error:
        value["error"] = transcript.error
    return value


def answer_as_dict(
    file: str, question: str, answer: Answer, shape: Shape | None = None, *, evidence: bool = False
) -> dict[str, Any]:
    """The object of an answer in `ask --jsonl`; `shape` is what was asked for. `evidence` is listed."""
    value: dict[str, Any] = {
        "type": "answer",
        "file": file,
        "question": question,
        "answer": answer.text,
        "complete": answer.complete,
        "tokens": answer.tokens,
        "avg_logprob": _finite(answer.logprob),
        "flags": list(answer.flags),
    }
    if shape is not None:
        value["fits"] = answer.fits and bool(answer.text)  # nothing was heard: there is no answer
    if shape is not None and shape.schema is not None:
        value["value"] = json.loads(answer.text) if value["fits"] else None
    if answer.probabilities:
        value["probabilities"] = {choice: round(share, 4) for choice, share in answer.probabilities}
    if answer.parts:
        value["parts"] = answer.parts
    if evidence:
        value["evidence"] = [_evidence_as_dict(note) for note in answer.evidence]
    return value


def _evidence_as_dict(note: Evidence) -> dict[str, Any]:
    return {
        **({"file": note.file} if note.file else {}),
        "start": round(note.start, 3),
        "end": round(note.end, 3),
        **({"speakers": list(note.speakers)} if note.speakers else {}),
        "note": note.text,
        "avg_logprob": _finite(note.logprob),
        "flags": list(note.flags),
    }


def answered_as_dict(
    recording: Recording, duration: float, answers: int, error: str | None = None
) -> dict[str, Any]:
    """The object that ends a recording in `ask --jsonl`."""
    return {
        "type": "file",
        "schema": ANSWERS_SCHEMA,
        "file": recording.file,
        "duration": round(duration, 3),
        "model": recording.model,
        "answers": answers,
        **({"error": error} if error else {}),
    }


def _finite(value: float | None) -> float | None:
    # Two digits: matrix kernels add up in another order for another number of windows at once, which shows in
    # the seventh digit. Rounded finely, a resumed run would now and then differ from an uninterrupted one.
    return round(value, 2) + 0.0 if value is not None and math.isfinite(value) else None  # 0.0, not -0.0
