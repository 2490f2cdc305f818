"""A question about hours of sound, answered in passes.

recordings ──► speech windows ──► Mapper: notes on every stretch ──► Reducer ──► TextDelta ... AnswerDone
                                      └──► SoundCache: what was heard, for the next question
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.hearing import Hearing
from gemma_audio_cli.decoding.mapping import Mapper, Noted, Stretch, fitting_seconds, packed
from gemma_audio_cli.decoding.notes import line
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.reducing import Reducer
from gemma_audio_cli.decoding.transcriber import Transcriber
from gemma_audio_cli.engine._binding import find_library
from gemma_audio_cli.engine._native import cpu_products
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError, TooLongError
from gemma_audio_cli.models.store import recorded_sha256
from gemma_audio_cli.models.verify import sha256_of
from gemma_audio_cli.pipeline.events import AnswerDone, AskEvent, StretchHeard, TextDelta
from gemma_audio_cli.pipeline.options import PassesOptions, Timed
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.sound_cache import SoundCache, folder
from gemma_audio_cli.transcript import Answer, Evidence, Recording
from gemma_audio_cli.version import __version__

Windows = Generator[tuple[int, Window], None, None]
"""Windows of speech with the number of their recording."""


Names = Callable[[float, float], tuple[str, ...]]
"""From and to, in seconds of a recording: who speaks. Asked when all of it was heard."""


def nobody(_start: float, _end: float) -> tuple[str, ...]:
    """Speakers are not looked for."""
    return ()


@dataclass(frozen=True)
class Heard:
    """A recording that is opened and will be heard."""

    name: str
    duration: float | None
    """Seconds by its header's word; None: nobody knows."""
    names: Names = nobody


class _Stretches:
    """The stretches, read in a thread that can be told to stop."""

    def __init__(self, windows: Windows, seconds: float, stop: Callable[[], None]) -> None:
        self._items = packed(windows, seconds)
        self.stop, self.close = stop, windows.close

    def __iter__(self) -> Iterator[Stretch[int]]:
        return self

    def __next__(self) -> Stretch[int]:
        return next(self._items)


