"""The Python surface: recordings, questions and live streams in one call each.

They run the very pipelines that the commands run, so results are the same: speech is found first, windows
are of the length the model hears well, bad ones are tried again.

    transcribe(recording) ──► Segment ...            ask(question, recording) ──► Answer
    run_recipe("minutes", recording) ──► RecipeDone
    transcribe_many(recordings) ──► events           listen() ──► Partial, Final ...
    atranscribe, aask, alisten                       the same for asyncio, by a thread
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from gemma_audio_cli.decoding.prefetch import Closable
from gemma_audio_cli.engine import engine as native
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.errors import Notice
from gemma_audio_cli.models.resolve import resolve
from gemma_audio_cli.pipeline.ask import ask as ask_events
from gemma_audio_cli.pipeline.events import AnswerDone, RecordingDone, SegmentDone, TextDelta, TranscribeEvent
from gemma_audio_cli.pipeline.files import Transcription
from gemma_audio_cli.pipeline.live import LiveOptions, LiveTranscription
from gemma_audio_cli.pipeline.options import AskOptions, ModelOptions, SpeakerOptions, TranscribeOptions
from gemma_audio_cli.pipeline.recipes import RecipeDone, follow
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.recipes.store import find as find_recipe
from gemma_audio_cli.transcript import FLAG_NO_SPEECH, Answer, Final, Partial, Segment

PathLike = str | os.PathLike[str]
OnText = Callable[[str], None]
T = TypeVar("T")


class Engine(native.Engine):
    """An open model: give it to several calls, and it is loaded once."""

    @classmethod
    def open(
        cls,
        model: PathLike | None = None,
        mmproj: PathLike | None = None,
        options: EngineOptions | None = None,
    ) -> Engine:
        """Open a model by alias or path, its projector found beside it; None: the best there is."""
        pair = resolve(model, mmproj)
        return cls(pair.text, pair.mmproj, options)


def _recognizer(engine: native.Engine | None, model: PathLike | None, notice: Notice | None) -> Recognizer:
    options = ModelOptions(None if model is None else os.fspath(model))
    return Recognizer(options, engine=engine, notice=notice)


def transcribe_many(
    recordings: Iterable[PathLike],
    options: TranscribeOptions | None = None,
    *,
    engine: native.Engine | None = None,
    model: PathLike | None = None,
    notice: Notice | None = None,
) -> Iterator[TranscribeEvent]:
    """What happens while the recordings (paths, or "-" for standard input) are transcribed, in order.

    A recording that fails is a RecordingDone with its error; the others go on. `engine` is used and left
    open; without one, `model` (alias or path, None: the best pulled, else the demo model) is opened for this
    call. `notice` gets what is odd but no reason to stop.
    """
    recognizer = _recognizer(engine, model, notice)
    try:
        yield from Transcription(recognizer, (os.fspath(name) for name in recordings), options).events()
    finally:
        recognizer.close()


def transcribe(
    recording: PathLike,
    options: TranscribeOptions | None = None,
    *,
    engine: native.Engine | None = None,
    model: PathLike | None = None,
    language: str | None = None,
    word_times: bool = False,
    speakers: bool | int = False,
    on_text: OnText | None = None,
    notice: Notice | None = None,
) -> Iterator[Segment]:
    """What is said in the recording, a Segment for each stretch in which something is, as they are decoded.

    `language` and `word_times` are short for them in `options`; with word times a segment has its `words`.
    `speakers`: say who speaks, so many or (True) as many as there seem to be; segments come at the end then.
    `on_text` gets the text in pieces as it is decoded. Raises an InputError where the recording fails, after
    what could be heard.
    """
    options = options or TranscribeOptions()
    if language is not None:
        options = replace(options, instruction=replace(options.instruction, language=language))
    if word_times:
        options = replace(options, decode=replace(options.decode, word_times=True))
    if speakers:
        options = replace(options, speakers=SpeakerOptions(count=None if speakers is True else speakers))
    if on_text is not None:
        options = replace(options, stream=True)
    for event in transcribe_many([recording], options, engine=engine, model=model, notice=notice):
        if isinstance(event, SegmentDone) and not event.segment.empty:
            yield event.segment
        elif isinstance(event, TextDelta) and on_text is not None:
            on_text(event.text)
        elif isinstance(event, RecordingDone) and event.error is not None:
            raise event.error


def ask(
    question: str,
    recording: PathLike,
    options: AskOptions | None = None,
    *,
    engine: native.Engine | None = None,
    model: PathLike | None = None,
    on_text: OnText | None = None,
    notice: Notice | None = None,
) -> Answer:
    """The model's answer to a question about the recording; the arguments are those of `transcribe`."""
    with _recognizer(engine, model, notice) as recognizer:
        answer: Answer | None = None
        for event in ask_events(recognizer, question, [os.fspath(recording)], options):
            if isinstance(event, TextDelta) and on_text is not None:
                on_text(event.text)
            elif isinstance(event, AnswerDone):
                answer = event.answer
            elif isinstance(event, RecordingDone) and event.error is not None:
                raise event.error
    return answer if answer is not None else Answer("", 0, None, True)


