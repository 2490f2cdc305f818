"""Recipes at work: the question of a recipe, put to recordings, and its answer in sections.

recording ──► ask, with the shape of the recipe and the times of its stretches ──► RecipeDone, RecordingDone
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.shape import Shape, from_schema
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import hms, json_text, stretch
from gemma_audio_cli.pipeline.ask import ask
from gemma_audio_cli.pipeline.events import AnswerDone, AskEvent, RecordingDone
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.recipes import render
from gemma_audio_cli.recipes.recipe import Recipe, Value
from gemma_audio_cli.transcript import FLAG_NO_SPEECH, Answer, Recording

_TIGHT = 0.2
"""The room that texts and lists have where no whole answer came out at first: one that fits into the budget
also where a token is hardly more than a letter."""
SCHEMA = "gemma-audio/recipe/1"


@dataclass(frozen=True)
class RecipeDone:
    """A recipe's answer about one recording."""

    recipe: Recipe
    recording: Recording
    answer: Answer
    """As the model gave it."""
    value: Value | None
    """Its sections by name, of a free text {"answer": ...}; None: there is no whole answer, or nothing was
    heard (flag no_speech).
    """
    start: float
    """Seconds, of the part that was asked about."""
    duration: float
    """Seconds that were read."""
    with_evidence: bool = False
    """Its Markdown and JSON list the notes that it was made of, where it was asked in passes."""

    def text(self, kind: str) -> str:
        """It as one of its formats: "markdown", "json", "youtube" or "vtt"."""
        value = self.value
        if kind == "json":
            return json_text(self.as_dict())
        if value is None:
            heard = FLAG_NO_SPEECH not in self.answer.flags
            why = "The model gave no answer." if heard else "No speech was heard."
            return render.nothing(self.recipe, self.recording.file, kind, why)
        if kind == "youtube":
            return render.youtube(self.recipe, value, self.start)
        if kind == "vtt":
            return render.vtt(self.recipe, value, self.duration)
        if not self.recipe.sections:
            return f"{value['answer'].strip()}\n"
        notes = None
        if self.with_evidence:
            notes = [(stretch(note.start, note.end), note.text) for note in self.answer.evidence]
        return render.markdown(self.recipe, value, self.recording.file, notes)

    def as_dict(self) -> dict[str, Any]:
        """The object of its JSON."""
        about: dict[str, Any] = {
            "schema": SCHEMA,
            "recipe": self.recipe.name,
            "file": self.recording.file,
            "duration": round(self.duration, 3),
            "model": self.recording.model,
            "value": self.value,
            "flags": list(self.answer.flags),
        }
        if self.answer.parts:
            about["parts"] = self.answer.parts
        if self.with_evidence:
            about["evidence"] = [
                {"start": round(note.start, 3), "end": round(note.end, 3), "note": note.text}
                for note in self.answer.evidence
            ]
        return about


def follow(
    recognizer: Recognizer, recipe: Recipe, recordings: Iterable[str], options: AskOptions | None = None
) -> Iterator[AskEvent | RecipeDone]:
    """The events of `ask`, and a RecipeDone before the RecordingDone of each recording that was answered, or
    in which nobody speaks. The shape is the recipe's; without options the budget too. Raises UsageError.
    """
    options = options or AskOptions(decode=DecodeOptions(max_tokens=recipe.max_tokens))
    if options.together:
        raise UsageError("a recipe is about one recording; leave out --together")
    options = replace(
        options,
        timed=None if not recipe.sections else lambda starts: shape_of(recipe, starts),
        decode=replace(options.decode, shape=shape_of(recipe)),
    )
    answer: Answer | None = None
    for event in ask(recognizer, recipe.question, recordings, options):
        if isinstance(event, AnswerDone):
            answer = event.answer
        elif isinstance(event, RecordingDone) and (answer is not None or not (event.heard or event.error)):
            answer = answer or Answer("", 0, None, True, (FLAG_NO_SPEECH,))
            value = _value(recipe, answer)
            start, evidence = options.source.start, options.passes.evidence
            yield RecipeDone(recipe, event.recording, answer, value, start, event.duration, evidence)
            answer = None
        yield event


def shape_of(recipe: Recipe, starts: Sequence[float] | None = None) -> Shape | None:
    """What an answer to the recipe looks like, with the times at which the stretches begin that the model
    was given (seconds); None: any text.
    """
    if not recipe.sections:
        return None
    times = None if starts is None else [hms(start) for start in starts] or [hms(0.0)]
    # Bounds end a text that would never end; the question need not show them, and an answer with broken
    # characters, which count differently, is no worse for it.
    loose, shown = json.dumps(recipe.schema(times, room=None)), json.dumps(recipe.schema(room=None))
    usual, tighter = (
        replace(from_schema(json.dumps(recipe.schema(times, room=room))), schema=loose, shown=shown)
        for room in (1.0, _TIGHT)
    )
    return replace(usual, tighter=tighter)


def _value(recipe: Recipe, answer: Answer) -> Value | None:
    if not answer.fits or not answer.text.strip():
        return None
    return recipe.tidy(json.loads(answer.text)) if recipe.sections else {"answer": answer.text}
