"""How long recordings are, by their headers' word: looked up in a thread beside other work.

    with Lengths(paths, options, found):      found("talk.mp3", 3600.0), found("b.wav", 12.5), ...
        ...

Nothing waits for it, and it takes at most half of a processor. Only regular files are opened: what a pipe
gave would be missing from what is heard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from gemma_audio_cli.addresses import local_path
from gemma_audio_cli.audio.read.source import SourceOptions, open_source
from gemma_audio_cli.errors import InputError

_PATIENCE = 2.0
"""Seconds that the thread is waited for at the end; it may be within a library."""


def length(path: str, options: SourceOptions | None = None) -> float | None:
    """Seconds of the wanted part of a regular file, by its header's word. None where that is not known, also
    of a file that cannot be read: who reads it tells why.
    """
    try:
        if path == "-" or not Path(local_path(path)).is_file():
            return None
        with open_source(path, options) as source:
            return source.duration
    except (InputError, OSError, ValueError):
        return None


class Lengths:
    """Tells the lengths of recordings, in their order, as they become known."""

    def __init__(
        self,
        recordings: Iterable[str],
        options: SourceOptions | None,
        found: Callable[[str, float], object],
        measure: Callable[[str, SourceOptions | None], float | None] = length,
    ) -> None:
        """`found` gets a recording and its seconds, in another thread."""
        self._recordings, self._options = recordings, options
        self._found, self._measure = found, measure
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="lengths")

    def __enter__(self) -> Lengths:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        for recording in self._recordings:
            begun = time.monotonic()
            seconds = self._measure(recording, self._options)
            if self._over.is_set():
                return
            if seconds is not None:
                self._found(recording, seconds)
            if self._over.wait(time.monotonic() - begun):
                return
