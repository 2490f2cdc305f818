"""Recordings to train on: human digits in strings, synthetic commands and digits, silence; each with its
sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from .augment import SAMPLE_RATE, Augmenter, Strength, change_speed
from .grammar import DIGITS, SPELLED, Sentence
from .voices import SpeechCache, SpokenLine

SPEAKERS: tuple[str, ...] = ("george", "jackson", "lucas", "nicolas", "yweweler")
TEST_TAKES = range(5)
VALIDATION_TAKES = range(5, 7)
TRAIN_TAKES = range(7, 50)

#: takes[speaker][digit] = list of float32 recordings at 16 kHz
Takes = dict[str, dict[str, list[np.ndarray]]]


def load_takes(speech: Path, speakers: tuple[str, ...], takes: range) -> Takes:
    """Human digits of the Free Spoken Digit Dataset, brought from 8 to 16 kHz."""
    loaded: Takes = {}
    for speaker in speakers:
        loaded[speaker] = {}
        for digit in DIGITS:
            loaded[speaker][digit] = []
            for take in takes:
                samples, rate = soundfile.read(
                    speech / "digits" / f"{digit}_{speaker}_{take}.wav", dtype="float32"
                )
                loaded[speaker][digit].append(soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32))
    return loaded


def join(pieces: list[np.ndarray], gaps: list[float]) -> np.ndarray:
    """``pieces`` in a row with ``gaps`` of silence, in seconds: one before each piece and one at the end."""
    parts: list[np.ndarray] = []
    for piece, gap in zip(pieces, gaps, strict=False):
        parts += [np.zeros(int(gap * SAMPLE_RATE), dtype=np.float32), piece]
    parts.append(np.zeros(int(gaps[-1] * SAMPLE_RATE), dtype=np.float32))
    return np.concatenate(parts)


def word_spans(pieces: list[np.ndarray], gaps: list[float], speed: float) -> list[tuple[float, float]]:
    """Where `join` puts each piece, in seconds, after a change of speed."""
    spans, now = [], 0.0
    for piece, gap in zip(pieces, gaps, strict=False):
        start = now + gap
        now = start + len(piece) / SAMPLE_RATE
        spans.append((start / speed, now / speed))
    return spans


def estimated_spans(words: list[str], start: float, length: float, speed: float) -> list[tuple[float, float]]:
    """Roughly where each word of a sentence lies: its share of the letters, each gap counted as one more."""
    letters = np.array([len(SPELLED.get(word, word)) + 1 for word in words], dtype=np.float64)
    ends = (start + length * np.cumsum(letters) / letters.sum()) / speed
    return list(zip([start / speed, *ends[:-1]], ends, strict=True))


@dataclass
class Clip:
    """One recording: float32 samples at 16 kHz, what is said, and the warp of its mel filters (1 = none).

    ``spans`` says where each word lies, in seconds; it is an estimate where a whole sentence was spoken.
    """

    samples: np.ndarray
    sentence: Sentence
    warp: float = 1.0
    spans: list[tuple[float, float]] | None = None


@dataclass(frozen=True)
class Mix:
    """A stage of the curriculum: strings of ``low`` to ``high`` digits, and the share of each kind of
    clip."""

    low: int
    high: int
    commands: float
    silence: float = 0.0
    long: float = 0.0


def _shares_by_rarity(sentences: list[list[str]]) -> np.ndarray:
    """Cumulative probabilities of sentences, higher for those of rare words, which are heard too seldom."""
    counts = Counter(word for words in sentences for word in words)
    weights = np.array([np.mean([counts[word] ** -0.5 for word in words]) for words in sentences])
    return np.cumsum(weights / weights.sum())


class ClipSource:
    """Endless augmented training clips. Not thread-safe; all chance comes from the generator passed in.

    ``human_share`` of the digit strings are of human takes, the others of synthetic voices.
    """

    def __init__(
        self, humans: Takes, synthetic: SpeechCache, strength: Strength, seed: int, human_share: float = 0.72
    ) -> None:
        self._humans = humans
        self._human_share = human_share
        self._synthetic = synthetic
        self._commands = [line for line in synthetic.lines if line.kind == "command"]
        self._command_shares = _shares_by_rarity([line.text.split() for line in self._commands])
        self._spoken_strings = [line for line in synthetic.lines if line.kind == "digits"]
        by_voice: dict[tuple[bool, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, line in enumerate(synthetic.lines):
            if line.kind == "digit":
                by_voice[line.recorded, line.voice.split("+")[-1]][line.text].append(index)
        whole = {who: dict(digits) for who, digits in by_voice.items() if len(digits) >= 4}
        self._digit_voices = list(whole.values())
        self._recorded_voices = [voice for (recorded, _), voice in whole.items() if recorded]
        babble = [synthetic.audio(line) for line in self._commands[:200]]
        self._augment = Augmenter(babble, seed, strength)
        self.strength = strength

    def draw(self, mix: Mix, rng: np.random.Generator) -> Clip:
        """One clip of the given mix."""
        draw = rng.random()
        if draw < mix.silence:
            return self._silence(rng)
        narrow, spans = False, None
        speed = 1.0 + rng.uniform(-1, 1) * self.strength.speed
        if draw < mix.silence + mix.commands:
            line = self._commands[int(np.searchsorted(self._command_shares, rng.random()))]
            sentence = Sentence(line.text, "command")
            samples, spans = self._spoken(line, speed, rng)
        elif mix.high >= 3 and rng.random() < 0.12:
            line = self._spoken_strings[int(rng.integers(len(self._spoken_strings)))]
            sentence = Sentence(line.text, "digits")
            samples, spans = self._spoken(line, speed, rng)
        else:
            long = rng.random() < mix.long
            count = (
                int(rng.integers(mix.high + 1, mix.high + 7))
                if long
                else int(rng.integers(mix.low, mix.high + 1))
            )
            narrow = rng.random() < self._human_share
            digits, pieces = (self._human_digits if narrow else self._synthetic_digits)(count, rng)
            sentence = Sentence(" ".join(digits), "digits")
            widest = rng.choice([0.06, 0.2, 0.45]) if not long else rng.choice([0.4, 1.2])
            gaps = [rng.uniform(0, 0.4), *rng.uniform(0, widest, size=count - 1), rng.uniform(0, 0.4)]
            samples = join(pieces, gaps)
            spans = word_spans(pieces, gaps, speed)
        warp = 1.0 + 0.02 * round(float(rng.uniform(-1, 1)) * self.strength.tract / 0.02)
        return Clip(self._augment(change_speed(samples, speed), rng, narrow), sentence, warp, spans)

    def _spoken(
        self, line: SpokenLine, speed: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """A whole synthetic utterance between silences."""
        gaps, audio = [rng.uniform(0, 0.4), rng.uniform(0, 0.4)], self._synthetic.audio(line)
        spans = estimated_spans(line.text.split(), gaps[0], len(audio) / SAMPLE_RATE, speed)
        return join([audio], gaps), spans

    def _human_digits(self, count: int, rng: np.random.Generator) -> tuple[list[str], list[np.ndarray]]:
        """Takes of one speaker (now and then of two), each at a slightly different speed and level."""
        names = list(self._humans)
        speakers = [names[int(rng.integers(len(names)))] for _ in range(2 if rng.random() < 0.15 else 1)]
        digits, pieces = [], []
        for _ in range(count):
            digit = DIGITS[int(rng.integers(10))]
            takes = self._humans[speakers[int(rng.integers(len(speakers)))]][digit]
            piece = change_speed(takes[int(rng.integers(len(takes)))], rng.uniform(0.93, 1.07))
            digits.append(digit)
            pieces.append(piece * rng.uniform(0.6, 1.2))
        return digits, pieces

    def _synthetic_digits(self, count: int, rng: np.random.Generator) -> tuple[list[str], list[np.ndarray]]:
        """Single digits of one synthetic voice; half of the time of one made from recordings of a person."""
        recorded = bool(self._recorded_voices) and rng.random() < 0.5
        voices = self._recorded_voices if recorded else self._digit_voices
        voice = voices[int(rng.integers(len(voices)))]
        known = list(voice)
        digits = [known[int(rng.integers(len(known)))] for _ in range(count)]
        lines = [
            self._synthetic.lines[voice[digit][int(rng.integers(len(voice[digit])))]] for digit in digits
        ]
        return digits, [self._synthetic.audio(line) for line in lines]

    def _silence(self, rng: np.random.Generator) -> Clip:
        length = int(rng.uniform(0.5, 4.0) * SAMPLE_RATE)
        level = 0.0 if rng.random() < 0.2 else 10 ** (-rng.uniform(20, 70) / 20)
        samples = np.clip(self._augment.noise(length, rng) * level, -1, 1).astype(np.float32)
        return Clip(samples, Sentence("", "silence"))
