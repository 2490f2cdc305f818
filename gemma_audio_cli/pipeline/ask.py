"""A question about recordings, one after the other.

recording ──► source ──► windows (all of it) ──► Transcriber.answer ──► TextDelta ... AnswerDone
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gemma_audio_cli.audio.read.source import Source, display_name, open_source
from gemma_audio_cli.audio.segment import presence
from gemma_audio_cli.audio.segment.level import report_level
from gemma_audio_cli.audio.segment.windows import Window, windows
from gemma_audio_cli.errors import AudioError, InputError, UsageError
from gemma_audio_cli.pipeline.events import (
    AnswerDone,
    AskEvent,
    RecordingDone,
    RecordingStarted,
    TextDelta,
)
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.transcript import Answer, Recording


def ask(
    recognizer: Recognizer, question: str, recordings: Iterable[str], options: AskOptions | None = None
) -> Iterator[AskEvent]:
    """The answer to the question about each recording. Raises UsageError where the question is empty.

    A recording of more than the longest window is given to the model as several clips in order.
    """
    if not question.strip():
        raise UsageError("the question is empty")
    options = options or AskOptions()
    for name in recordings:
        yield from _Question(recognizer, question, name, options).events()


class _Question:
    """One recording that is asked about."""

    def __init__(self, recognizer: Recognizer, question: str, name: str, options: AskOptions) -> None:
        self._recognizer, self._question, self._name, self._options = recognizer, question, name, options
        self._cut = options.cut.windows(recognizer.longest_window)
        self._seconds = 0.0
        self._failure: InputError | None = None
        self._heard = True

    def events(self) -> Iterator[AskEvent]:
        recording = Recording(display_name(self._name), model=self._recognizer.model_name)
        yield RecordingStarted(recording)
        try:
            source = open_source(self._name, self._options.source, self._recognizer.notice)
            try:
                yield from self._answer(recording, source)
            finally:
                source.close()
        except InputError as failure:
            self._failure = self._failure or failure
        yield RecordingDone(recording, self._seconds, self._failure, heard=self._heard)

    def _answer(self, recording: Recording, source: Source) -> Iterator[AskEvent]:
        cut = self._options.cut.segmentation(self._recognizer.longest_window)
        heard = presence.speech(cut.onset) if cut else presence.sound(self._cut.silence_peak)
        # Before the model is opened: a bad file costs no model, and of nothing a model would invent things.
        found = presence.from_first(self._windows(source), heard)
        if found is None:
            self._heard = False
            return
        decode = replace(self._options.decode, max_seconds=self._cut.max_seconds)
        for item in self._recognizer.transcriber(decode).answer(self._question, found):
            yield AnswerDone(recording, item) if isinstance(item, Answer) else TextDelta(recording, item)

    def _windows(self, source: Source) -> Iterator[Window]:
        """All of the recording up to where it fails: the question is then about that much of it."""
        try:
            found = report_level(
                windows(self._measured(source), self._cut), source.name, self._recognizer.notice
            )
            for window in found:
                yield replace(window, start=window.start + source.start)
        except AudioError as failure:
            if not self._seconds:
                raise
            self._failure = failure

    def _measured(self, source: Source) -> Iterator[Floats]:
        n = 0
        for block in source.blocks():
            n += len(block)
            self._seconds = source.start + n / SAMPLE_RATE
            yield block
