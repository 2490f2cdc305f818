"""How much of a measurement other processes took.

A run beside a busy neighbour says nothing: threads that wait for each other at every step of a graph lose far
more than the neighbour takes. So each run records how much processor time others used while it ran.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # idle, iowait
_GUEST = (8, 9)  # counted within user and nice as well


@dataclass(frozen=True)
class Finished:
    """One process that ran to its end."""

    stdout: str
    stderr: str
    status: int
    wall_s: float
    cpu_s: float
    others_cpu_s: float | None
    """Processor seconds that anything else used meanwhile, the hypervisor's theft included; None: unknown."""

    @property
    def others(self) -> float:
        """Cores that others kept busy, on average; 0 where it is unknown."""
        return (self.others_cpu_s or 0.0) / self.wall_s


def busy_seconds() -> float | None:
    """Processor seconds that all cores have been busy since the machine started; None where nobody counts."""
    try:
        ticks = [int(field) for field in _STAT.read_text().partition("\n")[0].split()[1:]]
    except OSError:
        return None
    return sum(t for i, t in enumerate(ticks) if i not in _IDLE + _GUEST) / os.sysconf("SC_CLK_TCK")


def run(command: Sequence[str], env: dict[str, str] | None = None) -> Finished:
    """Run a command and watch what else the machine does. Unix only."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        before, start = busy_seconds(), time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall, after = time.perf_counter() - start, busy_seconds()
        out.seek(0)
        err.seek(0)
        text, errors = (file.read().decode("utf-8", "replace") for file in (out, err))
    cpu = usage.ru_utime + usage.ru_stime
    others = None if before is None or after is None else max(0.0, after - before - cpu)
    return Finished(text, errors, process.returncode, wall, cpu, others)
