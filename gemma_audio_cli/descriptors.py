"""What this process has open, and paths that stand for it: /dev/stdout, /dev/fd/3, /proc/self/fd/1.

Such a path is no file of its own. Where standard output is a file, its name leads to that file, and to open,
truncate or replace it would lose what was written before and what others write after.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT = 1

_NAMED = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/dev/fd/(\d{1,9})|/proc/(self|thread-self|\d+)(?:/task/\d+)?/fd/(\d{1,9})")
_MOST_LINKS = 40


@contextmanager
def without_stderr() -> Iterator[None]:
    """Nothing reaches this process's stderr: for a library that writes there by itself. What other threads
    write meanwhile is lost too, so keep it short.
    """
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing to keep away from
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def own_descriptor(path: str | os.PathLike[str]) -> int | None:
    """The number of the descriptor that the path stands for, also through symbolic links; None: it is a path
    like others.
    """
    path = os.fspath(path)
    for _ in range(_MOST_LINKS):
        path = os.path.abspath(path)
        if path in _NAMED:
            return _NAMED[path]
        found = _NUMBERED.fullmatch(path)
        if found:
            theirs = found[2] is not None and found[2].isdecimal() and int(found[2]) != os.getpid()
            return None if theirs else int(found[1] or found[3])
        try:
            # Only the last part is followed: the folders above must not be, since /dev/fd is itself a link.
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:
            break
    return None
