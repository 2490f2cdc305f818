"""Synthetic speech for training and evaluation, from Debian's espeak-ng, flite and festival.

Each engine is a subprocess that writes a WAV file; what it said is cached as int16 samples at 16 kHz in one
flat array, so that a training process maps the cache instead of holding it. The voices fall into two sets
that share no voice: what the model is trained on, and what `scripts/eval_demo_model.py` tests it on.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from .grammar import DIGITS, random_command, random_digits

SAMPLE_RATE = 16_000

_ACCENTS = (
    "en-us",
    "en-us",
    "en-us",
    "en-gb",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-029",
)

# Variants change formants, pitch range and voice quality of espeak's synthesiser. Whispering, croaking and
# robot variants are left out: no one would call what they say a household command.
_TRAIN_VARIANTS = (
    "", "Alex", "Alicia", "Andrea", "Andy", "antonio", "aunty", "belinda", "benjamin", "boris",
    "caleb", "david", "Denis", "Diogo", "ed", "edward", "edward2", "Gene", "Gene2", "gustave",
    "Henrique", "Hugo", "iven", "iven2", "iven3", "Jacky", "john", "kaukovalta", "Lee", "Marco",
    "Mario", "max", "michel", "miguel", "Mike", "norbert", "pablo", "paul", "pedro", "quincy",
    "rob", "robert", "sandro", "steph", "steph2", "steph3", "travis", "victor", "zac", "anika",
    "fast", "grandma", "grandpa", "f1", "f2", "f3", "f5", "m1", "m2", "m3", "m4", "m6", "m8",
    "klatt", "klatt2", "klatt3",
)  # fmt: skip
_TEST_VARIANTS = ("Annie", "linda", "f4", "marcelo", "Michael", "m5", "m7", "adam", "shelby", "klatt4")

_FLITE = ("awb", "slt", "kal16", "kal")
_FESTIVAL = ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts")


@dataclass(frozen=True)
class Voice:
    """One way of speaking. ``name`` belongs to ``engine``; pitch (0-99) and rate (words a minute) only to
    espeak-ng."""

    engine: str
    name: str
    pitch: int = 50
    rate: int = 160

    @property
    def label(self) -> str:
        """The voice without its pitch and rate: what accuracy is reported by."""
        return f"{self.engine}:{self.name}"


def random_voice(rng: np.random.Generator, held_out: bool) -> Voice:
    """A voice of the training set or, if ``held_out``, of the test set.

    flite's *slt* and *kal* were recorded by the same people as festival's, so they stay on the same side;
    flite's *rms* is a speaker of whom training has nothing.
    """
    draw = rng.random()
    if held_out and draw < 0.3:
        return Voice("flite", "rms")
    if not held_out and draw < 0.30:
        return Voice("flite", str(rng.choice(_FLITE)), rate=int(rng.integers(130, 200)))
    if not held_out and draw < 0.38:
        return Voice("festival", str(rng.choice(_FESTIVAL)))
    variants = _TEST_VARIANTS if held_out else _TRAIN_VARIANTS
    variant = str(rng.choice(variants))
    name = str(rng.choice(_ACCENTS)) + (f"+{variant}" if variant else "")
    return Voice("espeak-ng", name, int(rng.integers(25, 80)), int(rng.integers(115, 200)))


def speak(voice: Voice, text: str) -> np.ndarray:
    """What ``voice`` makes of ``text``: float32 ``[samples]`` at 16 kHz, silence at both ends cut off."""
    with tempfile.TemporaryDirectory(prefix="demo-voice-") as folder:
        path = Path(folder) / "speech.wav"
        if voice.engine == "espeak-ng":
            arguments = [
                "espeak-ng",
                "-v",
                voice.name,
                "-p",
                str(voice.pitch),
                "-s",
                str(voice.rate),
                "-w",
                str(path),
                text,
            ]
            subprocess.run(arguments, check=True, capture_output=True)
        elif voice.engine == "flite":
            stretch = f"duration_stretch={160 / voice.rate:.2f}"
            arguments = ["flite", "-voice", voice.name, "--setf", stretch, "-t", text + " ", "-o", str(path)]
            subprocess.run(arguments, check=True, capture_output=True)
        elif voice.engine == "festival":
            arguments = ["text2wave", "-eval", f"(voice_{voice.name})", "-o", str(path)]
            subprocess.run(arguments, check=True, capture_output=True, input=text.encode())
        else:
            raise ValueError(f"unknown speech engine {voice.engine!r}")
        samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return trim(samples)


def trim(samples: np.ndarray, threshold: float = 0.01, margin: int = 320) -> np.ndarray:
    """Cuts both ends up to ``margin`` samples before the first and after the last one above ``threshold``
    of the peak."""
    loud = np.flatnonzero(np.abs(samples) > threshold * max(float(np.abs(samples).max(initial=0.0)), 1e-6))
    if len(loud) == 0:
        return samples
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


@dataclass(frozen=True)
class SpokenLine:
    """One cached utterance: where it lies in the flat array, what it says and who says it."""

    text: str
    kind: str
    voice: str
    start: int
    length: int
    part: int = 0

    @property
    def recorded(self) -> bool:
        """Whether the voice is made from recordings of people; espeak's are made from rules."""
        return not self.voice.startswith("espeak-ng:")


