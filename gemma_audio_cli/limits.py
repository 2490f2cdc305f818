"""What a process looks like that the system gives no more memory or threads."""

from __future__ import annotations

import errno
import sys

EXIT_CODE = 3

_LOADING = (
    "cannot allocate memory",
    "failed to map segment",
    "cannot create shared object",
    "cannot allocate",
)
"""What the loader says where a library does not fit into the address space."""


_LEAST_ADDRESSES = 160 << 20
"""Bytes of address space: with less, libraries (numpy's OpenBLAS) end the process while they are loaded."""


def too_small() -> str | None:
    """One line where this process is not given the address space that its libraries need; None: it is."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return (
        None if limit == resource.RLIM_INFINITY or limit >= _LEAST_ADDRESSES else _line("memory", "ulimit -v")
    )


def describe(error: BaseException | None) -> str | None:
    """One line about a lack of memory or threads that this exception, or what led to it, tells of.

    None where it is about something else.
    """
    seen = 0
    while error is not None and seen < 20:  # causes may go round in a circle
        if isinstance(error, MemoryError):
            return _line("memory", "ulimit -v")
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            return _line("threads", "ulimit -u, ulimit -v")
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return _line("memory", "ulimit -v")
        if isinstance(error, (ImportError, OSError)) and any(text in str(error).lower() for text in _LOADING):
            return _line("memory", "ulimit -v")
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def _line(what: str, limit: str) -> str:
    return f"the system gives this process no more {what}; raise its limit ({limit}), or close other programs"
