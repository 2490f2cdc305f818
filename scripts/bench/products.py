#!/usr/bin/env python3
"""Products with quantised matrices: this engine's beside ggml's, and beside what memory gives.

    python scripts/bench/products.py                # every type with kernels of our own, 1 and 2 threads
    python scripts/bench/products.py --types q4_0 q6_K --threads 2 --seconds 5
    GEMMA_AUDIO_CPU_CLASS=avx2 python scripts/bench/products.py     # not the best class of this processor

One row is what a token takes: GB of weights a second, beside the speed of plain reads. More rows are windows
decoded together (4, 16) and a prompt (750): 10^9 operations a second. Both run in turn, and each figure is
the best of many short runs. Needs the native tests built: `sh -c '. scripts/environment.sh; prepare test'`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build" / "wheel" / "bench_products"
TYPES = ("q4_0", "q4_K", "q5_K", "q6_K", "q8_0", "iq4_nl", "iq4_xs")
Figure = dict[str, Any]


def measure(threads: int, seconds: float, types: list[str]) -> list[Figure]:
    """The program's lines. Raises SystemExit where it is missing or fails."""
    if not PROGRAM.exists():
        raise SystemExit(f"{PROGRAM} is missing; build it: sh -c '. scripts/environment.sh; prepare test'")
    command = [str(PROGRAM), str(threads), str(seconds), *types]
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{PROGRAM.name} ended with code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(found: list[Figure]) -> list[str]:
    """A heading with the speed of reads; for each type and number of rows ours, ggml's, and the ratio."""
    read = next(one for one in found if one.get("way") == "read")
    lines = [f"{read['threads']} threads: plain reads {read['gb_s']:.1f} GB/s"]
    cells: dict[tuple[str, int], dict[str, Figure]] = {}
    for one in found:
        if "type" in one:
            cells.setdefault((one["type"], one["rows"]), {})[one["way"]] = one
    for (name, rows), ways in cells.items():
        key, unit = ("gb_s", "GB/s") if rows == 1 else ("gf_s", "GF/s")
        text = f"  {name:7} {rows:4} rows  ggml {ways['ggml'][key]:7.1f} {unit}"
        if "ours" in ways:
            ours = ways["ours"][key]
            text += f"  ours {ours:7.1f} {unit}  {ours / ways['ggml'][key]:5.2f} x"
            text += f"  {100 * ours / read['gb_s']:3.0f} % of reads" if rows == 1 else ""
        lines.append(text)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES), metavar="TYPE")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each type and number of rows")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    found = []
    for threads in args.threads:
        part = measure(threads, args.seconds, args.types)
        if not found:
            print(part[0]["products"])
        print("\n".join(table(part)), flush=True)
        found += part
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