class SpeechCache:
    """Utterances of synthetic voices, of one folder or several: an int16 array on disk, mapped, and an index
    in JSON in each."""

    def __init__(self, *folders: Path) -> None:
        self._parts = [np.load(folder / "samples.npy", mmap_mode="r") for folder in folders]
        self.lines = [
            SpokenLine(**entry, part=part)
            for part, folder in enumerate(folders)
            for entry in json.loads((folder / "lines.json").read_text())
        ]

    def audio(self, line: SpokenLine) -> np.ndarray:
        """float32 ``[samples]`` in [-1, 1] at 16 kHz."""
        samples = self._parts[line.part][line.start : line.start + line.length]
        return np.asarray(samples, dtype=np.float32) / 32768.0


#: What to say, of which kind, in which voice.
Line = tuple[str, str, Voice]


def _plan(count: int, seed: int, held_out: bool) -> list[Line]:
    """What to say, of which kind, in which voice. Half of the lines are commands; the rest digits, single
    or in a row.

    A digit is also said alone, because strings made of separate recordings are what the human data offers
    too.
    """
    rng = np.random.default_rng(seed)
    lines: list[Line] = []
    for _ in range(count):
        draw, voice = rng.random(), random_voice(rng, held_out)
        if draw < 0.6:
            lines.append((random_command(rng), "command", voice))
        elif draw < 0.85:
            lines.append((str(rng.choice(DIGITS)), "digit", voice))
        else:
            lines.append((" ".join(random_digits(rng, 2, 6)), "digits", voice))
    return lines


def synthesise(folder: Path, count: int, seed: int, held_out: bool, threads: int = 2) -> SpeechCache:
    """Speaks ``count`` lines into ``folder`` unless a finished cache is already there."""
    if not (folder / "lines.json").exists():
        record(folder, _plan(count, seed, held_out), speak, threads)
    return SpeechCache(folder)


def record(folder: Path, plan: list[Line], say: Callable[[Voice, str], np.ndarray], threads: int) -> None:
    """Writes what ``say`` makes of each line of ``plan`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        spoken = list(pool.map(lambda line: _as_int16(say(line[2], line[0])), plan))
    lines, start = [], 0
    for (text, kind, voice), samples in zip(plan, spoken, strict=True):
        entry = asdict(SpokenLine(text, kind, voice.label, start, len(samples)))
        del entry["part"]
        lines.append(entry)
        start += len(samples)
    np.save(folder / "samples.npy", np.concatenate(spoken))
    # Written last and by rename: its presence says that the cache is whole.
    partial = folder / "lines.json.partial"
    partial.write_text(json.dumps(lines))
    partial.rename(folder / "lines.json")


def _as_int16(samples: np.ndarray) -> np.ndarray:
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
    return np.round(samples * (0.5 * 32767 / peak)).astype(np.int16)
