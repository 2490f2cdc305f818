"""Signals that end a recording or a live stream end it well, and leave a terminal as it was."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


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


@contextmanager
def terminal_kept() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP end the process as ever, but first give the terminal back as it is now: a
    line editor reads it key by key, and whoever kills the program would be left with that.
    """
    try:
        import termios
    except ImportError:  # Windows has no such signals either
        yield
        return
    terminal = sys.stdin.fileno()
    as_it_is = termios.tcgetattr(terminal)

    def handle(number: int, _frame: object) -> None:
        with suppress(termios.error):  # it may be gone
            termios.tcsetattr(terminal, termios.TCSANOW, as_it_is)
        with suppress(OSError):
            os.write(sys.stderr.fileno(), b"\x1b[?2004l\n")  # the editor takes pasted text in brackets
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    numbers = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