class Passes:
    """Answers to questions about recordings of any length."""

    def __init__(
        self,
        recognizer: Recognizer,
        questions: Sequence[str],
        options: PassesOptions,
        decode: DecodeOptions,
        recall_seconds: float,
        timed: Timed | None = None,
    ) -> None:
        """`recall_seconds`: the longest stretch that is heard at once. `timed`: the shape of an answer, given
        the starts of the stretches that have notes.
        """
        self._timed = timed
        self._recognizer, self._questions = recognizer, questions
        self._options, self._decode, self._seconds = options, decode, recall_seconds
        self._notes: list[list[tuple[int, Evidence]]] = [[] for _ in questions]
        self._parts = 0

    def events(
        self,
        recording: Recording,
        windows: Windows,
        stop: Callable[[], None],
        recordings: Sequence[Heard],
    ) -> Iterator[AskEvent]:
        """Heard stretches, then the answers, question by question. Nothing at all where there is no window.

        `stop` ends the reading, from any thread. `recordings` are those of the windows; of several each note
        names its own.
        """
        first = next(windows, None)  # before the model is opened: of silence no model is needed
        if first is None:
            return
        transcriber = self._recognizer.transcriber(self._decode)
        yield from self._map(transcriber, recording, _chained(first, windows), stop, recordings)
        for question, found in zip(self._questions, self._notes, strict=True):
            notes = [
                replace(note, speakers=recordings[number].names(note.start, note.end))
                for number, note in found
            ]
            yield from self._reduce(transcriber, recording, question, notes)

    # -- steps --

    def _map(
        self,
        transcriber: Transcriber,
        recording: Recording,
        windows: Windows,
        stop: Callable[[], None],
        recordings: Sequence[Heard],
    ) -> Iterator[AskEvent]:
        wording, shape = self._recognizer.wording, self._decode.shape
        durations = [one.duration for one in recordings if one.duration is not None]
        total = sum(durations) if len(durations) == len(recordings) else None
        asked = [wording.asked(question, shape) for question in self._questions]

        def recover(error: EngineError) -> Engine:
            other = transcriber.replace_engine(error)
            if other is None:
                raise error
            return other

        fitting = fitting_seconds(transcriber.engine, asked)
        if fitting < self._decode.max_seconds:  # a window is never taken apart here
            limit = transcriber.engine.info.n_ctx_train
            raise TooLongError(f"the question is too long: no sound fits beside it into {limit} positions")
        seconds = min(self._seconds, fitting)
        longest = max(seconds, self._decode.max_seconds)
        mapper = Mapper[int](
            transcriber.engine, asked, transcriber.options, self._hearing(), longest, recover
        )
        for noted in mapper.run(_Stretches(windows, 0.0 if wording.one_window else seconds, stop)):
            self._parts += 1
            number = noted.stretch.tag
            self._keep(noted, recordings[number].name if len(recordings) > 1 else "")
            before = sum(one.duration or 0.0 for one in recordings[:number])
            yield StretchHeard(recording, before + noted.stretch.end, total)

    def _keep(self, noted: Noted[int], name: str) -> None:
        stretch = noted.stretch
        for found, attempt in zip(self._notes, noted.attempts, strict=False):
            if not self._recognizer.wording.is_nothing(attempt.text):
                flags, mean = tuple(sorted(attempt.flags)), attempt.mean_logprob
                note = Evidence(stretch.start, stretch.end, attempt.text.strip(), name, mean, flags)
                found.append((stretch.tag, note))

    def _reduce(
        self, transcriber: Transcriber, recording: Recording, question: str, found: Sequence[Evidence]
    ) -> Iterator[AskEvent]:
        if not self._recognizer.wording.reads_notes and self._decode.shape is None:
            # Its notes are what it has to say; an answer of its own would be made up.
            text = "\n".join(map(line, found))
            if text:
                yield TextDelta(recording, text)
            answer = Answer(text, 0, None, True, evidence=tuple(found), parts=self._parts)
            yield AnswerDone(recording, answer, question)
            return
        if not self._recognizer.wording.reads_notes:
            self._recognizer.notice("the demo model reads no notes: its answer of that shape means nothing")
        options = transcriber.options
        if self._timed is not None:
            options = replace(options, shape=self._timed([note.start for note in found]))
        shown = False
        try:
            for item in Reducer(transcriber.engine, options).answer(question, found, self._parts):
                shown = True
                yield _event(recording, question, item)
            return
        except DEVICE_FAILURES as error:
            # What a person has seen of an answer cannot be taken back.
            if shown or transcriber.replace_engine(error) is None:
                raise
        for item in Reducer(transcriber.engine, options).answer(question, found, self._parts):
            yield _event(recording, question, item)

    def _hearing(self) -> Hearing:
        if not self._options.cache:
            return Hearing()
        cache = SoundCache(folder(), self._options.cache_bytes, self._recognizer.notice)
        identity = _encoder(self._recognizer.projector)
        return Hearing(cache, identity) if identity is not None else Hearing()


def _event(recording: Recording, question: str, item: str | Answer) -> AskEvent:
    return AnswerDone(recording, item, question) if isinstance(item, Answer) else TextDelta(recording, item)


def _chained(first: tuple[int, Window], rest: Windows) -> Windows:
    try:
        yield first
        yield from rest
    finally:
        with suppress(ValueError):
            rest.close()


def _encoder(projector: Path | None) -> bytes | None:
    """What tells this encoder from others: its weights, and the program that runs them."""
    if projector is None:
        return None
    try:
        about = projector.stat()
        known = recorded_sha256(projector) or _sha256(projector, about.st_size, about.st_mtime_ns)
    except OSError:
        return None
    return "\0".join((__version__, _build(), str(cpu_products()), known)).encode()


@lru_cache(maxsize=4)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    """Of a file in this state: a run over many recordings reads it once. Raises OSError."""
    return sha256_of(path, lambda _bytes: None)


def _build() -> str:
    """Another build of the library may round otherwise."""
    with suppress(OSError):
        about = find_library().stat()
        return f"{about.st_size} {about.st_mtime_ns}"
    return ""
