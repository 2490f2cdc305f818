"""The standard streams: what they are at the start, and what becomes of them when nobody reads."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress


def prepare_streams() -> None:
    """Output to a pipe is UTF-8 everywhere; a reader that goes away is an error of `write`, not a signal: it
    must not end a process in the middle of a file, nor because of some other connection.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _fill_gaps()
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors=errors)


def _fill_gaps() -> None:
    """Streams that were closed (`>&-`) would give their numbers to the next files that are opened, and
    libraries that print would print into those. Writing to a stdout that was closed stays an error.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            null = os.open(os.devnull, os.O_RDWR if number == 2 else os.O_RDONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def give_up_stdout() -> None:
    """What is left in the buffer goes nowhere: it must not fail once more when the program ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    with suppress(OSError):
        sys.stdout.flush()


def reader_is_gone() -> bool:
    """Is stdout a pipe that nobody will read from?"""
    import select

    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return any(event & select.POLLERR for _descriptor, event in poll.poll(0))
