"""`gemma-audio ask "QUESTION" FILE...`: questions about recordings."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.ask_passes import HeardBar, Passes
from gemma_audio_cli.cli.common import Job, unfinished
from gemma_audio_cli.cli.messages import exit_codes, put_json, say
from gemma_audio_cli.cli.options import (
    AnswerShape,
    Input,
    Model,
    Notices,
    Part,
    Speech,
    Threshold,
    option,
    with_groups,
)
from gemma_audio_cli.cli.recipes import RecipeResults, write_answers
from gemma_audio_cli.cli.speakers import SpeakerChoices
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.pipeline.events import AskEvent
    from gemma_audio_cli.pipeline.options import AskOptions
    from gemma_audio_cli.transcript import Answer

EXAMPLES = """Examples:

\b
  gemma-audio ask "How many digits are spoken?" digits.wav
  gemma-audio ask -m gemma-4-E2B-it-Q4_0.gguf "Who agreed to send the draft?" call.wav
  gemma-audio ask "Is anybody angry?" calls/*.ogg
  gemma-audio ask -Q "Who speaks?" -Q "What is decided?" --jsonl meeting.m4a
  gemma-audio ask --together "What changed between the two?" monday.wav friday.wav
  gemma-audio ask --choices yes,no,unclear "Is a date agreed on?" call.wav
  gemma-audio ask --schema order.json "What is ordered?" call.wav | jq .items
  gemma-audio ask --recipe chapters talk.mp3
  gemma-audio ask --no-vad "Which instruments are played?" song.flac
  gemma-audio ask --evidence "Who objected to the budget?" three-hours.m4a
  gemma-audio ask --start 12:30 --end 13:00 "What is decided?" meeting.m4a

The answer is printed as it is decoded. Several files are asked one after the other,
and every line begins with "FILE: ". Several questions are put to a file one by one; the file is
heard once, and stands before them in the prompt. Where nobody speaks nothing is answered, for a
model that hears nothing invents things; --no-vad asks about music and other sounds. A recording of
more than two minutes is answered in passes: each stretch is asked what bears on the question, and
the answer comes from those notes. What was heard is kept for the next question (gemma-audio cache).
"""


@with_groups
def ask(
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUESTION",
            help="What to ask, or tell, the model. With -Q, --questions or --recipe, a file.",
            show_default=False,
        ),
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Recordings; - is standard input.", show_default=False),
    ] = None,
    more: Annotated[
        list[str] | None,
        option("-Q", "--question", metavar="QUESTION", help="A question; may be given several times."),
    ] = None,
    listed: Annotated[
        str | None,
        option("--questions", metavar="FILE", help="Questions, one a line; - is standard input."),
    ] = None,
    recipe: Annotated[
        str | None,
        option(
            "--recipe",
            metavar="NAME",
            panel="Recipes",
            complete=complete.recipes,
            help="Ask what this recipe asks: minutes, chapters, summary, quotes, or one of your own.",
        ),
    ] = None,
    results: RecipeResults = RecipeResults(),
    together: Annotated[
        bool, option("--together", help="Give all files to the model at once, each by its name.")
    ] = False,
    jsonl: Annotated[bool, option("--jsonl", help="Print an object a line for each answer.")] = False,
    shape: AnswerShape = AnswerShape(),
    max_tokens: Annotated[
        int | None,
        option("--max-tokens", min=1, help="Longest answer, in tokens; default: 512, or the recipe's."),
    ] = None,
    passes: Passes = Passes(),
    who: SpeakerChoices = SpeakerChoices(),
    part: Part = Part(),
    input: Input = Input(),
    speech: Speech = Speech(),
    threshold: Threshold = Threshold(),
    model: Model = Model(),
    notices: Notices = Notices(),
) -> None:
    """Answer questions about recordings."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.decoding.options import DecodeOptions
        from gemma_audio_cli.pipeline.ask import ask as ask_all
        from gemma_audio_cli.pipeline.options import AskOptions
        from gemma_audio_cli.recipes.store import find

        if recipe is not None:
            _check_recipe(more, listed, shape)
            chosen, recordings = find(recipe), [question, *(files or [])]
        else:
            if results.given:
                raise UsageError("--format and --output are for answers to a recipe; add --recipe NAME")
            questions, recordings = _sorted_out(question, files or [], more or [], listed)
        job = Job(model, notices)
        recordings = list(map(local_path, recordings))
        options = AskOptions(
            input.options(part),
            speech.options(threshold, job.settings),
            decode=DecodeOptions(max_tokens=max_tokens or DecodeOptions.max_tokens, shape=shape.made()),
            together=together,
            passes=passes.options(job.settings, lines_of_json=shape.schema is not None and not jsonl),
            speakers=who.options(job.settings),
        )
        if recipe is not None:
            if max_tokens is None:
                options = replace(options, decode=DecodeOptions(max_tokens=chosen.max_tokens))
            write_answers(job, chosen, recordings, options, results, as_json=jsonl)
            return
        job.about(recordings)
        shown = _Shown(job, options, with_names=len(recordings) > 1 and not together, jsonl=jsonl)
        bar = HeardBar(enabled=not notices.quiet)
        try:
            for event in ask_all(job.recognizer, questions, recordings, options):
                bar.take(event)
                shown.take(event)
        finally:
            bar.close()
            shown.close()
            job.close()
        job.end()


def _check_recipe(more: list[str] | None, listed: str | None, shape: AnswerShape) -> None:
    """A recipe is the question and its shape: nothing else may be."""
    given = [
        name
        for name, value in (
            ("-Q", more), ("--questions", listed), ("--schema", shape.schema), ("--choices", shape.choices),
            ("--grammar", shape.grammar),
        )
        if value
    ]  # fmt: skip
    if given:
        raise UsageError(f"--recipe has its own question and shape; leave out {given[0]}")


def _sorted_out(
    first: str, files: list[str], more: list[str], listed: str | None
) -> tuple[list[str], list[str]]:
    """The questions and the recordings. With -Q or --questions the first argument is a recording too."""
    if more or listed is not None:
        questions, recordings = [*more, *(_lines(listed) if listed is not None else [])], [first, *files]
        if listed == "-" and "-" in recordings:
            raise UsageError("standard input cannot be both the questions and a recording")
        if not questions:
            raise UsageError(f"{listed}: no question in it; write one a line")
        return questions, recordings
    if not files:
        raise UsageError("name a recording to ask about, after the question")
    return [first], files


def _lines(name: str) -> list[str]:
    """The questions of a file: its lines that are not empty."""
    from gemma_audio_cli.textfiles import text_of

    text = text_of(name, "the questions", stdin=True)
    return [line.strip() for line in text.splitlines() if line.strip()]


class _Shown:
    """Answers as they come, on standard output."""

    def __init__(self, job: Job, options: AskOptions, *, with_names: bool, jsonl: bool) -> None:
        from gemma_audio_cli.output import TextWriter

        self._job, self._options = job, options
        self._writer = None if jsonl else TextWriter(sys.stdout, with_names=with_names)
        self._answers = 0
        self._shaped = options.decode.shape is not None

    def take(self, event: AskEvent) -> None:
        """What happened, to be shown."""
        from gemma_audio_cli.output.as_json import answer_as_dict, answered_as_dict
        from gemma_audio_cli.pipeline.events import AnswerDone, RecordingDone, RecordingStarted, TextDelta

        name = event.recording.file
        if isinstance(event, RecordingStarted):
            self._answers = 0
            if self._writer is not None:
                self._writer.begin(event.recording)
        elif isinstance(event, AnswerDone):
            self._answers += 1
            self._end_line()
            if self._writer is None:
                shape, evidence = self._options.decode.shape, self._options.passes.evidence
                put_json(answer_as_dict(name, event.question, event.answer, shape, evidence=evidence))
            elif self._shaped and event.answer.fits:
                self._writer.delta(event.answer.text)
                self._end_line()
            if self._writer is not None and self._options.passes.evidence:
                self._list_evidence(event.answer)
            self._report_oddities(name, event.answer)
        elif isinstance(event, RecordingDone):
            self._end_line()
            if self._writer is None:
                error = str(event.error) if event.error else None
                put_json(answered_as_dict(event.recording, event.duration, self._answers, error))
            self._job.asked(event, self._options)
        elif isinstance(event, TextDelta) and self._writer is not None and not self._shaped:
            self._writer.delta(event.text)

    def close(self) -> None:
        """The end of the last line."""
        self._end_line()

    def _list_evidence(self, answer: Answer) -> None:
        from gemma_audio_cli.decoding.notes import line

        lines = [line(note) for note in answer.evidence]
        if self._writer is not None and "\n".join(lines) != answer.text:  # else the notes are the answer
            for text in lines:
                self._writer.delta(text)
                self._end_line()

    def _end_line(self) -> None:
        if self._writer is not None:
            self._writer.end()

    def _report_oddities(self, name: str, answer: Answer) -> None:
        reason = unfinished(answer, self._options.decode.max_tokens)
        if self._shaped and not answer.fits:
            misfit = "it does not fit the schema; ask otherwise, or try another model"
            say(f"error: {name}: no answer of that shape: {reason or misfit}")
            self._job.failed()
            return
        if not answer.text and answer.parts and not answer.evidence:
            self._job.notice(f"{name}: nothing in it bears on the question")
        elif not answer.text:
            self._job.notice(f"{name}: the model gave no answer")
        if reason is not None:
            self._job.notice(f"{name}: the answer is not whole: {reason}")
