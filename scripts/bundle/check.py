"""Whether an installed wheel does its job: hears the bundled recording, from its own libraries.

Meant for an environment that has the wheel and nothing else; the checkout around it is not used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

# Runs in a folder of its own and without the checkout on the path (-I).
_JOB = r"""
import pathlib, sys
import gemma_audio_cli
from gemma_audio_cli import Engine, ask, transcribe
from gemma_audio_cli.decoding import shape
from gemma_audio_cli.engine.devices import devices

package = pathlib.Path(gemma_audio_cli.__file__).parent
sample = package / "demo" / "sample.wav"
said = " ".join(segment.text for segment in transcribe(sample))
wanted = " ".join((package / "demo" / "sample.txt").read_text(encoding="utf-8").split())
print(f"heard: {said}")
print("asked:", ask("How many digits are spoken?", sample).text)
print("schema:", shape.from_schema('{"type": "boolean"}').grammar.count("::="), "rules")
print("devices:", ", ".join(f"{device.name} ({device.description})" for device in devices()))
maps = pathlib.Path("/proc/self/maps")
if maps.exists():
    libraries = {line.split()[-1] for line in maps.read_text().splitlines() if ".so" in line}
    ours = sorted(path for path in libraries if "ggml" in path or "llama" in path or "gomp" in path)
    print("loaded:", " ".join(pathlib.Path(path).name for path in ours))
    strangers = [path for path in ours if package.parent not in pathlib.Path(path).parents]
    if strangers:
        sys.exit(f"not the package's own: {strangers}")
if said != wanted:
    sys.exit(f"{wanted!r} was expected")
"""


def check() -> int:
    """The exit code: 0 where all is well."""
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in os.environ if not name.startswith("GEMMA_AUDIO_")]
        command = [sys.executable, "-I", "-c", _JOB]
        return subprocess.run(command, cwd=folder, env={name: os.environ[name] for name in names}).returncode
