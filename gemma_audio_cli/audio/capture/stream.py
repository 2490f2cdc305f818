"""Where live sound comes from: a microphone, a stream on standard input, or a recording in place of one.

Each has a name, gives blocks of float32 [n] (16 kHz mono) as they come, and can be stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from gemma_audio_cli.audio.capture.ingest import at_speaking_pace
from gemma_audio_cli.errors import Notice, UsageError
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from gemma_audio_cli.audio.read.source import SourceOptions

_AHEAD = 30.0
"""Seconds of speech a file may be read ahead: it waits where a stream would not."""


class LiveSource(Protocol):
    """What `live` listens to; opened by its `with`."""

    @property
    def blocking(self) -> bool:
        """Waiting for its next block cannot be ended: `stop` works when one has come."""

    @property
    def name(self) -> str:
        """As it is called in messages and output."""

    def blocks(self) -> Iterator[Floats]:
        """Float32 [n], 16 kHz mono, as it comes."""

    def stop(self) -> None:
        """No more; from any thread or signal handler."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Stream:
    """A recording (a path, or "-": standard input) as if it were said now."""

    def __init__(
        self,
        source: str,
        options: SourceOptions | None,
        notice: Notice,
        *,
        realtime: bool,
        waiting: Callable[[], float],
    ) -> None:
        """`realtime`: at speaking pace. `waiting`: seconds of speech that wait to be understood."""
        from gemma_audio_cli.audio.read.source import open_source

        self._opened = open_source(source, options, notice)
        self._realtime, self._waiting = realtime, waiting
        self._piped = source == "-"
        # Windows cannot be asked whether a pipe has something.
        self.blocking = source == "-" and os.name == "nt"
        self._stopped = False

    @property
    def name(self) -> str:
        """As it is called in messages and output."""
        return self._opened.name

    def blocks(self) -> Iterator[Floats]:
        """Float32 [n], 16 kHz mono; of a pipe as it arrives."""
        blocks = self._opened.blocks()
        if self._realtime:
            yield from at_speaking_pace(blocks, lambda: self._stopped)
            return
        for block in blocks:
            while not self._piped and self._waiting() > _AHEAD and not self._stopped:
                time.sleep(0.05)
            yield block

    def stop(self) -> None:
        """No more."""
        self._stopped = True
        self._opened.stop()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A pipe that is waited for in another thread cannot be closed under it; it ends with the process.
        if not self.blocking:
            self._opened.close()


def open_live(
    source: str | None,
    *,
    device: str | None = None,
    options: SourceOptions | None = None,
    notice: Notice,
    realtime: bool = False,
    waiting: Callable[[], float],
) -> LiveSource:
    """The microphone (`source` None; `device` names it), or a recording or standard input in its place."""
    if source is None:
        from gemma_audio_cli.audio.capture.microphone import Microphone

        return Microphone(device, notice=notice)
    if source != "-" and os.path.isdir(source):
        raise UsageError(f"{source}: this is a folder; name one recording")
    return Stream(source, options, notice, realtime=realtime, waiting=waiting)
