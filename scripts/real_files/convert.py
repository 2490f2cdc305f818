"""llama.cpp's converter, as its sources have it, in a process of its own.

checkpoint folder ──► convert_hf_to_gguf.py ──► text model and projector (f32, f16, bf16, q8_0)
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .source import LlamaSource, SourceError


def pair(
    source: LlamaSource, checkpoint: Path, out: Path, name: str, kind: str, *options: str
) -> tuple[Path, Path]:
    """Convert to `out/NAME.gguf` and `out/mmproj-NAME.gguf`; files that are there stay.

    options: for the text model, `--fuse-qkv`. Raises SourceError.
    """
    text, mmproj = out / f"{name}.gguf", out / f"mmproj-{name}.gguf"
    for target, more in ((text, options), (mmproj, ("--mmproj",))):
        if not target.is_file():
            convert(source, checkpoint, target, kind, *more)
    return text, mmproj


def convert(source: LlamaSource, checkpoint: Path, target: Path, kind: str, *options: str) -> None:
    """One run of the converter; the file appears only when it is whole. Raises SourceError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"part-{target.name}")
    command = [sys.executable, str(source.converter), str(checkpoint), "--outtype", kind, "--outfile"]
    environment = os.environ | {"PYTHONPATH": str(source.gguf_package), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, str(partial), *options], capture_output=True, text=True, env=environment)
    # It may put "mmproj-" before the name.
    made = [path for path in (partial, partial.with_name(f"mmproj-{partial.name}")) if path.is_file()]
    if done.returncode or not made:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SourceError(f"{checkpoint}: the converter fails: {last}")
    made[0].rename(target)
