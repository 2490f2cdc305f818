#!/usr/bin/env python3
"""How well speakers are told apart: conversations made of real recordings of five people.

    pip install pyannote.metrics
    python scripts/bench/diarization.py --speech ../shared/speech --models FOLDER
    python scripts/bench/diarization.py --speech ../shared/speech --models FOLDER --minutes 60 --count 1

DER is that of pyannote.metrics, with 0.25 s on each side of a change left out and overlaps counted. The
conversations are others than those that the thresholds were chosen on, which have seeds below 10,000.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from conversations import RATE, conversation

from gemma_audio_cli.models.speaker_files import speaker_files
from gemma_audio_cli.speakers.diarization import diarize
from gemma_audio_cli.speakers.networks import SpeakerFiles, SpeakerNetworks
from gemma_audio_cli.speakers.voices import VoiceReader

FIRST_SEED = 10_000


@dataclass
class Score:
    """Sums over conversations."""

    speech: float = 0.0
    errors: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("missed detection", "false alarm", "confusion"), 0.0)
    )
    right: int = 0
    n: int = 0

    def add(self, found: Any, true: Any, speakers: int) -> None:
        """One conversation."""
        from pyannote.core import Annotation, Segment
        from pyannote.metrics.diarization import DiarizationErrorRate

        reference, hypothesis = Annotation(), Annotation()
        for i, turn in enumerate(true):
            reference[Segment(turn.start, turn.end), i] = turn.speaker
        for i, turn in enumerate(found.turns):
            hypothesis[Segment(turn.start, turn.end), i] = turn.speaker
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = DiarizationErrorRate(collar=0.5)(reference, hypothesis, detailed=True)
        self.speech += parts["total"]
        for name in self.errors:
            self.errors[name] += parts[name]
        self.right += len(found.voices) == speakers
        self.n += 1

    def __str__(self) -> str:
        parts = {name: 100 * value / self.speech for name, value in self.errors.items()}
        shown = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
        return f"DER {sum(parts.values()):5.2f} % ({shown}); count right in {self.right} of {self.n}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--speech", type=Path, required=True, help="folder with digits/")
    parser.add_argument("--models", help="folder with segmentation.onnx and embedding.onnx; default: pulled")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--count", type=int, default=5, help="conversations of each kind")
    parser.add_argument("--speakers", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--overlapping", type=float, nargs="+", default=[0.0, 0.3], help="shares of turns")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    files = speaker_files(args.models)
    networks = SpeakerNetworks(SpeakerFiles(files.segmentation, files.embedding), args.threads)
    seed, heard, wall, cpu = args.seed, 0.0, 0.0, 0.0
    for share in args.overlapping:
        for speakers in args.speakers:
            found, given = Score(), Score()
            for _ in range(args.count):
                made = conversation(args.speech / "digits", seed, speakers, 60 * args.minutes, share)
                seed += 1
                began, used = time.perf_counter(), time.process_time()
                reader = VoiceReader(networks)
                for start in range(0, len(made.samples), RATE):
                    reader.push(made.samples[start : start + RATE])
                voices = reader.finish()
                result = diarize(voices)
                wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - used
                heard += len(made.samples) / RATE
                found.add(result, made.turns, speakers)
                given.add(diarize(voices, speakers), made.turns, speakers)
            kind = f"{speakers} speakers, {100 * share:.0f} % of turns overlap"
            print(f"{kind}, N found: {found}\n{kind}, N given: {given}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{heard:.0f} s in {wall:.0f} s: {wall / heard:.3f} of real time, {cpu / heard:.3f} of one core")
    print(f"peak memory of the process: {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
