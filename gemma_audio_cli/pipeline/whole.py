"""All of a recording as windows, for questions: up to where it fails, and only if there is anything in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gemma_audio_cli.audio.read.source import Source, display_name
from gemma_audio_cli.audio.segment import presence
from gemma_audio_cli.audio.segment.level import report_level
from gemma_audio_cli.audio.segment.windows import Window, windows
from gemma_audio_cli.errors import AudioError, InputError
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
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

    def windows(self, source: Source) -> Iterator[Window] | None:
        """All of the recording up to where it fails; None where nothing is heard in it."""
        cut = self._options.cut.segmentation(self._recognizer.longest_window)
        heard = presence.speech(cut.onset) if cut else presence.sound(self._cut.silence_peak)
        return presence.from_first(self._all(source), heard)

    def _all(self, source: Source) -> Iterator[Window]:
        try:
            cut = windows(self._measured(source), self._cut)
            for window in report_level(cut, source.name, self._recognizer.notice):
                yield replace(window, start=window.start + source.start)
        except AudioError as failure:
            if not self.seconds:
                raise
            self.failure = failure

    def _measured(self, source: Source) -> Iterator[Floats]:
        n = 0
        for block in source.blocks():
            n += len(block)
            self.seconds = source.start + n / SAMPLE_RATE
            yield block
