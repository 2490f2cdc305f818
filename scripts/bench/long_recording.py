#!/usr/bin/env python3
"""Long recordings by the command line and the demo model: memory, speed, and words lost or doubled at cuts.

    python scripts/bench/long_recording.py memory --minutes 3 180
    python scripts/bench/long_recording.py cuts --minutes 10

`memory` builds recordings of those lengths out of test takes of spoken digits, transcribes each with one
process, and prints its peak resident memory and how many times faster than real time it was. `cuts` builds
one recording, and each of its strings of digits as a file of its own; it prints the word error rate of both.
Further options go to `transcribe`. Human digits come from --speech-dir
(`digits/{digit}_{speaker}_{take}.wav`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from demo_model.grammar import random_digits, word_errors  # noqa: E402 - scripts are no package

RATE = 16_000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")
TEST_TAKES = range(5)


class Strings:
    """Strings of three to seven digits by one speaker each, and the pause behind each."""

    def __init__(self, speech: Path, seed: int) -> None:
        self._speech, self._rng = speech / "digits", np.random.default_rng(seed)
        self._takes: dict[str, np.ndarray] = {}

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[str], float]]:
        rng = self._rng
        while True:
            speaker = SPEAKERS[int(rng.integers(len(SPEAKERS)))]
            digits = random_digits(rng, 3, 7)
            parts = []
            for digit in digits:
                name = f"{digit}_{speaker}_{int(rng.choice(TEST_TAKES))}.wav"
                parts += [self._take(name), np.zeros(int(rng.uniform(0.02, 0.25) * RATE), np.float32)]
            yield np.concatenate(parts), digits, float(rng.uniform(0.4, 3.0))

    def _take(self, name: str) -> np.ndarray:
        if name not in self._takes:
            samples, rate = soundfile.read(self._speech / name, dtype="float32")
            self._takes[name] = soxr.resample(samples, rate, RATE).astype(np.float32)
        return self._takes[name]


def build(path: Path, minutes: float, strings: Strings) -> list[tuple[np.ndarray, list[str]]]:
    """Writes a recording of about that length; returns its strings."""
    spoken, written = [], 0
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for samples, digits, pause in strings:
            if written >= minutes * 60 * RATE:
                break
            spoken.append((samples, digits))
            for block in (samples, np.zeros(int(pause * RATE), np.float32)):
                file.write(block)
                written += len(block)
    return spoken


def transcribe(*arguments: object) -> tuple[float, int]:
    """Runs the command; returns its wall seconds and its peak resident memory in bytes."""
    command = [
        sys.executable,
        "-m",
        "gemma_audio_cli",
        "transcribe",
        "-m",
        "demo",
        "-q",
        *map(str, arguments),
    ]
    began = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.monotonic() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    for minutes in arguments.minutes:
        path = folder / f"{minutes:g}.flac"
        # In a process of its own: a child's peak begins with what its parent holds when it is started.
        strings = Strings(arguments.speech_dir, seed=1)
        builder = multiprocessing.get_context("spawn").Process(target=build, args=(path, minutes, strings))
        builder.start()
        builder.join()
        length = soundfile.info(path).duration
        seconds, peak = transcribe(path, "-f", "json", "-o", folder / "out.json")
        print(
            f"{length / 60:7.1f} min  {seconds:7.1f} s  {length / seconds:6.1f} x real time  "
            f"peak {peak / 1e6:6.1f} MB",
            flush=True,
        )


def cuts(arguments: argparse.Namespace, folder: Path) -> None:
    for minutes in arguments.minutes:
        long = folder / "long.flac"
        spoken = build(long, minutes, Strings(arguments.speech_dir, seed=2))
        short = [folder / f"{n:05}.flac" for n in range(len(spoken))]
        for path, (samples, _) in zip(short, spoken, strict=True):
            soundfile.write(path, samples, RATE)
        transcribe(long, "-f", "json", "-o", folder / "long.json", *arguments.options)
        transcribe(*short, "-f", "json", "-o", folder / "short", *arguments.options)
        value = json.loads((folder / "long.json").read_text())
        apart = [json.loads((folder / "short" / f"{p.stem}.json").read_text())["text"] for p in short]
        words = [word for _, digits in spoken for word in digits]
        joined = word_errors(words, value["text"].split())
        separate = sum(word_errors(d, text.split()) for (_, d), text in zip(spoken, apart, strict=True))
        print(
            f"{minutes:g} min, {len(words)} words: joined {100 * joined / len(words):.2f} % "
            f"({len(value['segments'])} windows), separate files {100 * separate / len(words):.2f} %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "cuts"])
    parser.add_argument("--minutes", type=float, nargs="+", required=True)
    parser.add_argument("--speech-dir", type=Path, default=ROOT.parent / "shared" / "speech")
    arguments, options = parser.parse_known_args()
    arguments.options = options
    with tempfile.TemporaryDirectory() as folder:
        (memory if arguments.what == "memory" else cuts)(arguments, Path(folder))


if __name__ == "__main__":
    main()
