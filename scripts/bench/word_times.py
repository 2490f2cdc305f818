#!/usr/bin/env python3
"""How far word times are off, on strings of digits with known word times; and what they cost.

    python scripts/bench/word_times.py                        # the demo model
    python scripts/bench/word_times.py -m e2b --strings 100   # or another one
    python scripts/bench/word_times.py cost -m FILE.gguf --mmproj MMPROJ.gguf
    python scripts/bench/word_times.py live                   # what finals of a stream wait for them

Strings are 3 to 7 digits of one of five speakers (test takes of the Free Spoken Digit Dataset, `--speech`),
with pauses of 0 to 300 ms; the joints are known to the sample. Only strings that the model hears right count.
`cost` runs noise of 30 s and says what share of a window's other work the alignment pass takes. `live` hears
the bundled recording again and again: milliseconds from the end's being known to the final text, and how many
of them the alignment pass takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue  # noqa: E402 - the checkout's own
from gemma_audio_cli.audio.segment.utterances import End, Speech  # noqa: E402
from gemma_audio_cli.audio.segment.windows import Window  # noqa: E402
from gemma_audio_cli.decoding.aligner import Aligner  # noqa: E402
from gemma_audio_cli.decoding.alignment import Heads  # noqa: E402
from gemma_audio_cli.decoding.options import DecodeOptions  # noqa: E402
from gemma_audio_cli.decoding.prompt import transcription  # noqa: E402
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder  # noqa: E402
from gemma_audio_cli.decoding.transcriber import Transcriber  # noqa: E402
from gemma_audio_cli.engine.engine import Engine  # noqa: E402
from gemma_audio_cli.engine.structs import EngineOptions  # noqa: E402
from gemma_audio_cli.models.resolve import resolve  # noqa: E402
from gemma_audio_cli.pipeline.listener import Listener, ListenOptions  # noqa: E402
from gemma_audio_cli.sound import SAMPLE_RATE, Floats  # noqa: E402
from gemma_audio_cli.transcript import Final, Word  # noqa: E402

SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
HOP = 1600
"""Samples that come at a time."""
UTTERANCES = 40
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")
Words = list[tuple[str, float, float]]
_SHORT = 0.1
"""Seconds: no digit of these recordings is shorter."""


def take(speech: Path, digit: int, speaker: str, number: int) -> Floats:
    """One spoken digit without the silence around it, 16 kHz."""
    samples, rate = soundfile.read(speech / "digits" / f"{digit}_{speaker}_{number}.wav", dtype="float32")
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    trimmed: Floats = samples[max(0, loud[0] - 160) : loud[-1] + 160]
    return trimmed * np.float32(0.1 / np.sqrt(np.mean(trimmed**2)))


def string(speech: Path, rng: np.random.Generator, speaker: str, noise: float) -> tuple[Window, Words]:
    """A string of digits in faint noise, and when each was said."""

    def silence(least: float, most: float) -> Floats:
        return np.zeros(round(rng.uniform(least, most) * SAMPLE_RATE), dtype=np.float32)

    parts, words = [silence(0.1, 0.4)], Words()
    for _ in range(rng.integers(3, 8)):
        digit = int(rng.integers(10))
        start = sum(map(len, parts)) / SAMPLE_RATE
        parts.append(take(speech, digit, speaker, int(rng.integers(5))))
        words.append((str(digit), start, sum(map(len, parts)) / SAMPLE_RATE))
        parts.append(silence(0.0, 0.3))
    samples = np.concatenate([*parts, silence(0.1, 0.4)])
    samples += rng.normal(0, noise, len(samples)).astype(np.float32)
    return Window(0.0, samples), words


def accuracy(engine: Engine, arguments: argparse.Namespace) -> None:
    """Prints a line of JSON for each speaker, then one for all, and how many words are too short."""
    every, lengths = list[float](), list[float]()
    for speaker in SPEAKERS:
        rng = np.random.default_rng([arguments.seed, SPEAKERS.index(speaker)])
        made = [
            string(arguments.speech, rng, speaker, arguments.noise)
            for _ in range(arguments.strings // len(SPEAKERS))
        ]
        transcriber = Transcriber(engine, DecodeOptions(max_seconds=10.0, word_times=True))
        segments = list(transcriber.transcribe([window for window, _ in made], language="en"))
        transcriber.close()
        errors: list[float] = []
        for segment, (_, true) in zip(segments, made, strict=True):
            lengths += [word.end - word.start for word in segment.words]
            if [word.text for word in segment.words] == [text for text, _, _ in true]:
                for word, (_, start, end) in zip(segment.words, true, strict=True):
                    errors += [abs(word.start - start), abs(word.end - end)]
        every += errors
        report(speaker, errors)
    report("all", every)
    short = sum(length < _SHORT for length in lengths)
    print(json.dumps({"words": len(lengths), f"below_{_SHORT * 1000:.0f}_ms": short}), flush=True)


def report(name: str, errors: list[float]) -> None:
    """One line of figures."""
    if not errors:
        print(json.dumps({"speaker": name, "edges": 0}), flush=True)
        return
    middle, most = np.quantile(errors, (0.5, 0.95))
    values = {"edges": len(errors), "median_ms": round(middle * 1000), "p95_ms": round(most * 1000)}
    print(json.dumps({"speaker": name, **values}), flush=True)


class Timed(Aligner):
    """Adds up the seconds that its work takes."""

    seconds = 0.0

    def words(self, decoder: SequenceDecoder, reply: Reply, window: Window) -> tuple[Word, ...]:
        """As the aligner's."""
        begun = time.perf_counter()
        found = super().words(decoder, reply, window)
        self.seconds += time.perf_counter() - begun
        return found


