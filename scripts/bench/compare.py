#!/usr/bin/env python3
"""This engine beside llama.cpp: same files, same sound, same threads, stage by stage.

    python scripts/bench/compare.py                           # E2B, Q4_0 text and BF16 mmproj, a 30 s clip
    python scripts/bench/compare.py --size e4b --runs 3
    python scripts/bench/compare.py --text-type q8_0 --mmproj-type f16
    python scripts/bench/compare.py --recording 10            # 10 minutes, end to end
    python scripts/bench/compare.py --recording 10 --against server     # needs xllamacpp

Random weights of a model's true size are made once and kept in --models: speed does not depend on what the
weights say. The two engines run in turn, each time in a process of its own, --runs times. A run beside which
other processes used more than --quiet cores is dropped, with its partner, and made again. Before anything
is timed, llama.cpp must be proved to run on this processor, and both engines must agree on the logits after
the prompt. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import figures  # noqa: E402 - a script's own folder
import quiet  # noqa: E402

MAKE = HERE.parent / "make_random_model.py"
PROVE = HERE.parent / "prove_ggml.py"
CLIP_STAGES = ("load", "mel", "encode", "audio_prefill", "text_prefill", "decode", "total", "peak_rss")
RECORDING_STAGES = ("load", "recording", "peak_rss")
AGREE = 0.9995
"""Least cosine of the last logits; what quantised products of two engines leave."""
NAMES = {"llamacpp": "llama.cpp", "server": "llama.cpp server"}


def model(args: argparse.Namespace) -> tuple[Path, Path]:
    """The pair of files: those named, or random ones, made where they are not there yet."""
    if args.pair:
        return tuple(args.pair)  # type: ignore[return-value]
    args.models.mkdir(parents=True, exist_ok=True)
    text = args.models / f"{args.size}-{args.text_type}.gguf"
    mmproj = args.models / f"mmproj-{args.size}-{args.mmproj_type}.gguf"
    if not (text.exists() and mmproj.exists()):
        print(f"making {text.name} and {mmproj.name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=args.models) as folder:  # no half-written file takes the name
            types = ["--text-type", args.text_type, "--mmproj-type", args.mmproj_type]
            subprocess.run(
                [sys.executable, MAKE, "--size", args.size, *types, "--out", folder],
                check=True,
                stdout=sys.stderr,
            )
            for path in (text, mmproj):
                os.replace(Path(folder) / path.name, path)
    return text, mmproj


def warm(*paths: Path) -> None:
    """Read the files once, so that every run finds them in the page cache."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


class Bench:
    """Runs contestants on one pair of files."""

    def __init__(self, args: argparse.Namespace, pair: tuple[Path, Path]) -> None:
        self._args, self._pair = args, pair
        self.dropped = 0
        self.loudest = 0.0
        """Cores others used beside the loudest run that counts."""

    def run(self, engine: str, job: str, *options: object) -> tuple[figures.Run, quiet.Finished]:
        """One process; ends the benchmark where that fails."""
        args = self._args
        command = [sys.executable, HERE / "contestant.py", engine, job, *self._pair]
        for name in ("threads", "seconds", "new_tokens", "slots"):
            command += ["--" + name.replace("_", "-"), getattr(args, name)]
        done = quiet.run([str(part) for part in (*command, *options)])
        if done.status:
            raise SystemExit(f"{engine} failed with status {done.status}:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1]), done

    def agreement(self, other: str) -> float:
        """Cosine of the two engines' logits after the same prompt."""
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            logits = []
            for engine in ("ours", other):
                path = Path(folder) / f"{engine}.npy"
                self.run(engine, "clip", "--logits", path, "--new-tokens", 1)
                logits.append(np.load(path).astype(np.float64))
        a, b = logits
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    def pairs(self, other: str, job: str, *options: object) -> list[tuple[figures.Run, figures.Run]]:
        """Interleaved runs of both, first the one and then the other first."""
        pairs: list[tuple[figures.Run, figures.Run]] = []
        while len(pairs) < self._args.runs:
            order = ("ours", other) if len(pairs) % 2 == 0 else (other, "ours")
            results, loud = {}, 0.0
            for engine in order:
                results[engine], done = self.run(engine, job, *options)
                loud = max(loud, done.others)
                print(f"{engine}: {done.wall_s:.1f} s, others {done.others:.2f} cores", file=sys.stderr)
            if loud > self._args.quiet:
                self.dropped += 1
                if self.dropped > 3 * self._args.runs:
                    raise SystemExit(
                        "the machine is never quiet; stop what runs beside this, or raise --quiet"
                    )
                continue
            self.loudest = max(self.loudest, loud)
            pairs.append((results["ours"], results[other]))
        return pairs


def ggml() -> str:
    """What the installed llama.cpp was built for; ends the benchmark where that does not run right here."""
    done = subprocess.run([sys.executable, PROVE], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"the installed llama.cpp does not run right on this processor (status {done.returncode}); "
            f"`sh scripts/demo` in a fresh environment builds it for this one\n{done.stdout}"
        )
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("e2b", "e4b", "12b", "tiny"), default="e2b")
    parser.add_argument("--text-type", default="q4_0")
    parser.add_argument("--mmproj-type", default="bf16")
    parser.add_argument(
        "--pair", type=Path, nargs=2, metavar="GGUF", help="these files, instead of random ones"
    )
    parser.add_argument("--models", type=Path, default=Path.home() / ".cache" / "gemma-audio" / "bench")
    parser.add_argument("--recording", type=float, metavar="MINUTES", help="a recording, not a clip")
    parser.add_argument("--against", choices=sorted(NAMES), default="llamacpp")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the clip")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quiet", type=float, default=0.05, help="cores that others may use beside a run")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    if args.against == "server" and not args.recording:
        parser.error("the server takes recordings: give --recording MINUTES")

    built = ggml()
    print(f"llama.cpp: {built}", file=sys.stderr)
    pair = model(args)
    warm(*pair)
    bench = Bench(args, pair)
    cosine = bench.agreement("llamacpp")
    print(f"cosine of the last logits: {cosine:.6f}", file=sys.stderr)
    if not cosine >= AGREE:
        raise SystemExit(f"the engines disagree: the cosine of their logits is {cosine:.6f}, below {AGREE}")
    if args.recording:
        pairs = bench.pairs(args.against, "recording", "--minutes", args.recording)
    else:
        pairs = bench.pairs(args.against, "clip")
    rows = figures.compare(pairs, RECORDING_STAGES if args.recording else CLIP_STAGES)
    what = f"{args.recording:g} min in windows" if args.recording else f"{args.seconds:g} s clip"
    print(f"{pair[0].name} + {pair[1].name}, {what}, {args.new_tokens} tokens, {args.threads} threads")
    print(f"{len(pairs)} interleaved pairs, {bench.dropped} dropped; cosine {cosine:.6f}")
    print(figures.table(rows, NAMES[args.against]))
    if args.json:
        report = {
            "machine": machine() | {"ggml": built},
            "files": [path.name for path in pair],
            "options": {k: v for k, v in vars(args).items() if isinstance(v, (int, float, str)) or v is None},
            "cosine": cosine,
            "dropped": bench.dropped,
            "others_cores": bench.loudest,
            "rows": figures.as_json(rows),
            "runs": pairs,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
