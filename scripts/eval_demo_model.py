#!/usr/bin/env python3
"""Measures the demo model through the finished engine: word error rates and the share of right answers.

    python scripts/eval_demo_model.py --json accuracy.json

Test recordings are made on the spot, the same every time: strings of 3 to 7 digits from human takes that
training never uses (``--speech-dir``), and commands by synthetic voices it never uses (with espeak-ng and
flite; see `scripts/train_demo_model.py`). ``--speaker NAME`` restricts the strings to one speaker: the figure
for a model trained without that speaker. ``--order`` puts the instruction before the clip or behind it,
whatever the product does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from demo_model.asking import Asker, AsProduct, InOrder
from demo_model.grammar import word_errors
from demo_model.prompts import is_right
from demo_model.testsets import Recording, commands, digit_strings, questions

ROOT = Path(__file__).resolve().parent.parent

#: What the model must reach: the most errors or the fewest right answers, in percent.
_MOST_ERRORS = {"digits": 3.0, "digits, speaker left out": 15.0, "commands": 5.0}
_FEWEST_RIGHT = 95.0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="text GGUF (default: the demo model of the package)")
    parser.add_argument("--mmproj", type=Path, help="audio GGUF (default: the one beside the text GGUF)")
    parser.add_argument("--speech-dir", type=Path, default=ROOT.parent / "shared" / "speech")
    parser.add_argument("--cache", type=Path, help="folder that keeps the synthetic test speech")
    parser.add_argument(
        "--speaker", help="only digit strings of this speaker, whom the model was not trained on"
    )
    parser.add_argument(
        "--order",
        choices=("product", "text-first", "audio-first"),
        default="product",
        help="the prompts the product makes (default), or the instruction before or behind the clip",
    )
    parser.add_argument("--strings", type=int, default=60, help="digit strings of each speaker")
    parser.add_argument("--commands", type=int, default=300)
    parser.add_argument("--questions", type=int, default=100, help="questions of each kind")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the engine (default: one per core)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


def error_rates(asker: Asker, recordings: list[Recording]) -> dict[str, float]:
    """Word error rate in percent of each group and of ``all``."""
    errors: dict[str, int] = defaultdict(int)
    words: dict[str, int] = defaultdict(int)
    for recording in recordings:
        expected = recording.clip.sentence.words
        wrong = word_errors(expected, asker.transcribe(recording).split())
        for group in (recording.group, "all"):
            errors[group] += wrong
            words[group] += len(expected)
    return {group: round(100 * errors[group] / words[group], 2) for group in errors}


def main() -> None:
    arguments = parse_arguments()
    sys.path.insert(0, str(ROOT))
    from gemma_audio_cli import Engine, EngineOptions

    figures: dict[str, dict[str, float]] = {}
    began = time.monotonic()
    options = EngineOptions(threads=arguments.threads)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Engine.open(arguments.model, arguments.mmproj, options) as engine,
    ):
        if arguments.order == "product":
            asker: Asker = AsProduct(engine)
        else:
            asker = InOrder(engine, text_first=arguments.order == "text-first")
        if arguments.speaker:
            strings = digit_strings(arguments.speech_dir, arguments.strings, (arguments.speaker,))
            figures["digits, speaker left out"] = error_rates(asker, strings)
        else:
            strings = digit_strings(arguments.speech_dir, arguments.strings)
            spoken = commands(arguments.cache or Path(scratch) / "speech", arguments.commands)
            figures["digits"] = error_rates(asker, strings)
            figures["commands"] = error_rates(asker, spoken)
            marks: dict[str, list[bool]] = defaultdict(list)
            for recording, exchange in questions(strings, spoken, arguments.questions):
                right = is_right(exchange, asker.ask(exchange.prompt, recording))
                marks[exchange.kind].append(right)
                marks["all"].append(right)
            figures["questions"] = {kind: round(100 * float(np.mean(m)), 2) for kind, m in marks.items()}
    met = report(figures)
    print(f"\n{time.monotonic() - began:.0f} s; {'all bounds met' if met else 'a bound is missed'}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bounds met": met}, indent=2) + "\n")
    raise SystemExit(0 if met else 1)


def report(figures: dict[str, dict[str, float]]) -> bool:
    """Prints the figures beside their bounds; whether all are met."""
    met = True
    for name, groups in figures.items():
        if name == "questions":
            good, bound = groups["all"] >= _FEWEST_RIGHT, f"at least {_FEWEST_RIGHT} % right"
        else:
            good, bound = groups["all"] <= _MOST_ERRORS[name], f"at most {_MOST_ERRORS[name]} % word errors"
        met &= good
        print(f"{name:26} {groups['all']:6.2f} %   {'ok' if good else 'MISSED'}: {bound}")
        for group, value in groups.items():
            if group != "all":
                print(f"    {group:22} {value:6.2f} %")
    return met


if __name__ == "__main__":
    main()
