"""The words of answering in passes: what a stretch of a long recording is asked, and how its notes are read.

    question ──► Wording.asked ──► each stretch of sound ──► note, or nothing
    notes ──► `condensing`, where they are many ──► `answering_from` ──► the answer

A question about a whole recording is not put to a part of it: a part that is asked "Who agreed in the end?"
names somebody. It is asked what it holds that bears on the question.

Unverified: these words have not met the released weights, which were not at hand. They were tried with random
weights of the released sizes, and the demo model has wording of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.formatting import one_line, printable, stretch
from gemma_audio_cli.transcript import Evidence

_MAP = (
    "You hear one part of a long recording. Somebody will answer a question about the whole of it from notes "
    "on its parts, and you take the notes on this part.\n"
    "Write down in one or two short sentences what is said or heard in it that bears on the question, with "
    "names, numbers and dates as they were said, and who said it. Do not answer the question itself, and add "
    "nothing that is not in this part. If nothing in this part bears on the question, answer NONE and "
    "nothing else."
)
_CONDENSE = (
    "These are notes on consecutive parts of a long recording, each with the time of its part, taken to "
    "answer a question about the whole.\n\n{notes}\n\n"
    "Put them together into one note of a few sentences. Keep all that bears on the question, with its "
    "names, numbers and times, and add nothing. Do not answer the question itself.\n\nQuestion: {question}"
)
_REDUCE = (
    "A long recording was heard in {parts}, and notes were taken on what bears on a question. Each has the "
    "time of its part.\n\n{notes}\n\n"
    "Answer the question from these notes and nothing else. Where they do not hold the answer, say so.\n\n"
    "Question: {question}"
)
_NO_NOTES = "(no notes: in no part was there anything that bears on the question)"
_NOTHING = re.compile(r"\W*NONE\b\W*?(?:[.\n].*)?|\W*(?i:none)\W*", re.DOTALL)
_DEMO_NOTHING = re.compile(r"(?:.*\b)?(?:no|none|0 (?:digits|numbers|words))|", re.DOTALL)


@dataclass(frozen=True)
class Wording:
    """How a model is asked about parts of a recording."""

    reads_notes: bool = True
    """It can answer from notes. Else the notes are the answer."""
    one_window: bool = False
    """It hears one window at a time only."""

    def asked(self, question: str, shape: Shape | None = None) -> str:
        """What a stretch is asked. `shape` is that of the answer to the whole."""
        wanted = ""
        if shape is not None and shape.schema is not None:
            wanted = f"\nThe answer will be JSON that fits this JSON schema: {shape.shown or shape.schema}"
        elif shape is not None and shape.choices:
            wanted = f"\nThe answer will be one of these: {', '.join(shape.choices)}"
        return f"{_MAP}{wanted}\n\nQuestion: {question.strip()}"

    def is_nothing(self, note: str) -> bool:
        """Does this note say that nothing bears on the question?"""
        return not note.strip() or _NOTHING.fullmatch(note.strip()) is not None


@dataclass(frozen=True)
class DemoWording(Wording):
    """The demo model was trained on questions of a few forms, put to single clips: it is asked them as they
    are, and its answer is a note on that clip. "no" and "none" are nothing.
    """

    reads_notes: bool = False
    one_window: bool = True

    def asked(self, question: str, shape: Shape | None = None) -> str:
        """The question."""
        return question.strip()

    def is_nothing(self, note: str) -> bool:
        """The verdict is its last word."""
        return _DEMO_NOTHING.fullmatch(note.strip()) is not None


def line(note: Evidence) -> str:
    """A note as a model and a person read it: [12:31-12:58] text, or [12:31-12:58 Anna, Ben] text where it is
    known who speaks. Of several recordings it names its own.
    """
    name = f"{printable(note.file)} " if note.file else ""
    who = f" {', '.join(note.speakers)}" if note.speakers else ""
    return f"[{name}{stretch(note.start, note.end)}{who}] {one_line(note.text)}"


def condensing(question: str, lines: Sequence[str]) -> str:
    """What makes one note of several."""
    return _CONDENSE.format(notes="\n".join(lines), question=question.strip())


def answering_from(question: str, lines: Sequence[str], parts: int) -> str:
    """What answers the question from the notes of so many parts."""
    counted = "one part" if parts == 1 else f"{parts} parts"
    return _REDUCE.format(
        parts=counted, notes="\n".join(lines) if lines else _NO_NOTES, question=question.strip()
    )
