"""A recording as windows, for questions: all of it, or its speech, up to where it fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from gemma_audio_cli.audio.read.source import Source, display_name
from gemma_audio_cli.audio.segment import presence
from gemma_audio_cli.audio.segment.level import report_level
from gemma_audio_cli.audio.segment.segmenter import channel_windows
from gemma_audio_cli.audio.segment.windows import Window, windows
from gemma_audio_cli.decoding.conversation import by_time
from gemma_audio_cli.errors import AudioError, InputError
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.speakers import RecordingSpeakers
from gemma_audio_cli.sound import SAMPLE_RATE, Floats


class WholeRecording:
    """The windows of one recording that is asked about, and how far it was read."""

    def __init__(self, name: str, recognizer: Recognizer, options: AskOptions) -> None:
        self.name, self.shown = name, display_name(name)
        self._recognizer, self._options = recognizer, options
        self._cut = options.cut.windows(recognizer.longest_window)
        self.seconds = 0.0
        """That were read."""
        self.failure: InputError | None = None
        """What ended it early; what came before it is asked about."""
        self.speakers: RecordingSpeakers | None = None
        """Hears all that is read, where it is wanted who speaks."""
        self._ahead: deque[Floats] = deque()
        self._rest: Iterator[Floats] | None = None
        self._broken: AudioError | None = None

    def windows(self, source: Source) -> Iterator[Window] | None:
        """All of the recording up to where it fails; None where nothing is heard in it."""
        cut = self._options.cut.segmentation(self._recognizer.longest_window)
        heard = presence.speech(cut.onset) if cut else presence.sound(self._cut.silence_peak)
        return presence.from_first(self._all(source), heard)

    def label(self, window: Window, *, named: bool) -> str:
        """What a prompt calls a window: its time, with the recording's name where there are several."""
        return f"{self.shown} {by_time(window)}" if named else by_time(window)

    def speech(self, source: Source, longest: float) -> Iterator[Window]:
        """Speech only, up to where the recording fails, as windows of at most `longest` seconds; without
        speech detection all that is not silent.
        """
        segmentation = self._options.cut.segmentation(longest)
        if segmentation is not None:
            found = (window for _, window in channel_windows(self._blocks(source), (), segmentation))
            return self._placed(source, found)
        cut = self._options.cut.windows(longest)
        loud = (w for w in windows(self._blocks(source), cut) if w.peak >= cut.silence_peak)
        return self._placed(source, loud)

    def reads_beyond(self, source: Source, seconds: float) -> bool:
        """Are there more than so many seconds? What is read to find out is kept. Raises AudioError where
        there are none at all.
        """
        self._rest = self._measured(source)
        try:
            for block in self._rest:
                self._ahead.append(block)
                if self.seconds - source.start > seconds:
                    return True
        except AudioError as failure:
            if not self.seconds:
                raise
            self._broken = failure
        return False

    def _all(self, source: Source) -> Iterator[Window]:
        return self._placed(source, windows(self._blocks(source), self._cut))

    def _placed(self, source: Source, found: Iterator[Window]) -> Iterator[Window]:
        try:
            for window in report_level(found, source.name, self._recognizer.notice):
                yield replace(window, start=window.start + source.start)
        except AudioError as failure:
            if not self.seconds:
                raise
            self.failure = failure

    def _blocks(self, source: Source) -> Iterator[Floats]:
        while self._ahead:
            yield self._ahead.popleft()
        if self._broken is not None:
            raise self._broken
        yield from self._measured(source) if self._rest is None else self._rest

    def _measured(self, source: Source) -> Iterator[Floats]:
        n = 0
        for block in source.blocks():
            n += len(block)
            self.seconds = source.start + n / SAMPLE_RATE
            if self.speakers is not None:
                self.speakers.push(block)
            yield block
