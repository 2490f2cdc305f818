"""Questions about recordings, one recording after the other or all together.

recording ──► source ──► windows (all of it) ──► Transcriber.answer ──► TextDelta ... AnswerDone
                     │                       └──► Conversation ──► (TextDelta ... AnswerDone) ...
                     └─► windows of speech, where it is long ──► Passes ──► StretchHeard ... AnswerDone ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from gemma_audio_cli.audio.read.source import Source, open_source
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.errors import InputError, TooLongError, UsageError
from gemma_audio_cli.pipeline.events import (
    AnswerDone,
    AskEvent,
    RecordingDone,
    RecordingStarted,
    TextDelta,
)
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.passes import Heard, Passes, Windows, nobody
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.speakers import Speakers
from gemma_audio_cli.pipeline.talking import answered
from gemma_audio_cli.pipeline.whole import WholeRecording
from gemma_audio_cli.transcript import Answer, Recording


def ask(
    recognizer: Recognizer,
    questions: str | Sequence[str],
    recordings: Iterable[str],
    options: AskOptions | None = None,
) -> Iterator[AskEvent]:
    """The answers to the questions about each recording. Raises UsageError where a question is empty.

    A recording of more than the longest window is given to the model as several clips in order; one that is
    longer than what a model recalls is asked stretch by stretch (see `PassesOptions`). Of several questions
    each is put to the recording alone, which is heard once.
    """
    questions = [questions] if isinstance(questions, str) else list(questions)
    if not questions or not all(question.strip() for question in questions):
        raise UsageError("the question is empty")
    options = options or AskOptions()
    speakers = Speakers(options.speakers, recognizer.notice) if options.speakers is not None else None
    groups = [list(recordings)] if options.together else ([name] for name in recordings)
    for names in groups:
        yield from _Asking(recognizer, questions, names, options, speakers).events()


_Opened = list[tuple[WholeRecording, Source]]


class _Asking:
    """Recordings that are asked about together; mostly one."""

    def __init__(
        self,
        recognizer: Recognizer,
        questions: Sequence[str],
        names: Sequence[str],
        options: AskOptions,
        speakers: Speakers | None,
    ) -> None:
        self._recognizer, self._questions, self._options = recognizer, questions, options
        self._recordings = [WholeRecording(name, recognizer, options) for name in names]
        self._speakers = speakers
        self._recall = options.passes.recall_seconds or recognizer.recall_seconds
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
            for item in self._recordings:
                sources.append(open_source(item.name, self._options.source, self._recognizer.notice))
            opened = list(zip(self._recordings, sources, strict=True))
            if self._speakers is not None:
                for item, source in opened:
                    item.speakers = self._speakers.listen(source.start)
            answers = self._by_passes if self._takes_passes(shown, opened) else self._whole
            yield from answers(recording, opened)
        except InputError as error:
            failure = error
        finally:
            for source in sources:
                source.close()
        failure = failure or next((item.failure for item in self._recordings if item.failure), None)
        seconds = sum(item.seconds for item in self._recordings)
        yield RecordingDone(recording, seconds, failure, heard=self._heard)

    def _takes_passes(self, shown: str, opened: _Opened) -> bool:
        passes = self._options.passes
        if passes.wanted is not None or passes.evidence or self._speakers is not None:
            return passes.wanted is not False
        left = self._recall
        for item, source in opened:
            if item.reads_beyond(source, left):
                self._recognizer.notice(
                    f"{shown}: longer than {self._recall:g} s, so it is answered in passes; --whole gives it "
                    "to the model at once"
                )
                return True
            left -= item.seconds - source.start
        return False

    def _by_passes(self, recording: Recording, opened: _Opened) -> Iterator[AskEvent]:
        longest = max(1.0, min(self._recognizer.longest_window, self._recall))
        longest = self._options.cut.windows(longest).max_seconds

        def windows() -> Windows:
            for number, (item, source) in enumerate(opened):
                for window in item.speech(source, longest):
                    yield number, window

        def stop() -> None:
            for _, source in opened:
                source.stop()

        decode = replace(self._options.decode, max_seconds=longest)
        timed = self._options.timed
        passes = Passes(self._recognizer, self._questions, self._options.passes, decode, self._recall, timed)
        recordings = [
            Heard(item.shown, source.duration, item.speakers.names if item.speakers is not None else nobody)
            for item, source in opened
        ]
        heard = windows()
        try:
            for event in passes.events(recording, heard, stop, recordings):
                self._heard = True
                yield event
        finally:
            with suppress(ValueError):  # a thread that cannot be ended is still at it
                heard.close()

    def _whole(self, recording: Recording, opened: _Opened) -> Iterator[AskEvent]:
        found = [(item, heard) for item, source in opened if (heard := item.windows(source)) is not None]
        if not found:
            return
        self._heard = True
        try:
            yield from self._answers(recording, found)
        except TooLongError as error:
            way = "leave out --whole" if self._options.passes.wanted is False else "use --passes"
            raise TooLongError(f"{error}, or {way}") from None

    def _answers(
        self, recording: Recording, found: Sequence[tuple[WholeRecording, Iterator[Window]]]
    ) -> Iterator[AskEvent]:
        longest = self._options.cut.windows(self._recognizer.longest_window).max_seconds
        transcriber = self._recognizer.transcriber(replace(self._options.decode, max_seconds=longest))
        if len(self._recordings) == len(self._questions) == 1 and self._options.timed is None:
            (question,), ((_, heard),) = self._questions, found
            yield from _asked(recording, question, transcriber.answer(question, heard))
            return
        several = len(self._recordings) > 1
        starts: list[float] = []

        remembered: list[tuple[str, Window]] = []  # for another engine, should the device fail

        def labelled() -> Iterator[tuple[str, Window]]:
            for item, heard in found:
                for window in heard:
                    starts.append(window.start)
                    remembered.append((item.label(window, named=several), window))
                    yield remembered[-1]

        rest = labelled()

        def hear() -> None:
            talk.hear(chain(list(remembered), rest))
            shape = self._options.timed(starts) if self._options.timed is not None else None
            if shape is not None:
                talk.shape(shape)

        talk = transcriber.conversation()
        try:
            for question in self._questions:
                yield from _asked(recording, question, answered(transcriber, talk, hear, question))
        finally:
            talk.close()


def _asked(recording: Recording, question: str, answer: Iterator[str | Answer]) -> Iterator[AskEvent]:
    for item in answer:
        if isinstance(item, Answer):
            yield AnswerDone(recording, item, question)
        else:
            yield TextDelta(recording, item)
