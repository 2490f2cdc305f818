"""The pairs of files that are measured: random weights of a model's true size, in the format of real files.

    make_random_model.py ──► E2B-bf16.gguf ──libllama's quantiser──► e2b-q4_k_m.gguf     kept in a folder
                        └──► mmproj-e2b-bf16.gguf

Speed does not depend on what the weights say, but on their types. The quantiser deals those out as it does
for files that people download: the output matrix and the tables in Q6_K, some matrices of K files in a finer
type. The bfloat16 file (9.3 GB for E2B) goes when all types that were asked for are there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
PLAIN = ("f32", "f16", "bf16", "q8_0")
"""Types that the converter writes itself: no quantiser is needed."""
QUANTISED = (
    "q4_0", "q4_1", "q5_0", "q5_1", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "iq4_nl",
    "iq4_xs",
)  # fmt: skip
TEXT_TYPES = (*QUANTISED, *PLAIN)


def text_path(folder: Path, size: str, kind: str) -> Path:
    return folder / f"{size}-{kind}.gguf"


def mmproj_path(folder: Path, size: str, kind: str) -> Path:
    return folder / f"mmproj-{size}-{kind}.gguf"


def make(folder: Path, size: str, text_types: Sequence[str], mmproj_type: str) -> None:
    """Make those that are not there yet. No half-written file takes a name."""
    folder.mkdir(parents=True, exist_ok=True)
    mmproj = mmproj_path(folder, size, mmproj_type)
    missing = [kind for kind in text_types if not text_path(folder, size, kind).exists()]
    plain = [kind for kind in missing if kind in PLAIN]
    wide = text_path(folder, size, "bf16")
    borrowed = bool(set(missing) - set(PLAIN)) and not wide.exists() and "bf16" not in plain
    sources = [*plain, *(["bf16"] if borrowed else [])]
    if not sources and not mmproj.exists():
        sources = ["bf16"]  # the script writes pairs
        borrowed = not wide.exists()
    for kind in sources:
        _random(folder, size, kind, mmproj_type)
    for kind in missing:
        if kind not in PLAIN:
            _quantise(wide, text_path(folder, size, kind), kind)
    if borrowed:
        wide.unlink()


def _random(folder: Path, size: str, kind: str, mmproj_type: str) -> None:
    print(f"making {size}-{kind}.gguf and mmproj-{size}-{mmproj_type}.gguf", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        command = [sys.executable, SCRIPTS / "make_random_model.py", "--size", size, "--out", fresh]
        types = ["--text-type", kind, "--mmproj-type", mmproj_type]
        subprocess.run([*command, *types], check=True, stdout=sys.stderr)
        for path in sorted(Path(fresh).iterdir()):
            os.replace(path, folder / path.name)


def _quantise(source: Path, target: Path, kind: str) -> None:
    """By libllama, in a process of its own: it keeps its memory."""
    print(f"quantising {target.name}", file=sys.stderr)
    partial = target.with_name(target.name + ".part")
    code = "import sys; from oracles.quantise import quantise; print(quantise(*sys.argv[1:4], threads=0))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS.parent / "tests", SCRIPTS)))}
    command = [sys.executable, "-c", code, source, partial, kind.upper()]
    try:
        subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
