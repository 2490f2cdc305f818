"""Each module imports what it needs: no order of imports is a condition."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each module in a fork of a Python that has imported nothing of the package; only what takes long.
_RUN = r"""
import os, pkgutil, sys, traceback
from pathlib import Path
import cffi, importlib.metadata, jinja2, numpy, soundfile, soxr, typer

root = Path(sys.argv[1])
paths = sorted((root / "gemma_audio_cli").rglob("*.py"))
assert len(paths) > 100
for path in paths:
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    pid = os.fork()
    if pid == 0:
        try:
            __import__(name)
        except BaseException:
            print(name, traceback.format_exc().splitlines()[-1], flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_every_module_can_be_the_first():
    command = [sys.executable, "-c", _RUN, str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
