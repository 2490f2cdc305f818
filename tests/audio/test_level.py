"""Speech far too quiet or too loud is brought to a usual level; all else is left as it is, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.segment.level import level_of, odd_level, report_level
from gemma_audio_cli.audio.segment.segmenter import channel_windows
from gemma_audio_cli.audio.segment.windows import windows

SAMPLE = Path(__file__).resolve().parents[2] / "gemma_audio_cli" / "demo" / "sample.wav"


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Speech at a peak of 1, float32 [n]."""
    sound = soundfile.read(SAMPLE, dtype="float32")[0]
    return sound / np.abs(sound).max()


def cut(sound: np.ndarray) -> list:
    return [window for _, window in channel_windows([sound.astype(np.float32)], ())]


@pytest.mark.parametrize("decibels", [0, -6, -20, -30])
@pytest.mark.parametrize("how", [cut, lambda sound: list(windows([sound.astype(np.float32)]))])
def test_a_usual_level_is_left_alone_to_the_bit(voice, decibels, how):
    sound = (voice * 10 ** (decibels / 20)).astype(np.float32)
    (window,) = how(sound)
    begin = round(window.start * 16_000)
    np.testing.assert_array_equal(window.samples, sound[begin : begin + len(window.samples)])
    assert window.gain == 1.0
    assert odd_level("x", window) is None


@pytest.mark.parametrize("decibels", [-47, -57, -65, 10, 30, 90])
def test_speech_far_off_is_found_whole_and_brought_to_a_usual_level(voice, decibels):
    reported: list[str] = []
    (usual,) = cut(voice)
    for how in (cut, lambda sound: list(windows([sound.astype(np.float32)]))):
        (window,) = report_level(how(voice * 10 ** (decibels / 20)), "x.wav", reported.append)
        assert 0.02 < level_of(window.samples) < 0.2
        assert window.seconds > usual.seconds - 0.4
        assert (window.gain > 1) == (decibels < 0)
    assert len(reported) == 2
    assert all(("raised" if decibels < 0 else "lowered") in text for text in reported)


def test_a_click_does_not_count(voice):
    sound = voice * 10 ** (-50 / 20)
    sound[40_000] = 0.9
    (window,) = list(windows([sound.astype(np.float32)]))
    assert window.gain > 10


@pytest.mark.parametrize("decibels", [-45, -70])
@pytest.mark.parametrize("kind", ["white", "brown", "hum", "last bit"])
def test_faint_noise_does_not_become_speech(decibels, kind):
    n = 16_000 * 6
    white = np.random.default_rng(3).standard_normal(n)
    if kind == "brown":
        noise = np.fft.irfft(np.fft.rfft(white) / np.maximum(np.arange(n // 2 + 1), 30), n)
    elif kind == "hum":
        noise = np.sin(2 * np.pi * 50 * np.arange(n) / 16_000) + 0.02 * white
    else:
        noise = white
    noise = noise / np.abs(noise).max() * 10 ** (decibels / 20)
    if kind == "last bit":
        noise = np.round(white * 0.6) / 32_768
    assert cut(noise) == []
    (window, *_) = list(windows([noise.astype(np.float32)]))
    assert window.gain == 1.0  # the model is not shown noise as loud as speech


def test_a_quiet_room_behind_normal_speech_is_left_out(voice):
    hiss = 1e-3 * np.random.default_rng(1).standard_normal(16_000 * 15)
    (window,) = cut(np.concatenate([0.5 * voice, hiss]))
    assert window.end < len(voice) / 16_000 + 0.5
