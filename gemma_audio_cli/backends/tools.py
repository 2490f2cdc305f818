"""The machine as the detectors see it: programs that answer, files, environment, packages.

Detectors take a `Machine`, so that tests give them what was recorded elsewhere.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 5.0
"""A tool that says nothing for so long hangs on a broken driver."""


@dataclass(frozen=True)
class Machine:
    """This machine."""

    system: str = sys.platform

    def run(self, *command: str) -> str | None:
        """What a program prints on stdout; None where it is not there, fails or hangs."""
        program = self.which(command[0])
        if program is None:
            return None
        try:
            done = subprocess.run(
                [program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

    def which(self, *programs: str) -> str | None:
        """The first of the programs that is on PATH."""
        return next((found for name in programs if (found := shutil.which(name))), None)

    def read(self, path: str) -> str | None:
        """A text file; None where it cannot be read."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def first_file(self, *patterns: str) -> str | None:
        """The first file that one of the patterns matches; $NAME is the environment's."""
        for pattern in patterns:
            expanded = os.path.expandvars(pattern)
            if "$" not in expanded and (found := sorted(glob.glob(expanded))):
                return found[0]
        return None

    def environment(self, name: str) -> str | None:
        """A variable that is set and not empty."""
        return os.environ.get(name) or None

    def package(self, name: str) -> str | None:
        """The version of an installed Python package, which is not imported."""
        from importlib import metadata

        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None
