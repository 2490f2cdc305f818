"""Questions about recordings, one recording after the other or all together.

recording ──► source ──► windows (all of it) ──► Transcriber.answer ──► TextDelta ... AnswerDone
                                             └──► Conversation ──► (TextDelta ... AnswerDone) ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gemma_audio_cli.audio.read.source import Source, open_source
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.conversation import by_time
from gemma_audio_cli.errors import InputError, UsageError
from gemma_audio_cli.pipeline.events import (
    AnswerDone,
    AskEvent,
    RecordingDone,
    RecordingStarted,
    TextDelta,
)
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.whole import WholeRecording
from gemma_audio_cli.transcript import Answer, Recording


def ask(
    recognizer: Recognizer,
    questions: str | Sequence[str],
    recordings: Iterable[str],
    options: AskOptions | None = None,
) -> Iterator[AskEvent]:
    """The answers to the questions about each recording. Raises UsageError where a question is empty.

    A recording of more than the longest window is given to the model as several clips in order. Of several
    questions each is put to the recording alone, which is heard once.
    """
    questions = [questions] if isinstance(questions, str) else list(questions)
    if not questions or not all(question.strip() for question in questions):
        raise UsageError("the question is empty")
    options = options or AskOptions()
    groups = [list(recordings)] if options.together else ([name] for name in recordings)
    for names in groups:
        yield from _Asking(recognizer, questions, names, options).events()


class _Asking:
    """Recordings that are asked about in one prompt; mostly one."""

    def __init__(
        self, recognizer: Recognizer, questions: Sequence[str], names: Sequence[str], options: AskOptions
    ) -> None:
        self._recognizer, self._questions, self._options = recognizer, questions, options
        self._recordings = [WholeRecording(name, recognizer, options) for name in names]
        self._heard = False

    def events(self) -> Iterator[AskEvent]:
        shown = ", ".join(item.shown for item in self._recordings)
        recording = Recording(shown, model=self._recognizer.model_name)
        failure: InputError | None = None
        yield RecordingStarted(recording)
        sources: list[Source] = []
        try:
            # Before the model is opened: a bad file costs no model, and of nothing a model would invent
            # things.
            found = []
            for item in self._recordings:
                source = open_source(item.name, self._options.source, self._recognizer.notice)
                sources.append(source)
                heard = item.windows(source)
                found += [(item, heard)] if heard is not None else []
            if found:
                self._heard = True
                yield from self._answers(recording, found)
        except InputError as error:
            failure = error
        finally:
            for source in sources:
                source.close()
        failure = failure or next((item.failure for item in self._recordings if item.failure), None)
        seconds = sum(item.seconds for item in self._recordings)
        yield RecordingDone(recording, seconds, failure, heard=self._heard)

    def _answers(
        self, recording: Recording, found: Sequence[tuple[WholeRecording, Iterator[Window]]]
    ) -> Iterator[AskEvent]:
        longest = self._options.cut.windows(self._recognizer.longest_window).max_seconds
        transcriber = self._recognizer.transcriber(replace(self._options.decode, max_seconds=longest))
        if len(self._recordings) == len(self._questions) == 1:
            (question,), ((_, heard),) = self._questions, found
            yield from _asked(recording, question, transcriber.answer(question, heard))
            return
        several = len(self._recordings) > 1
        labelled = (
            (f"{item.shown} {by_time(window)}" if several else by_time(window), window)
            for item, heard in found
            for window in heard
        )
        talk = transcriber.conversation()
        try:
            talk.hear(labelled)
            for question in self._questions:
                yield from _asked(recording, question, talk.ask(question))
        finally:
            talk.close()


def _asked(recording: Recording, question: str, answer: Iterator[str | Answer]) -> Iterator[AskEvent]:
    for item in answer:
        if isinstance(item, Answer):
            yield AnswerDone(recording, item, question)
        else:
            yield TextDelta(recording, item)
