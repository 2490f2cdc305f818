"""A conversation about recordings: heard once, then turn after turn.

recordings ──► windows ──► Conversation (in the K/V cache) ◄──► question, answer, question, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from gemma_audio_cli.audio.read.source import display_name, open_source
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.conversation import Conversation
from gemma_audio_cli.decoding.transcriber import Transcriber
from gemma_audio_cli.errors import DEVICE_FAILURES, TooLongError, UsageError
from gemma_audio_cli.pipeline.options import AskOptions
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.pipeline.talking import answered, moved
from gemma_audio_cli.pipeline.whole import WholeRecording
from gemma_audio_cli.transcript import Answer

_WARMER = 0.8
"""Temperature of another answer to the same question: greedily it would be the same one."""


class Chat:
    """Questions and answers about recordings that can change on the way. Close it before the recognizer."""

    def __init__(
        self, recognizer: Recognizer, recordings: list[str], options: AskOptions | None = None
    ) -> None:
        self._recognizer, self._options = recognizer, options or AskOptions()
        self.recordings = list(recordings)
        """As they were given, in the order in which they are heard."""
        self._transcriber: Transcriber | None = None
        self._talk: Conversation | None = None
        self._tries = 0  # at the last question
        # Recordings and options as they were when the talk last heard something, where others are wanted.
        self._before: tuple[list[str], AskOptions] | None = None
        self.said: list[tuple[str, Answer]] = []
        """Questions and answers so far, also those that the model has forgotten."""

    def hear(self) -> float:
        """Takes in the recordings, if that has not been done, and gives their seconds. The talk goes on.
        Raises InputError and UsageError, and leaves the talk about what was heard before.
        """
        if self._talk is not None and self._talk.hears_something and self._before is None:
            return 0.0
        try:
            seconds = self._heard()
        except DEVICE_FAILURES:  # another engine may go on with what is wanted
            raise
        except BaseException:  # also an interruption
            if self._before is not None:
                self.recordings, self._options = self._before
                self._before = None
            raise
        self._before = None
        return seconds

    def add(self, recording: str) -> None:
        """Hear this one as well. Raises InputError where it cannot be opened."""
        with open_source(recording, self._options.source, self._recognizer.notice):
            pass
        self._change([*self.recordings, recording], self._options)

    def part(self, start: float, end: float | None) -> None:
        """Hear only this stretch of the recordings. Raises UsageError."""
        if end is not None and end <= start:
            raise UsageError("the end must come after the start")
        source = replace(self._options.source, start=start, end=end)
        self._change(self.recordings, replace(self._options, source=source))

    def ask(self, question: str) -> Iterator[str | Answer]:
        """The answer in pieces as it is decoded; the Answer comes last. Raises what `hear` raises."""
        if not question.strip():
            raise UsageError("the question is empty")
        self._tries = 0
        yield from self._asked(question)

    def again(self) -> Iterator[str | Answer]:
        """Another answer to the last question, in place of the one before. Raises UsageError without one."""
        if not self.said or self._talk is None:
            raise UsageError("there is no question to answer again")
        question, _ = self.said.pop()
        self._talk.drop_last()
        self._tries += 1
        yield from self._asked(question)

    def reset(self) -> None:
        """Forget what was said; the recordings stay."""
        self.said = []
        if self._talk is not None:
            self._talk.forget()

    def markdown(self) -> str:
        """The talk so far."""
        lines = ["# " + ", ".join(display_name(name) for name in self.recordings), ""]
        for question, answer in self.said:
            lines += [f"**{question.strip()}**", "", answer.text.strip(), ""]
        return "\n".join(lines)

    def close(self) -> None:
        """Free the K/V cache."""
        if self._talk is not None:
            self._talk.close()
            self._talk = None

    # -- steps --

    def _change(self, recordings: list[str], options: AskOptions) -> None:
        """Others are to be heard. What was heard stays until they are read."""
        if self._talk is not None:
            self._before = self._before or (self.recordings, self._options)
        self.recordings, self._options = recordings, options

    def _heard(self) -> float:
        """Takes in the recordings as they are wanted; their seconds."""
        shown = ", ".join(map(display_name, self.recordings))
        seconds, labelled = 0.0, list[tuple[str, Window]]()
        with ExitStack() as sources:
            for name in self.recordings:
                whole = WholeRecording(name, self._recognizer, self._options)
                source = sources.enter_context(
                    open_source(name, self._options.source, self._recognizer.notice)
                )
                for window in whole.windows(source) or ():
                    labelled.append((whole.label(window, named=len(self.recordings) > 1), window))
                if whole.failure is not None:
                    self._recognizer.notice(f"{whole.failure}; the talk is about what comes before")
                seconds += whole.seconds - source.start
        if not labelled:
            raise UsageError(f"{shown}: no speech was heard; --no-vad talks about other sounds")
        if self._talk is None:
            longest = self._options.cut.windows(self._recognizer.longest_window).max_seconds
            decode = replace(self._options.decode, max_seconds=longest)
            self._transcriber = self._recognizer.transcriber(decode)
            self._talk = self._transcriber.conversation(remember=True)
        assert self._transcriber is not None
        try:
            something = self._talk.hear(labelled)
        except TooLongError as error:
            raise TooLongError(f"{shown}: {error}") from None
        except DEVICE_FAILURES as error:
            if not moved(self._transcriber, self._talk, error):
                raise
            something = self._talk.hear(labelled)
        if not something:
            raise UsageError(f"{shown}: there is too little sound to talk about")
        return seconds

    def _asked(self, question: str) -> Iterator[str | Answer]:
        self.hear()
        assert self._talk is not None
        assert self._transcriber is not None
        warmth = _WARMER if self._tries else 0.0
        for item in answered(
            self._transcriber, self._talk, self.hear, question, temperature=warmth, seed=self._tries
        ):
            if isinstance(item, Answer):
                self.said.append((question, item))
            yield item
