"""One step of a build: a program whose output goes to a log and is watched as it comes.

Ends with this process's interest in it: whatever interrupts the watching ends the program and its children.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

OnCount = Callable[[int, int], None]
"""Told (done, all) as ninja counts them."""

_COUNT = re.compile(r"\[(\d+)/(\d+)\]")


def run_logged(
    command: Sequence[str], log: IO[str], environment: Mapping[str, str], on_count: OnCount
) -> bool:
    """Run the command to its end; whether it succeeded."""
    log.write(f"\n$ {' '.join(command)}\n")
    log.flush()
    flags = int(getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0))  # Windows
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # so that a Ctrl-C reaches it through us only, with all its children
        creationflags=flags,
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            log.write(line)
            log.flush()
            if found := _COUNT.search(line[:80]):
                on_count(int(found[1]), int(found[2]))
        return child.wait() == 0
    finally:
        if child.poll() is None:
            _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """End a program and all that it started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True)
    else:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=3)
    child.wait()
