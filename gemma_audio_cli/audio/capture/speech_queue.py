"""What was heard and is not understood yet: in memory while it is little, on disk where it grows.

    AudioIngest (its own thread) ──put──► SpeechQueue ──take──► Listener

Nothing is ever dropped: a machine slower than the speech only gets further behind.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from gemma_audio_cli.audio.segment.utterances import End, Event, Speech
from gemma_audio_cli.sound import SAMPLE_RATE, Floats

_IN_MEMORY = 60.0
"""Seconds of speech."""
_AT_ONCE = 5.0
"""Seconds of speech that one `take` gives at most: more would keep everything else waiting."""


_SPOOLED: Floats = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Taken:
    """An event, and when its last sound arrived (time.monotonic)."""

    event: Event
    arrived: float


@dataclass(frozen=True)
class _Entry:
    """An end, or speech of `count` samples, which are in the spool if they are _SPOOLED."""

    event: Event
    count: int
    arrived: float


class _Spool:
    """Samples in a temporary file, first in, first out."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._end = self._begin = 0

    def put(self, samples: Floats) -> None:
        """Raises OSError where the disk does not take them; nothing has changed then."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="gemma-audio-", buffering=0)  # noqa: SIM115
        data = samples.astype(np.float32).tobytes()
        self._file.seek(self._end)
        done = 0
        while done < len(data):
            done += self._file.write(data[done:])
        self._end += done

    def take(self, count: int) -> Floats:
        assert self._file is not None
        self._file.seek(self._begin)
        data = self._file.read(4 * count)
        self._begin += len(data)
        if self._begin >= self._end:
            self._begin = self._end = 0
            self._file.truncate(0)
        return np.frombuffer(data, dtype=np.float32)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class SpeechQueue:
    """Events, first in, first out; one thread puts, another takes."""

    def __init__(self, in_memory: float = _IN_MEMORY) -> None:
        """`in_memory`: seconds of speech from which on more goes to disk."""
        self._in_memory = round(in_memory * SAMPLE_RATE)
        self._entries: deque[_Entry] = deque()
        self._spool = _Spool()
        self._changed = threading.Condition()
        self._held = self._spooled = self._ends = 0
        self._closed = False
        self._failure: BaseException | None = None
        self.longest = 0.0
        """Seconds of speech that have waited at one time, at most."""

    @property
    def seconds(self) -> float:
        """Speech that waits."""
        return (self._held + self._spooled) / SAMPLE_RATE

    @property
    def ends(self) -> int:
        """Utterances that are over and wait."""
        return self._ends

    def put(self, event: Event) -> None:
        """One more; never waits for who takes."""
        with self._changed:
            if isinstance(event, End):
                self._ends += 1
                self._entries.append(_Entry(event, 0, time.monotonic()))
            else:
                self._entries.append(self._kept(event))
                self.longest = max(self.longest, self.seconds)
            self._changed.notify()

    def close(self, failure: BaseException | None = None) -> None:
        """Nothing more comes; `failure` is raised when all there is has been taken."""
        with self._changed:
            self._closed, self._failure = True, failure
            self._changed.notify()

    def take(self, timeout: float) -> Taken | None:
        """What came first: speech up to the end of its utterance, at most some seconds of it, or an end. None
        where nothing came in time. Raises EOFError when all is taken, or what ended the stream.
        """
        with self._changed:
            if not self._entries and not self._closed:
                self._changed.wait(timeout)
            if not self._entries:
                if not self._closed:
                    return None
                raise self._failure or EOFError
            entry = self._entries.popleft()
            if isinstance(entry.event, End):
                self._ends -= 1
                return Taken(entry.event, entry.arrived)
            parts, count = [self._samples(entry)], entry.count
            while self._entries and self._entries[0].count and count < _AT_ONCE * SAMPLE_RATE:
                entry = self._entries.popleft()
                parts.append(self._samples(entry))
                count += entry.count
            assert isinstance(entry.event, Speech)
            return Taken(Speech(np.concatenate(parts), entry.event.end), entry.arrived)

    def dispose(self) -> None:
        """Forget all of it, and its file."""
        with self._changed:
            self._entries.clear()
            self._spool.close()

    def _kept(self, speech: Speech) -> _Entry:
        """Speech in memory or, where that holds enough, on disk."""
        count, now = len(speech.samples), time.monotonic()
        if self._held + count > self._in_memory:
            try:
                self._spool.put(speech.samples)
                self._spooled += count
                return _Entry(replace(speech, samples=_SPOOLED), count, now)
            except OSError:
                pass  # a full disk: memory has to do
        self._held += count
        return _Entry(speech, count, now)

    def _samples(self, entry: _Entry) -> Floats:
        assert isinstance(entry.event, Speech)
        if entry.event.samples is not _SPOOLED:
            self._held -= entry.count
            return entry.event.samples
        self._spooled -= entry.count
        return self._spool.take(entry.count)
