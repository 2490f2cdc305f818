"""Many recordings, one after the other on the way in and on the way out, several windows at once in between.

    recordings ──► source ──► windows ──► Transcriber (all recordings together) ──► events in order

The windows of the next recordings are taken in while those of this one are decoded. Results come in the order
of the recordings; one that fails is reported when its turn comes, after the text of what could be heard.

A prompt begins with its instruction, so recordings with another one make another group. Where a context is
too long for the prompt, each recording is a group: which terms are listed depends on what was heard before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gemma_audio_cli.audio.outline import Outline
from gemma_audio_cli.audio.read.source import Source, SourceOptions, display_name, open_source
from gemma_audio_cli.audio.segment.level import odd_level
from gemma_audio_cli.audio.segment.segmenter import channel_windows
from gemma_audio_cli.audio.segment.windows import Window, windows
from gemma_audio_cli.decoding.scheduler import Delta
from gemma_audio_cli.errors import AudioError, InputError
from gemma_audio_cli.pipeline.events import (
    RecordingDone,
    RecordingStarted,
    SegmentDone,
    StretchHeard,
    TextDelta,
    TranscribeEvent,
)
from gemma_audio_cli.pipeline.options import InstructionOptions, TranscribeOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.speakers import RecordingSpeakers, Speakers
from gemma_audio_cli.pipeline.told import Instructions
from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.transcript import Recording, Segment


@dataclass(eq=False)
class _RecordingJob:
    """One recording on its way through."""

    name: str
    """As it was given."""
    recording: Recording
    started: bool = False
    heard: bool = False
    channels: tuple[int, ...] = ()
    held: list[Segment] = field(default_factory=list)
    """Segments that wait for the end: of split channels, for the order of time; for who speaks."""
    speakers: RecordingSpeakers | None = None
    outline: Outline | None = None
    """Of the recording, or of the first of its tracks."""
    odd_level: bool = False
    """Its odd level has been reported."""
    seconds: float = 0.0
    """How far it has been read, from its start."""
    whole: bool = False
    """It has been read to its end."""
    failure: InputError | None = None


_Tagged = tuple[tuple[_RecordingJob, int | None], Window]


class _Incoming:
    """The windows of all recordings, of which the first one has been taken already."""

    def __init__(
        self, first: _Tagged, rest: Generator[_Tagged, None, None], stop: Callable[[], None]
    ) -> None:
        """`stop` tells the windows, from any thread, that no more are wanted."""
        self._first: _Tagged | None = first
        self._rest = rest
        self.stop = stop
        self.close = rest.close

    def __iter__(self) -> Iterator[_Tagged]:
        return self

    def __next__(self) -> _Tagged:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first


class Transcription:
    """One run over many recordings."""

    def __init__(
        self, recognizer: Recognizer, recordings: Iterable[str], options: TranscribeOptions | None = None
    ) -> None:
        """`recordings` are paths, or "-" for standard input; each is asked for when its turn to be read
        comes. Raises UsageError where the options make no sense.
        """
        self._recognizer, self._recordings = recognizer, iter(recordings)
        self._options = options = options or TranscribeOptions()
        self._instructions = Instructions(recognizer.notice)
        self._instruction: InstructionOptions | None = None  # of the group; None: it has no recording yet
        self._alone = False  # the group has one recording
        self._put_back: str | None = None  # the first recording of the next group
        self._speakers: Speakers | None = None
        if options.speakers is not None:
            if options.source.split_channels or options.all_tracks:
                recognizer.notice(
                    "what each channel or track says is told apart by it; speakers are not looked for"
                )
            else:
                self._speakers = Speakers(options.speakers, recognizer.notice)
        self._windows_options = options.cut.windows(recognizer.longest_window)
        self._segmentation = options.cut.segmentation(recognizer.longest_window)
        self._decode = replace(
            options.decode,
            max_seconds=self._windows_options.max_seconds,
            word_times=options.decode.word_times or self._speakers is not None,
        )
        self._jobs: deque[_RecordingJob] = deque()
        self._source: Source | None = None
        self._gone = False
        self.stopping = False
        """`stop` was called."""

    def stop(self) -> None:
        """Read nothing more; what is being decoded is finished. From any thread or signal handler."""
        self.stopping = True

    def events(self) -> Generator[TranscribeEvent, None, None]:
        """All that happens, until all recordings are done."""
        while True:
            yield from self._group()
            if self._put_back is None or self.stopping:
                return

    def _group(self) -> Generator[TranscribeEvent, None, None]:
        """Recordings in a row with the same instruction."""
        self._instruction, self._alone, self._gone = None, False, False
        source = self._windows()
        try:
            first = next(source, None)  # before the model is opened: a bad file costs no model
            if first is not None:
                yield from self._transcribe(_Incoming(first, source, self._stop_reading))
            while self._jobs:
                yield from self._finish_first()
        finally:
            with suppress(ValueError):  # a thread that cannot be ended is still at it
                source.close()

    # -- in --

    def _stop_reading(self) -> None:
        """From any thread: no more windows are wanted."""
        self._gone = True
        source = self._source
        if source is not None:
            source.stop()

    def _windows(self) -> Generator[_Tagged, None, None]:
        options = self._options
        while (name := self._next_name()) is not None:
            instruction = options.own.get(name, options.instruction)
            if self._instruction is not None and (self._alone or instruction != self._instruction):
                self._put_back = name
                return
            self._instruction = instruction
            recording = Recording(
                display_name(name),
                language=instruction.language_name,
                model=self._recognizer.model_name,
                split_channels=options.source.split_channels,
                speakers=self._speakers is not None,
            )
            job = _RecordingJob(name, recording)
            self._jobs.append(job)
            for track in self._tracks(job):
                part = replace(options.source, track=track) if track else options.source
                try:
                    yield from self._read(job, part, int(track) if track else None)
                except InputError as failure:
                    job.failure = job.failure or failure
                if self.stopping or self._gone:
                    return
            job.whole = job.failure is None

    def _next_name(self) -> str | None:
        """The next recording; None: there is none, or no more is wanted."""
        name, self._put_back = self._put_back, None
        name = next(self._recordings, None) if name is None else name
        return None if self.stopping or self._gone else name

    def _read(
        self, job: _RecordingJob, options: SourceOptions, track: int | None
    ) -> Generator[_Tagged, None, None]:
        """The windows of a recording, or of one of its tracks."""
        source = open_source(job.name, options, self._recognizer.notice, gone=lambda: self._gone)
        try:
            self._source = source
            if self._gone:
                source.stop()
            job.channels = job.channels or source.channels
            outline = None if job.outline else Outline(source.start)
            job.outline = job.outline or outline
            if self._speakers is not None:
                job.speakers = self._speakers.listen(source.start)
            for channel, window in self._cut(source, self._measured(source, job, outline)):
                self._tell_level(job, window)
                number = channel if track is None else track
                yield (job, number), replace(window, start=window.start + source.start)
                if self.stopping or self._gone:
                    return
        finally:
            source.close()

    def _tracks(self, job: _RecordingJob) -> list[str | None]:
        """The tracks to hear, each on its own; None: the recording's usual one."""
        if not self._options.all_tracks:
            return [None]
        try:
            if job.name == "-":
                raise AudioError(
                    f"{job.recording.file}: --all-tracks reads a file once for each track; "
                    "save standard input to a file first"
                )
            with open_source(job.name, self._options.source) as source:
                tracks = source.tracks
        except InputError as failure:
            job.failure = failure
            return []
        for track in tracks:
            if not track.codec:
                self._recognizer.notice(
                    f"{job.recording.file}: no decoder knows audio track {track}; it is left out"
                )
        usable = [track for track in tracks if track.codec]
        if len(usable) < 2:
            return [None]
        labels = {track.number: track.label for track in usable}
        job.recording = replace(job.recording, split_channels=True, labels=labels)
        job.channels = tuple(labels)
        return [str(track.number) for track in usable]

    def _tell_level(self, job: _RecordingJob, window: Window) -> None:
        """Once a recording: its level is odd."""
        odd = None if job.odd_level or window.gain == 1.0 else odd_level(job.recording.file, window)
        if odd:
            job.odd_level = True
            self._recognizer.notice(odd)

    @staticmethod
    def _measured(source: Source, job: _RecordingJob, outline: Outline | None) -> Iterator[Floats]:
        """The blocks of a source, counted for `job`, and drawn, as they go by."""
        n = 0
        for block in source.blocks():
            n += len(block)
            job.seconds = max(job.seconds, source.start + n / SAMPLE_RATE)
            if outline is not None:
                outline.push(block)
            if job.speakers is not None:
                job.speakers.push(block)
            yield block

    def _cut(self, source: Source, blocks: Iterator[Floats]) -> Iterator[tuple[int | None, Window]]:
        """Windows with the channel they are of."""
        if self._segmentation is None:
            return ((None, window) for window in windows(blocks, self._windows_options))
        return channel_windows(blocks, source.channels, self._segmentation)

    # -- out --

    def _transcribe(self, found: _Incoming) -> Iterator[TranscribeEvent]:
        transcriber = self._recognizer.transcriber(self._decode)
        instruction = self._instruction
        assert instruction is not None
        told = self._instructions.of(instruction, transcriber.engine)
        self._alone = not told.whole
        results = transcriber.transcribe_many(
            found,
            told.text,
            silence_peak=self._windows_options.silence_peak,
            # Text and translation are told apart at the end only.
            stream=self._options.stream and instruction.translate_to is None,
            hints=told.hints,
        )
        for item in results:
            job, channel = item.tag
            while self._jobs[0] is not job:  # what stands before this recording is done
                yield from self._finish_first()
            yield from self._start(job)
            if isinstance(item, Delta):
                yield TextDelta(job.recording, item.text)
            else:
                segment = instruction.parts(item.segment)
                self._instructions.saw(instruction, segment.text)
                yield from self._segment(job, replace(segment, channel=channel))

    def _segment(self, job: _RecordingJob, segment: Segment) -> Iterator[TranscribeEvent]:
        job.heard = job.heard or bool(segment.text)
        if job.channels or job.speakers is not None:
            job.held.append(segment)
            yield StretchHeard(job.recording, segment.end, None)
        else:
            yield SegmentDone(job.recording, segment)

    def _start(self, job: _RecordingJob) -> Iterator[TranscribeEvent]:
        if not job.started:
            job.started = True
            yield RecordingStarted(job.recording)

    def _finish_first(self) -> Iterator[TranscribeEvent]:
        """The first recording's turn is over."""
        job = self._jobs.popleft()
        yield from self._start(job)
        held = sorted(job.held, key=lambda s: (s.start, s.channel or 0))
        for segment in held if job.speakers is None else job.speakers.segments(held):
            yield SegmentDone(job.recording, segment)
        yield RecordingDone(
            job.recording,
            job.seconds,
            job.failure,
            interrupted=not job.whole and job.failure is None,
            heard=job.heard,
            waveform=job.outline.waveform() if job.outline is not None else None,
        )
