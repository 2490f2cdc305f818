"""Live: utterances become text while they are spoken.

    SpeechQueue ──► Speech: encode and prefill at once ──► now and then a Partial
            ──► End: the last frames, decode ──► Final

Everything that was heard is encoded before anything else is done, so a machine that is slower than the speech
gives partials less often, then none, and finals still. The final text is that of `Transcriber.transcribe` on
the same samples; an answer that went wrong goes to it to be tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

import numpy as np

from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
from gemma_audio_cli.audio.segment.utterances import End, Speech
from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.context import Hints
from gemma_audio_cli.decoding.echo import EchoCheck
from gemma_audio_cli.decoding.transcriber import Transcriber
from gemma_audio_cli.errors import DEVICE_FAILURES
from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.transcript import FLAG_NO_SPEECH, Final, Partial, Segment

T = TypeVar("T")
Finals = Callable[[Final, Floats], Sequence[Final]]
"""An utterance and its samples to what is told of it."""


_SHARE = 1.5
"""From the start of one partial text to the next: so many times what it takes. The rest of the time the
processors rest; where there is no rest, partial texts are the first to give way."""
_LONGEST_WAIT = 1.8
"""Seconds between partial texts that this leads to, at most."""


@dataclass(frozen=True)
class ListenOptions:
    """How a stream is heard. Seconds."""

    answer: bool = False
    """The instruction is a question about each utterance."""
    partials: bool = True
    interval: float = 0.7
    """From one partial text to the next, at least; more where one takes long: see `_SHARE`."""
    longest_partial: float = 0.6
    """Decoding a partial text ends after so long, and the next one goes on from there."""
    most_behind: float = 1.0
    """No partial text while more speech than this waits to be heard."""
    silence_peak: float = 1e-4
    """An utterance that never gets louder (of full scale) is none."""


def _as_it_is(final: Final, _samples: Floats) -> Sequence[Final]:
    return (final,)


class Listener:
    """Hears one stream with one engine."""

    def __init__(
        self,
        transcriber: Transcriber,
        instruction: str,
        options: ListenOptions | None = None,
        *,
        hints: Hints | None = None,
        finals: Finals = _as_it_is,
    ) -> None:
        """`hints`: what the instruction says may occur; it counts where it is no question. `finals`: what
        becomes of an utterance when it is over.
        """
        self._finals = finals
        self._transcriber, self._instruction = transcriber, instruction
        self._options = options or ListenOptions()
        self._incremental = transcriber.incremental(instruction, answer=self._options.answer)
        self._echo: EchoCheck | None = None
        if hints is not None and not self._options.answer:
            self._echo = transcriber.echo_check(instruction, hints)
        self._given: list[Floats] = []
        self._end = 0
        self._arrived = self._due = 0.0
        self._shown, self._fresh = "", False

    def close(self) -> None:
        """Free the K/V caches."""
        self._incremental.close()
        if self._echo is not None:
            self._echo.close()

    def listen(self, speech_queue: SpeechQueue) -> Iterator[Partial | Final]:
        """What is said, until the stream is over. Raises what ended it, unless that was its end."""
        while True:
            try:
                taken = speech_queue.take(self._patience())
            except EOFError:
                return
            if taken is not None:
                if isinstance(taken.event, End):
                    final, samples, rest = self._surely(partial(self._final, taken.event))
                    if len(rest):
                        self._surely(partial(self._hear, Speech(rest, self._end), self._arrived))
                    yield from self._finals(final, samples)
                else:
                    self._surely(partial(self._hear, taken.event, taken.arrived))
            if self._is_due(speech_queue):
                shown = self._surely(partial(self._partial, speech_queue))
                if shown is not None:
                    yield shown

    # -- steps --

    def _surely(self, step: Callable[[], T]) -> T:
        """Does the step; where the device fails, with another engine that gets the utterance again."""
        try:
            return step()
        except DEVICE_FAILURES as error:
            if self._transcriber.replace_engine(error) is None:
                raise
        self._incremental = self._transcriber.incremental(self._instruction, answer=self._options.answer)
        for samples in self._given:
            self._incremental.push(samples)
        return step()

    def _hear(self, speech: Speech, arrived: float) -> None:
        if not self._given:
            # What has been said for a while already is shown the sooner.
            self._due = time.monotonic() + self._options.interval - len(speech.samples) / SAMPLE_RATE
        self._incremental.push(speech.samples)
        self._given.append(speech.samples)
        self._end, self._arrived, self._fresh = speech.end, arrived, True

    def _patience(self) -> float:
        """Seconds to wait for more sound before a partial text is due."""
        left = self._due - time.monotonic()
        return min(0.5, max(0.0, left)) if self._fresh and self._options.partials else 0.5

    def _is_due(self, speech_queue: SpeechQueue) -> bool:
        o = self._options
        return (
            o.partials
            and self._fresh
            and not speech_queue.ends
            and speech_queue.seconds < o.most_behind
            and time.monotonic() >= self._due
        )

    def _partial(self, speech_queue: SpeechQueue) -> Partial | None:
        start, self._fresh = time.monotonic(), False
        until = start + self._options.longest_partial
        heard = self._incremental.partial(lambda: speech_queue.ends > 0 or time.monotonic() > until)
        took = time.monotonic() - start
        self._due = start + max(self._options.interval, min(_SHARE * took, _LONGEST_WAIT))
        if speech_queue.ends or not heard.text:
            return None  # the final text comes next
        stable = agreed(self._shown, heard.text)
        self._shown = heard.text
        begin = (self._end - sum(map(len, self._given))) / SAMPLE_RATE
        delay = time.monotonic() - self._arrived
        return Partial(begin, self._end / SAMPLE_RATE, heard.text, stable, delay)

    def _final(self, end: End) -> tuple[Final, Floats, Floats]:
        """The utterance, its samples, and what was given beyond it: the beginning of the next one."""
        known = time.monotonic()
        given = np.concatenate(self._given)
        window = Window(end.start, given[: end.samples])
        rest = given[len(given) - end.rest :]
        if len(window.samples) < len(given):
            self._incremental.replace_audio(window.samples)
        segment = self._segment(window)
        self._given, self._shown, self._fresh = [], "", False
        now = time.monotonic()
        about = {field.name: getattr(segment, field.name) for field in fields(segment)}
        return Final(**about, delay=now - self._arrived, work=now - known), window.samples, rest

    def _segment(self, window: Window) -> Segment:
        if window.peak < self._options.silence_peak:
            self._incremental.reset()
            return Segment(window.start, window.end, "", flags=(FLAG_NO_SPEECH,))
        reply = self._incremental.finish(keep=True)
        segment = self._transcriber.segment(
            window,
            reply,
            self._incremental.decoder,
            again=not self._options.answer,
            check=self._echo.checked if self._echo is not None else None,
        )
        self._incremental.reset()
        return segment


def agreed(before: str, now: str) -> int:
    """Characters of `now` that are whole words of `before` too, from the beginning on.

    Words that two texts in a row agree on seldom change (LocalAgreement: Liu et al. 2020, Low-latency
    sequence-to-sequence speech recognition).
    """
    old, new = before.split(" "), now.split(" ")
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    return len(" ".join(new[:same]))
