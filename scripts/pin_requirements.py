#!/usr/bin/env python3
"""Write requirements/*.txt anew: every package that an installation takes, with its release and hashes.

    pip install uv                                  # in any environment
    python scripts/pin_requirements.py              # keeps the releases, as far as pyproject.toml allows
    python scripts/pin_requirements.py --upgrade    # takes the newest

The files serve all systems and Python 3.10 and later. What is asked for stands in pyproject.toml and in
requirements/wheel.in; then run the tests. uv takes the index that UV_INDEX_URL or its own settings name, else
the usual one.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
LLAMA = "llama-cpp-python"
TORCH = "torch"
"""Not pinned with hashes: its CPU builds, which are wanted where pip finds them, are no files of PyPI."""


@dataclass(frozen=True)
class Pins:
    """One file: what is asked for, and what it is for."""

    name: str
    purpose: str
    wanted: list[str]
    without: tuple[str, ...] = ()
    """Left out of the file; what they need stays."""
    like: str | None = None
    """A file whose releases this one takes too."""
    alone: bool = False
    """Without what it needs."""


def plan() -> list[Pins]:
    """All files, each after those it refers to."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = project["project"]["dependencies"]
    extras = project["project"]["optional-dependencies"]
    build = [*project["build-system"]["requires"], "pip", "cmake>=3.21", "ninja"]
    tools = [
        line
        for line in (FOLDER / "wheel.in").read_text(encoding="utf-8").splitlines()
        if line.partition("#")[0].strip()
    ]

    def but(requirements: list[str], *names: str) -> list[str]:
        return [r for r in requirements if name_of(r) not in names]

    hugging = but(extras["parity"], TORCH)
    llama = [r for r in run if name_of(r) == LLAMA]
    return [
        Pins("base", "what the program needs where it is built here, but llama-cpp-python", run, (LLAMA,)),
        Pins("llama", "the sources of ggml and libllama", llama, alone=True),
        Pins("build", "what compiles llama-cpp-python and the engine", but(build, LLAMA), like="base"),
        Pins("image", "what the wheel needs, which holds ggml and libllama", but(run, LLAMA), like="base"),
        Pins("test", "base, and what the tests need", run + extras["test"], (LLAMA,), like="base"),
        Pins("parity", "what comparisons with transformers need besides", hugging, like="test"),
        Pins("wheel", "what builds and finishes a wheel", tools, like="base"),
    ]  # fmt: skip


def name_of(requirement: str) -> str:
    """The package's name as indexes write it."""
    found = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def pin(uv: str, pins: Pins, upgrade: bool) -> None:
    target = FOLDER / f"{pins.name}.txt"
    command = [
        uv, "pip", "compile", "-", "--quiet", "--universal", "--python-version", "3.10", "--generate-hashes",
        "--no-annotate", "--no-header", "--output-file", str(target),
        *(word for package in pins.without for word in ("--no-emit-package", package)),
        *(("--no-deps",) if pins.alone else ()),
        *(("--constraint", str(FOLDER / f"{pins.like}.txt")) if pins.like else ()),
        *(("--upgrade",) if upgrade else ()),
    ]  # fmt: skip
    subprocess.run(
        command, input="\n".join(pins.wanted), text=True, check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    lines = target.read_text(encoding="utf-8").splitlines()
    body = [line for line in lines if not line.startswith("#")]
    head = f"# For {pins.purpose}.\n# Made by scripts/pin_requirements.py: do not edit.\n"
    target.write_text(head + "\n".join(body) + "\n", encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {sum('==' in line for line in body)} packages")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases")
    options = parser.parse_args()
    uv = shutil.which("uv")
    if uv is None:
        print("uv is missing: pip install uv", file=sys.stderr)
        return 1
    for pins in plan():
        pin(uv, pins, options.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
