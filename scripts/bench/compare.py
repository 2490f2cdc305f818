#!/usr/bin/env python3
"""This engine beside llama.cpp: same files, same sound, same threads, stage by stage, class by class.

    python scripts/bench/compare.py                          # E2B, Q4_0 text and BF16 mmproj, a 30 s clip
    python scripts/bench/compare.py --text-type q4_0 q4_k_m --class avx512 avx2 --job clip recording
    python scripts/bench/compare.py --size e4b --runs 3 --threads 1 2
    python scripts/bench/compare.py --busy 0 1               # beside a neighbour that keeps a processor busy
    python scripts/bench/compare.py --job recording --against server             # needs xllamacpp
    python scripts/bench/compare.py --at-most 1              # one more pair; the next call goes on
    python scripts/bench/compare.py --only-table

Files of random weights in a model's true size and in the format of real ones are made once and kept in
--models. A class caps both engines: our products by GEMMA_AUDIO_CPU_CLASS, llama.cpp (and what else we take
from ggml) by a ggml-cpu built for the class, which is proved to multiply right before it is taken. Without
--class, both take what the processor has. The engines run in turn, each time in a process of its own; pairs
are kept in --out as they are made. A pair beside which other processes used more than --quiet cores is made
again. The logits after the prompt must agree in every pair. llama.cpp takes window after window, so that a
recording of --minutes is --sample minutes of it, times as many. Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import cpu_classes  # noqa: E402 - a script's own folder
import llama_builds  # noqa: E402
import machine  # noqa: E402
import model_files  # noqa: E402
import tables  # noqa: E402
from cases import Results, ResultsError, cases  # noqa: E402
from duel import Duel, DuelError  # noqa: E402

NATIVE = "native"
NAMES = {"llamacpp": "llama.cpp", "server": "llama.cpp server"}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options. Ends the program where they do not go together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument("--size", choices=("e2b", "e4b", "12b", "tiny"), default="e2b")
    what.add_argument(
        "--text-type", nargs="+", choices=model_files.TEXT_TYPES, default=["q4_0"], metavar="TYPE",
        help=", ".join(model_files.TEXT_TYPES),
    )  # fmt: skip
    what.add_argument("--mmproj-type", choices=model_files.PLAIN, default="bf16", metavar="TYPE")
    what.add_argument("--pair", type=Path, nargs=2, metavar="GGUF", help="these files, not random ones")
    what.add_argument(
        "--class", dest="classes", nargs="+", choices=cpu_classes.NAMES, default=[NATIVE], metavar="CLASS",
        help=f"{', '.join(cpu_classes.NAMES)}; without it, all that the processor has",
    )  # fmt: skip
    what.add_argument("--job", dest="jobs", nargs="+", choices=("clip", "recording"), default=["clip"])
    what.add_argument("--threads", nargs="+", type=int, default=[len(os.sched_getaffinity(0))])
    what.add_argument("--busy", nargs="+", type=int, default=[0], metavar="N", help="busy neighbours")
    what.add_argument("--seconds", type=float, default=30.0, help="length of the clip")
    what.add_argument("--minutes", type=float, default=10.0, help="length of the recording")
    what.add_argument("--sample", type=float, default=1.0, help="minutes of it that llama.cpp hears")
    what.add_argument("--new-tokens", type=int, default=64)
    what.add_argument("--slots", type=int, default=0, help="windows at once; 0: as --batch auto")
    what.add_argument("--against", choices=sorted(NAMES), default="llamacpp")
    how = parser.add_argument_group("how")
    how.add_argument("--runs", type=int, default=3, help="pairs for each case")
    how.add_argument("--at-most", type=int, metavar="N", help="end after so many pairs")
    how.add_argument("--quiet", type=float, default=0.05, help="cores that others may use beside a run")
    how.add_argument("--models", type=Path, default=Path.home() / ".cache" / "gemma-audio" / "bench")
    how.add_argument("--out", type=Path, default=Path("build") / "compare.json", help="keeps all figures")
    how.add_argument("--only-table", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    if args.against == "server" and (args.jobs != ["recording"] or args.classes != [NATIVE]):
        parser.error("the server takes recordings, and no class: give --job recording alone")
    if args.pair and len(args.text_type) > 1:
        parser.error("--pair names the files of one type")
    if args.against == "server" and not args.slots:
        parser.error("the server needs a number of slots: give --slots 4")
    if args.runs < 1 or min(args.threads) < 1 or min(args.busy) < 0:
        parser.error("--runs and --threads are 1 at least, --busy 0")
    return args


def about(args: argparse.Namespace) -> dict[str, Any]:
    """What all figures of a file have in common."""
    names = ("size", "mmproj_type", "seconds", "minutes", "sample", "new_tokens", "slots", "against")
    pair = [path.name for path in args.pair] if args.pair else None
    return {name: getattr(args, name) for name in names} | {"pair": pair} | machine.about()


def builds(classes: list[str], cache: Path) -> dict[str, llama_builds.Build]:
    """The llama.cpp of each class. Raises BuildError."""
    found = {}
    for name in classes:
        if name == NATIVE:
            works, report = llama_builds.prove(llama_builds.installed())
            if not works:
                raise llama_builds.BuildError(
                    f"the installed llama.cpp does not run right on this processor ({report}); "
                    "`sh scripts/demo` in a fresh environment builds it for this one"
                )
            found[name] = llama_builds.Build(llama_builds.installed(), f"installed; {report}")
        else:
            found[name] = llama_builds.best(cpu_classes.find(name), cache, say)
        say(f"llama.cpp for {name}: {found[name].what}")
    return found


def measure(args: argparse.Namespace, results: Results) -> None:
    """Make the pairs that are missing. Raises BuildError and DuelError."""
    if not args.pair:
        model_files.make(args.models, args.size, args.text_type, args.mmproj_type)
    found = builds(args.classes, args.models)
    left = args.at_most
    todo = cases(args.classes, args.text_type, args.jobs, args.threads, args.busy)
    for case in todo:
        duel = Duel(args, pair_of(args, case.text_type), case, found[case.cpu_class])
        while len(results.pairs(case)) < args.runs:
            if left == 0:
                missing = sum(max(0, args.runs - len(results.pairs(one))) for one in todo)
                say(f"{missing} pairs are missing; the same call goes on")
                return
            fought = duel.fight(turn=len(results.pairs(case)))
            results.add(case, fought.pair, fought.others, fought.builds)
            say(f"{case.key}: {len(results.pairs(case))} of {args.runs}, others {fought.others:.2f} cores")
            left = None if left is None else left - 1


def files(args: argparse.Namespace) -> tuple[Path, Path]:
    """The pair of files for one type, made where they are not there yet."""
    if not args.pair:
        model_files.make(args.models, args.size, [args.text_type], args.mmproj_type)
    return pair_of(args, args.text_type)


def pair_of(args: argparse.Namespace, text_type: str) -> tuple[Path, Path]:
    """The files of a type."""
    if args.pair:
        return args.pair[0], args.pair[1]
    return (
        model_files.text_path(args.models, args.size, text_type),
        model_files.mmproj_path(args.models, args.size, args.mmproj_type),
    )


def show(args: argparse.Namespace, results: Results) -> None:
    """The tables, on stdout."""
    measured = list(results.measured())
    if not measured:
        return
    others = [value for case, _ in measured for value in results.others(case)]
    print(f"{machine.title()}; {results.about['size']}, mmproj {results.about['mmproj_type']}; clip of")
    print(f"{args.seconds:g} s, recording of {args.minutes:g} min, {args.new_tokens} tokens a window.")
    print(f"Others used {min(others):.2f} to {max(others):.2f} cores beside the pairs.\n")
    print(tables.summary(measured) + "\n")
    print(tables.details(measured, NAMES[args.against]))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        results = Results.open(args.out, about(args))
        if not args.only_table:
            measure(args, results)
    except (ResultsError, llama_builds.BuildError, DuelError) as error:
        say(f"compare: {error}")
        return 1
    show(args, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