def run_recipe(
    recipe: str,
    recording: PathLike,
    options: AskOptions | None = None,
    *,
    engine: native.Engine | None = None,
    model: PathLike | None = None,
    notice: Notice | None = None,
) -> RecipeDone | None:
    """The answer to a recipe ("minutes", or one of your own) about the recording: its sections are `value`,
    and `text("markdown")` is what the command prints. None where nothing is heard. Raises what `ask` raises,
    and UsageError where there is no such recipe.
    """
    found = find_recipe(recipe)
    answer: RecipeDone | None = None
    with _recognizer(engine, model, notice) as recognizer:
        for event in follow(recognizer, found, [os.fspath(recording)], options):
            if isinstance(event, RecipeDone):
                answer = event if FLAG_NO_SPEECH not in event.answer.flags else None
            elif isinstance(event, RecordingDone) and event.error is not None:
                raise event.error
    return answer


def listen(
    source: PathLike | None = None,
    options: LiveOptions | None = None,
    *,
    device: str | None = None,
    engine: native.Engine | None = None,
    model: PathLike | None = None,
    language: str | None = None,
    word_times: bool = False,
    notice: Notice | None = None,
) -> Iterator[Partial | Final]:
    """What is said into the microphone (or in the stream `source`), while it is said.

    `device` names the microphone. `language` and `word_times` are short for them in `options`; with word
    times finals have their `words`. It ends with the stream, or when the caller closes the generator.
    """
    from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
    from gemma_audio_cli.audio.capture.stream import open_live

    options = options or LiveOptions()
    if language is not None:
        options = replace(options, instruction=replace(options.instruction, language=language))
    if word_times:
        options = replace(options, word_times=True)
    queue = SpeechQueue()
    recognizer = _recognizer(engine, model, notice)
    undo: list[Callable[[], None]] = [recognizer.close, queue.dispose]
    try:
        name = None if source is None else os.fspath(source)
        stream = open_live(name, device=device, notice=recognizer.notice, waiting=lambda: queue.seconds)
        stream.__enter__()
        undo.append(lambda: stream.__exit__(None, None, None))
        run = LiveTranscription(recognizer, stream, queue, options)
        undo.append(run.close)
        run.start()
        for event in run.events():
            if isinstance(event, (Partial, Final)):
                yield event
            elif isinstance(event, RecordingDone) and event.error is not None:
                raise event.error
    finally:
        for close in reversed(undo):
            close()


# ---- asyncio -------------------------------------------------------------------------------------


async def _in_thread(make: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """The items of an iterator that works in a thread of its own; closed there when the caller stops."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue()
    wanted = threading.Semaphore(1)
    stopped = threading.Event()

    def put(item: T | None, failure: BaseException | None) -> None:
        loop.call_soon_threadsafe(items.put_nowait, (item, failure))

    def work() -> None:
        iterator = make()
        try:
            while True:
                wanted.acquire()
                if stopped.is_set():
                    return
                put(next(iterator), None)
        except StopIteration:
            put(None, StopAsyncIteration())
        except BaseException as failure:
            put(None, failure)
        finally:
            if isinstance(iterator, Closable):
                iterator.close()

    thread = threading.Thread(target=work, daemon=True, name="gemma-audio")
    thread.start()
    try:
        while True:
            item, failure = await items.get()
            if isinstance(failure, StopAsyncIteration):
                return
            if failure is not None:
                raise failure
            yield item  # type: ignore[misc]
            wanted.release()
    finally:
        stopped.set()
        wanted.release()


def atranscribe(recording: PathLike, *arguments: Any, **named: Any) -> AsyncIterator[Segment]:
    """As `transcribe`, for asyncio."""
    return _in_thread(lambda: transcribe(recording, *arguments, **named))


def alisten(*arguments: Any, **named: Any) -> AsyncIterator[Partial | Final]:
    """As `listen`, for asyncio."""
    return _in_thread(lambda: listen(*arguments, **named))


async def aask(question: str, recording: PathLike, *arguments: Any, **named: Any) -> Answer:
    """As `ask`, for asyncio."""
    return await asyncio.to_thread(ask, question, recording, *arguments, **named)
