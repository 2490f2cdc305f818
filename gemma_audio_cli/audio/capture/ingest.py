"""The ear: takes sound as it comes, in a thread of its own, whatever the model is busy with.

blocks [n] ──► gate (push to talk) ──► kept (a file) ──► Utterances ──► SpeechQueue
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
from gemma_audio_cli.audio.segment.utterances import Event, Utterances
from gemma_audio_cli.errors import InputError
from gemma_audio_cli.sound import SAMPLE_RATE, Floats

Tap = Callable[[Floats], None]


class AudioIngest:
    """Fills a speech_queue from blocks of float32 [n], 16 kHz mono, until they end."""

    def __init__(
        self,
        blocks: Iterable[Floats],
        utterances: Utterances,
        speech_queue: SpeechQueue,
        *,
        taps: Iterable[Tap] = (),
        gate: Callable[[], bool] | None = None,
    ) -> None:
        """`taps` get every block that counts, first. `gate`: sound counts only while it answers True;
        an utterance ends where it no longer does.
        """
        self._blocks, self._utterances, self._backlog = blocks, utterances, speech_queue
        self._taps, self._gate = tuple(taps), gate
        self._open = False
        self._samples = 0
        self._lock, self._ended = threading.Lock(), False
        # A thread that waits for a silent pipe must not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True, name="hearing")

    @property
    def seconds(self) -> float:
        """Sound that counted so far."""
        return self._samples / SAMPLE_RATE

    @property
    def in_speech(self) -> bool:
        """Is someone speaking just now?"""
        return self._utterances.in_speech

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the stream; whether it came in time."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """The stream is over, though its next block may be waited for: for what cannot be ended."""
        self._over(None)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            for block in self._blocks:
                with self._lock:
                    if self._ended:
                        return
                    for event in self._heard(block):
                        self._backlog.put(event)
        except BaseException as error:  # goes to who takes from the speech_queue
            failure = error
        self._over(failure)

    def _over(self, failure: BaseException | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            try:
                if failure is None or isinstance(failure, InputError):
                    for event in self._utterances.finish():
                        self._backlog.put(event)
            except BaseException as error:
                failure = failure or error
            self._backlog.close(failure)

    def _heard(self, block: Floats) -> Iterator[Event]:
        is_open = self._gate is None or self._gate()
        if self._open and not is_open:
            yield from self._utterances.end()
        self._open = is_open
        if is_open:
            for tap in self._taps:
                tap(block)
            self._samples += len(block)
            yield from self._utterances.push(block)


def at_speaking_pace(blocks: Iterable[Floats], stopped: Callable[[], bool] | None = None) -> Iterator[Floats]:
    """Blocks of a recording as a microphone would give them: in tenths of a second, none before its time."""
    start, done = time.monotonic(), 0
    for block in blocks:
        for at in range(0, len(block), SAMPLE_RATE // 10):
            piece = block[at : at + SAMPLE_RATE // 10]
            done += len(piece)
            wait = start + done / SAMPLE_RATE - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            if stopped is not None and stopped():
                return
            yield piece
