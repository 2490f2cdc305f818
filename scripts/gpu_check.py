#!/usr/bin/env python3
"""Everything that can be said of a GPU, by one command in at most eight minutes, without a network.

    python scripts/gpu_check.py --prepare gpu-kit            # where there is one: sources and wheels, 35 MB
    scripts/gpu_check --kit gpu-kit --out found              # on the machine with an NVIDIA GPU, nvcc, CMake
    scripts/gpu_check --device CPU --installed --size tiny   # its logic, without a GPU

Builds ggml-cuda for the card and the engine, and makes a random E2B in real format beside that. Then: parity
with transformers' figures, the bundled recording, a clip and ten minutes beside llama.cpp on the same card,
live, windows together, layers on the CPU and under a memory cap, and a device that fails. Each step has its
time; one that fails is written down, and the rest goes on. OUT/report.json and OUT/table.txt have it all. A
second call with the same OUT builds and makes nothing again, and has that much more time.

It was never run on a GPU: its logic was tested with the CPU as the device.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "scripts" / "bench"), str(ROOT), str(ROOT / "tests")]

from gpu.runner import Runner, Step  # noqa: E402 - a script's own folders

LIMIT_S = 8 * 60


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="fill a folder to carry, and end")
    parser.add_argument("--python", default="3.12", help="the other machine's Python (with --prepare)")
    parser.add_argument("--kit", type=Path, metavar="FOLDER", help="what --prepare made")
    parser.add_argument("--installed", action="store_true", help="this environment's library; build none")
    parser.add_argument("--device", default="CUDA0", help="ggml's name")
    parser.add_argument("--size", choices=("e2b", "e4b", "tiny"), default="e2b")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the recording")
    parser.add_argument("--runs", type=int, default=2, help="pairs of clips")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for everything")
    parser.add_argument("--patience", type=float, default=1.0, help="steps may take so many times as long")
    parser.add_argument("--out", type=Path, default=Path("build") / "gpu")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.out = args.out.resolve()
    return args


def steps(args: argparse.Namespace, environment: dict[str, str]) -> list[Step]:
    """What is done, in order of worth: time may run out. Models are made while the compiler works."""
    words = ["--device", args.device, "--size", args.size, "--out", args.out, "--minutes", args.minutes]
    command = [sys.executable, __file__, *words, "--runs", args.runs, "--step"]

    def step(name: str, limit_s: float, *needs: str, beside: bool = False) -> Step:
        words = [str(word) for word in (*command, name)]
        return Step(name, limit_s * args.patience, words, needs, beside, environment)

    built = () if args.installed else ("build",)
    first = [step("machine", 30), step("models", 240, beside=True)]
    first += [step("build", 330, beside=True)] if built else []
    return [
        *first,
        step("devices", 30, *built),
        step("parity", 90, "devices"),
        step("transcribe", 30, "devices"),
        step("clip", 100, "devices", "models"),
        step("layers", 60, "devices", "models"),
        step("loss", 30, "devices"),
        step("recording", 100, "devices", "models"),
        step("slots", 40, "devices", "models"),
        step("live", 60, "devices", "models"),
    ]


def unpack(kit: Path, site: Path) -> None:
    """The kit's wheels, and llama-cpp-python's Python, where PYTHONPATH finds them."""
    for wheel in sorted(kit.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    for sdist in kit.glob("llama_cpp_python-*.tar.gz"):
        with tarfile.open(sdist) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if len(parts) == 3 and parts[1] == "llama_cpp" and parts[2].endswith(".py"):
                    data = tar.extractfile(member)
                    assert data is not None  # it is a file
                    (site / "llama_cpp").mkdir(parents=True, exist_ok=True)
                    (site / "llama_cpp" / parts[2]).write_bytes(data.read())


def environment(args: argparse.Namespace) -> dict[str, str]:
    """Of every step: where packages, sources and the built library are found."""
    places = [*(str(ROOT / part) for part in ("", "scripts", "scripts/bench", "tests"))]
    found = {
        "GEMMA_AUDIO_BACKENDS_DIR": str(args.out / "backends"),
        "GEMMA_AUDIO_CACHE_DIR": str(args.out / "cache"),
        "GEMMA_AUDIO_CONFIG_DIR": str(args.out / "no-config"),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONUNBUFFERED": "1",
    }
    if args.kit:
        site = args.out / "site"
        unpack(args.kit, site)
        places.append(str(site))
        found |= {
            "PIP_FIND_LINKS": str(args.kit.resolve()), "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0",
        }  # fmt: skip
    places += filter(None, [os.environ.get("PYTHONPATH")])
    return found | {"PYTHONPATH": os.pathsep.join(places)}


def use_build(folder: Path) -> None:
    """Load what was built in this process and in those that it starts, in place of what is installed.

    The dynamic linker reads its variable when a process begins, so the process begins anew.
    """
    from gemma_audio_cli.backends import store

    os.environ["GEMMA_AUDIO_BACKENDS_DIR"] = str(folder)
    if os.environ.get("GEMMA_AUDIO_LIBRARY") or (found := store.find("cuda")) is None:
        return
    libraries = str(found.prefix / "llama_cpp" / "lib")
    os.environ |= dict.fromkeys(("LLAMA_CPP_LIB_PATH", "LD_LIBRARY_PATH"), libraries)
    os.environ["GEMMA_AUDIO_LIBRARY"] = str(found.library)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def one_step(args: argparse.Namespace) -> int:
    """A step in this process; its last line is what it found."""
    from gpu.checks import CHECKS, Setting

    backends = args.out / "backends"
    use_build(backends)
    models = args.out / "models"
    models.mkdir(parents=True, exist_ok=True)
    setting = Setting(args.device, args.size, models, backends, args.minutes, args.runs)
    print(json.dumps(CHECKS[args.step](setting)))
    return 0


def table(report: dict[str, Any]) -> str:
    """A line for each step, with its main figures."""
    lines = []
    for name, step in report["steps"].items():
        found = step.get("found") or {}
        if not step["ok"]:
            told = step["error"]
        elif name == "clip":
            told = ", ".join(f"{stage} {ratio:.2f}" for stage, ratio in found["ratios"].items())
            told = f"llama.cpp's seconds in ours: {told}; cosine {found['cosine']:.6f}"
        elif name == "parity":
            told = f"{len(found['figures'])} figures within their bounds"
        else:
            kept = {key: value for key, value in found.items() if not isinstance(value, list)}
            told = ", ".join(f"{key} {value}" for key, value in kept.items())
        how = "ok" if step["ok"] else "FAILED"
        lines.append(f"{name:11} {how:7} {step.get('seconds', 0):6.1f} s  {told}")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.step:
        return one_step(args)
    if args.prepare:
        from gpu import carry
        from real_files.source import SourceError

        try:
            carry.prepare(args.prepare, args.python)
        except SourceError as error:
            say(f"gpu_check: {error}")
            return 1
        return 0
    runner = Runner(args.out, args.limit, say)
    runner.note("device", args.device)
    runner.note("size", args.size)
    report = runner.run(steps(args, environment(args)))
    text = table(report)
    (args.out / "table.txt").write_text(text + "\n")
    print(text)
    return 0 if all(step["ok"] for step in report["steps"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
