"""Signals that end a recording or a live stream end it well."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def until_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, the first Ctrl-C, SIGTERM or SIGHUP calls `stop`; the next one does what it always does."""
    before: dict[int, object] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def handle(number: int, _frame: object) -> None:
        restore()
        if number == getattr(signal, "SIGHUP", None):
            # The terminal is gone: words to it would fail, and end what is to end well.
            null = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                if stream.isatty():
                    os.dup2(null, stream.fileno())
            os.close(null)
        stop()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What a shell or nohup had ignored stays ignored.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