def cost(engine: Engine, arguments: argparse.Namespace) -> None:
    """Prints the share of the alignment pass in a window of 30 s, run by run."""
    last = engine.info.n_layer_kv if arguments.shallow else engine.info.n_layer
    layers = [index for index, layer in enumerate(engine.layers[:last]) if not layer.window]
    aligner = Timed(Heads(tuple((layer, 0) for layer in layers[-4:]), 0.0, 0.0))
    rng = np.random.default_rng(1)
    window = Window(0.0, rng.normal(0, 0.1, 30 * SAMPLE_RATE).astype(np.float32))
    options = DecodeOptions(slots=1, ignore_end=True, tokens_per_second=arguments.tokens / 30, min_tokens=0)
    transcriber = Transcriber(engine, options)
    # The scheduler that it makes, with ours in place of no aligner.
    transcriber._word_aligner = lambda: aligner  # type: ignore[method-assign]
    for _ in range(arguments.runs):
        aligner.seconds, begun = 0.0, time.perf_counter()
        list(transcriber.transcribe([window], language="en"))
        whole = time.perf_counter() - begun
        values = {"window_s": round(whole, 2), "alignment_s": round(aligner.seconds, 2)}
        share = aligner.seconds / (whole - aligner.seconds)
        print(json.dumps({**values, "share": round(share, 3)}), flush=True)
    transcriber.close()


def live(engine: Engine, arguments: argparse.Namespace) -> None:
    """Prints the work that an utterance leaves to its end, and the alignment's part in it, run by run."""
    samples, _ = soundfile.read(SAMPLE, dtype="float32")
    transcriber = Transcriber(engine, DecodeOptions(slots=1, max_seconds=8.0, word_times=True))
    known = transcriber._word_aligner()
    aligner = Timed(known.heads if known is not None else None)
    transcriber._word_aligner = lambda: aligner  # type: ignore[method-assign]
    for _ in range(arguments.runs):
        aligner.seconds = 0.0
        speech_queue = SpeechQueue()
        for _ in range(UTTERANCES):
            for at in range(0, len(samples), HOP):
                speech_queue.put(Speech(samples[at : at + HOP], at + HOP))
            speech_queue.put(End(0.0, len(samples)))
        speech_queue.close()
        ear = Listener(transcriber, transcription(), ListenOptions(partials=False))
        works = [event.work * 1000 for event in ear.listen(speech_queue) if isinstance(event, Final)]
        ear.close()
        aligning = aligner.seconds * 1000 / len(works)
        values = {"work_ms": round(sum(works) / len(works), 1), "alignment_ms": round(aligning, 1)}
        print(json.dumps({"finals": len(works), **values}), flush=True)


WHAT = {"accuracy": accuracy, "cost": cost, "live": live}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=tuple(WHAT), default="accuracy")
    parser.add_argument("-m", "--model", default="demo")
    parser.add_argument("--mmproj")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--speech", type=Path, default=ROOT.parent / "shared" / "speech")
    parser.add_argument("--strings", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.001, help="standard deviation; speech has 0.1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=64, help="cost: tokens of the window's answer")
    parser.add_argument(
        "--shallow", action="store_true", help="cost: heads in layers with K/V of their own only"
    )
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    pair = resolve(arguments.model, arguments.mmproj)
    with Engine(pair.text, pair.mmproj, EngineOptions(arguments.threads, "CPU")) as engine:
        WHAT[arguments.what](engine, arguments)


if __name__ == "__main__":
    main()
