"""Cheap waveform augmentation: speed and pitch, channel, reverberation, noise, level. All of it on 16 kHz
float32.

Everything linear is one multiplication of the clip's spectrum, so a clip costs two FFTs however many
effects it gets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Strength:
    """How far augmentation goes. ``speed`` and ``tract`` are the largest relative changes, the others the
    shares of clips that get noise, a filter, or a hidden part of their spectrum."""

    speed: float = 0.10
    tract: float = 0.10
    noisy: float = 0.35
    filtered: float = 0.45
    hidden: float = 0.35


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Plays ``samples`` ``factor`` times as fast: tempo, pitch and formants move together."""
    if abs(factor - 1.0) < 0.005:
        return samples
    at = np.arange(0.0, len(samples) - 1, factor, dtype=np.float64)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


class Augmenter:
    """Random recording conditions. ``babble`` are utterances of which background chatter is mixed."""

    def __init__(self, babble: list[np.ndarray], seed: int, strength: Strength) -> None:
        self.strength = strength
        rng = np.random.default_rng(seed)
        self._noises = [_coloured_noise(rng, power) for power in (0.0, 0.5, 1.0, 1.5, 2.0)]
        self._noises += [_chatter(rng, babble) for _ in range(5)] if babble else []
        self._rooms = [_room(rng) for _ in range(64)]

    def __call__(self, samples: np.ndarray, rng: np.random.Generator, narrow: bool) -> np.ndarray:
        """A new recording of ``samples``; ``narrow`` says that they hold nothing above 4 kHz already."""
        if rng.random() < self.strength.filtered:
            samples = self._filter(samples, rng, narrow)
        samples = samples * (_level(rng) / max(float(np.abs(samples).max(initial=0.0)), 1e-4))
        if rng.random() < self.strength.noisy:
            samples = samples + self.noise(len(samples), rng) * (
                np.sqrt(np.mean(samples**2)) * 10 ** (-rng.uniform(8, 35) / 20)
            )
        return np.clip(samples, -1.0, 1.0).astype(np.float32)

    def noise(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """``length`` samples of background noise of unit power."""
        noise = self._noises[int(rng.integers(len(self._noises)))]
        start = int(rng.integers(len(noise)))
        return np.take(noise, np.arange(start, start + length), mode="wrap")

    def _filter(self, samples: np.ndarray, rng: np.random.Generator, narrow: bool) -> np.ndarray:
        reverberant = rng.random() < 0.35
        size = scipy.fft.next_fast_len(len(samples) + (4000 if reverberant else 800), real=True)
        hertz = np.linspace(0, SAMPLE_RATE / 2, size // 2 + 1, dtype=np.float32)
        # A slow random tilt and ripple over log-frequency: microphones and rooms colour every recording.
        octave = np.log2(np.maximum(hertz, 60.0) / 1000.0)
        decibel = rng.uniform(-3, 3) * octave + rng.uniform(0, 3) * np.sin(
            rng.uniform(0.5, 2.0) * octave + rng.uniform(0, 6.3)
        )
        response = 10.0 ** (decibel / 20.0)
        draw = rng.random()
        if draw < 0.25:  # telephone
            response *= _pass_band(hertz, rng.uniform(200, 400), rng.uniform(3000, 3600))
        elif draw < 0.55 and not narrow:  # sampled at 8 kHz once
            response *= _pass_band(hertz, 0.0, rng.uniform(3700, 4000))
        spectrum = scipy.fft.rfft(samples, size) * response
        if reverberant:
            spectrum *= scipy.fft.rfft(self._rooms[int(rng.integers(len(self._rooms)))], size)
        return scipy.fft.irfft(spectrum, size)[: len(samples)]


def _level(rng: np.random.Generator) -> float:
    """A peak level: mostly what people record at, now and then very quiet."""
    return float(10 ** (-rng.uniform(1, 20) / 20))


def _pass_band(hertz: np.ndarray, low: float, high: float) -> np.ndarray:
    """Gain 1 between ``low`` and ``high``, falling by 60 dB within about 10 % beyond."""
    above = np.clip((hertz - high) / (0.1 * high), 0, 1)
    below = np.clip((low - hertz) / max(0.3 * low, 1.0), 0, 1)
    return (10.0 ** (-3.0 * np.maximum(above, below))).astype(np.float32)


def _coloured_noise(rng: np.random.Generator, power: float, seconds: int = 20) -> np.ndarray:
    """Noise whose power falls as 1/f^``power``, of unit power."""
    spectrum = scipy.fft.rfft(rng.standard_normal(seconds * SAMPLE_RATE).astype(np.float32))
    spectrum /= np.maximum(np.arange(len(spectrum)), 100).astype(np.float32) ** (power / 2)
    noise = scipy.fft.irfft(spectrum)
    return (noise / noise.std()).astype(np.float32)


def _chatter(
    rng: np.random.Generator, utterances: list[np.ndarray], seconds: int = 20, talkers: int = 6
) -> np.ndarray:
    """Several talkers at once, of unit power: speech-like, but no word of it can be made out."""
    mix = np.zeros(seconds * SAMPLE_RATE, dtype=np.float32)
    for _ in range(talkers):
        at = 0
        while at < len(mix):
            piece = utterances[int(rng.integers(len(utterances)))][: len(mix) - at]
            mix[at : at + len(piece)] += piece / max(float(piece.std()), 1e-4)
            at += len(piece)
    return mix / mix.std()


def _room(rng: np.random.Generator) -> np.ndarray:
    """A synthetic impulse response: the direct sound and a decaying tail of noise, 0.1 to 0.5 s to -60 dB."""
    decay = rng.uniform(0.1, 0.5)
    time = np.arange(int(min(decay, 0.25) * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)
