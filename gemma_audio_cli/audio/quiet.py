"""Keeps what C libraries say on their own away from a person's terminal.

PortAudio and ALSA report every device that they try in vain ("ALSA lib pcm.c: Unknown PCM ..."), and what
they say of a device that went away comes in the middle of a display. What matters arrives as error codes.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing reaches file descriptor 2 inside; for moments only, since other threads are silenced too."""
    try:
        saved = os.dup(2)
    except OSError:  # closed: nothing to silence
        yield
        return
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def quiet_c() -> Iterator[None]:
    """C code's `stderr` leads nowhere inside, Python's goes on; with glibc, whose `stderr` is a variable.

    For as long as a stream is open: PortAudio's own thread prints when its device goes away.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    import ctypes

    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p.in_dll(libc, "stderr")
    saved, null = stream.value, libc.fopen(os.devnull.encode(), b"w")
    if null:
        stream.value = null
    try:
        yield
    finally:
        # `null` stays open: another thread may be printing to it.
        stream.value = saved
