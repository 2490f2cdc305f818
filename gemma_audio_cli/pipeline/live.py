"""A live stream becomes text while it is spoken: ingest in its thread, the model in the caller's.

LiveSource ──► AudioIngest ──► SpeechQueue ──► Listener ──► Partial ... Final
     └──► taps: a recorder, a level meter
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from gemma_audio_cli.audio.capture.ingest import AudioIngest, Tap
from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
from gemma_audio_cli.audio.capture.stream import LiveSource
from gemma_audio_cli.audio.segment.utterances import Utterances, all_speech, live_cut
from gemma_audio_cli.decoding.options import MODEL_ALIGNER, DecodeOptions
from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.errors import InputError, UsageError
from gemma_audio_cli.pipeline.events import ListeningStarted, LiveEvent, RecordingDone, RecordingStarted
from gemma_audio_cli.pipeline.listener import Finals, Listener, ListenOptions
from gemma_audio_cli.pipeline.options import (
    InstructionOptions,
    SpeakerOptions,
    check_aligner,
    with_threshold,
)
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.speakers import Speakers
from gemma_audio_cli.pipeline.told import Instructions
from gemma_audio_cli.sound import Floats
from gemma_audio_cli.transcript import Final, Recording


@dataclass(frozen=True)
class LiveOptions:
    """How a stream is heard."""

    instruction: InstructionOptions = field(default_factory=InstructionOptions)
    answer: bool = False
    """The instruction is a question; it is answered about each utterance."""
    shape: Shape | None = None
    """What an answer must look like."""
    pause: float = 0.6
    """Seconds of silence that end an utterance."""
    window: float | None = None
    """Seconds of the longest utterance; None: what the model hears well."""
    threshold: float | None = None
    """The probability from which on sound is speech; None: 0.5."""
    word_times: bool = False
    """Finals have their words, with times."""
    aligner: str = MODEL_ALIGNER
    """What finds them: the model itself, or `pocketsphinx`."""
    speakers: SpeakerOptions | None = None
    """Say who speaks, by what was heard so far; None: not wanted."""

    def __post_init__(self) -> None:
        check_aligner(self.aligner, self.instruction)
        if self.speakers is not None and self.answer:
            raise UsageError("--speakers tells who says what, and answers are nobody's; leave out --ask")
        if self.word_times and self.answer:
            raise UsageError("word times are those of what is said, which an answer is not; leave out --ask")


class LiveTranscription:
    """One stream, from its first sound to its last word. Close it in any case."""

    def __init__(
        self,
        recognizer: Recognizer,
        source: LiveSource,
        speech_queue: SpeechQueue,
        options: LiveOptions | None = None,
        *,
        taps: Iterable[Tap] = (),
        gate: Callable[[], bool] | None = None,
    ) -> None:
        """`source` is open. `taps` get every block that counts, first. `gate`: sound counts only while
        it answers True, all of it is speech, and an utterance ends where it no longer does (push to talk).
        """
        options = options or LiveOptions()
        self._recognizer, self._source, self._queue = recognizer, source, speech_queue
        self._window = options.window or recognizer.longest_window
        try:
            cut = with_threshold(live_cut(options.pause, self._window), options.threshold)
        except ValueError as error:
            raise UsageError(f"--pause, --window: {error}") from None
        self._listen = ListenOptions(answer=options.answer, partials=not options.answer)
        self._instruction, self._shape = options.instruction, options.shape
        self._aligner = options.aligner
        self._word_times = options.word_times or options.speakers is not None
        self._speakers = Speakers(options.speakers, recognizer.notice) if options.speakers else None
        self._ingest = AudioIngest(
            source.blocks(), Utterances(cut, all_speech if gate else None), speech_queue, taps=taps, gate=gate
        )

    @property
    def seconds(self) -> float:
        """Sound that counted so far."""
        return self._ingest.seconds

    @property
    def in_speech(self) -> bool:
        """Is someone speaking just now?"""
        return self._ingest.in_speech

    @property
    def behind(self) -> float:
        """Seconds of speech that wait to be understood."""
        return self._queue.seconds

    def start(self) -> None:
        """Listen from now on: before the model is there."""
        self._ingest.start()

    def stop(self) -> None:
        """No more sound; what was said is finished. From any thread or signal handler."""
        self._source.stop()
        if self._source.blocking:
            # Not here: the interrupted thread may hold the very lock this needs.
            threading.Thread(target=self._ingest.give_up, daemon=True).start()

    def close(self) -> None:
        """Whatever ended it: the ingest ends before its source is closed."""
        self._source.stop()
        if self._source.blocking:
            self._ingest.give_up()
        else:
            self._ingest.join(3.0)

    def _finals(self) -> Finals:
        speakers = self._speakers.stream() if self._speakers is not None else None

        def finals(final: Final, samples: Floats) -> list[Final]:
            final = self._instruction.parts(final)
            return [final] if speakers is None else speakers.finals(final, samples)

        return finals

    def events(self) -> Generator[LiveEvent, None, None]:
        """What is said, until the stream is over."""
        recording = Recording(
            self._source.name,
            language=self._instruction.language_name,
            model=self._recognizer.model_name,
            speakers=self._speakers is not None,
        )
        yield RecordingStarted(recording)
        decode = DecodeOptions(
            slots=1,
            max_seconds=self._window,
            shape=self._shape,
            word_times=self._word_times,
            aligner=self._aligner,
        )
        transcriber = self._recognizer.transcriber(decode)
        told = Instructions(self._recognizer.notice).of(self._instruction, transcriber.engine)
        instruction = told.text + (self._shape.hint if self._shape else "")
        listener = Listener(transcriber, instruction, self._listen, hints=told.hints, finals=self._finals())
        yield ListeningStarted(recording)
        failure, heard = None, False
        try:
            for event in listener.listen(self._queue):
                heard = heard or (isinstance(event, Final) and bool(event.text))
                yield event
        except InputError as error:
            failure = error
        finally:
            listener.close()
        yield RecordingDone(recording, self.seconds, failure, heard=heard)
