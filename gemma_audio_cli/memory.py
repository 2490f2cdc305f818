"""How much main memory there is for a model: of this machine, or of the container this runs in.

    memory() ──► Memory(total, available), bytes

Everything that speaks of memory asks here: `doctor`, `backends`, `models list`, and the choice of a model.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""A container's limit and what it uses, in both versions of Linux's control groups."""


class Memory(NamedTuple):
    """Bytes; None where nobody tells."""

    total: int | None
    available: int | None


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def memory(read: Callable[[str], str | None] = _text) -> Memory:
    """The machine's memory, within a container the part that it may have. `read` gives the text of a file,
    None where it is not there.
    """
    total, available = _meminfo(read("/proc/meminfo") or "")
    if total is None:
        total, available = _installed()
    for limit_path, used_path in _CGROUPS:
        limit, used = _number(read(limit_path)), _number(read(used_path))
        if limit is not None and (total is None or limit < total):
            total = limit
            left = None if used is None else max(0, limit - used)
            available = min((size for size in (available, left) if size is not None), default=None)
    return Memory(total, available)


def _number(text: str | None) -> int | None:
    """ "max" is no number: there is no limit."""
    return int(text) if text is not None and text.strip().isdecimal() else None


def _meminfo(text: str) -> Memory:
    values = {key: int(kib) * 1024 for key, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, flags=re.M)}
    return Memory(values.get("MemTotal"), values.get("MemAvailable"))


if sys.platform == "win32":

    def _installed() -> Memory:
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
            ]

        status = Status(length=ctypes.sizeof(Status))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return Memory(None, None)
        return Memory(int(status.total), int(status.free))
else:

    def _installed() -> Memory:
        with suppress(OSError, ValueError):
            return Memory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None)
        return Memory(None, None)
