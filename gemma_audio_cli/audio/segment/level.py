"""Speech far too quiet or too loud, brought to the level that a model knows.

    a window's samples, which of its frames are speech ──► level of the speech ──► samples at a usual level

Twenty-four bits and floats hold speech far below, or above, the numbers of a normal recording; nothing is
lost in it, but a model hears other words. What counts is the speech in a window, not its noise, nor a click.
Where the level is anything like usual the samples stay the recording's own, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gemma_audio_cli.audio.segment.vad import FRAME, SpeechDetector
from gemma_audio_cli.errors import Notice
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from gemma_audio_cli.audio.segment.windows import Window

_QUIET = 10 ** (-46 / 20)
"""Below it speech is raised. A level is the RMS of the louder frames; peaks are some 15 dB above it."""
_LOUD, _ABOVE_SCALE = 10 ** (-8 / 20), 1.5
"""Speech above this level, in samples above this number, is lowered."""
_USUAL = 10 ** (-24 / 20)
_MAX_GAIN = 10 ** (50 / 20)
"""What is quieter still lies below the last bit of a recorder."""
_SHARE = 0.75
"""Of the frames of speech: so many are quieter than the level."""
_SPEECH = 0.5
"""Probability of speech from which on a frame counts."""


def level_of(samples: Floats, speech: Sequence[bool] | None = None) -> float:
    """RMS of the louder frames of speech in float32 [n]; 0 where there is none.

    `speech`: is it, for each frame of 512 samples; None: all of it is.
    """
    count = len(samples) // FRAME
    frames = samples[: count * FRAME].reshape(-1, FRAME) if count else samples[None, :]
    power = np.square(frames, dtype=np.float64).mean(axis=1) if len(samples) else np.zeros(0)
    if speech is not None:
        power = power[np.asarray(speech[: len(power)], dtype=bool)]
    return math.sqrt(float(np.quantile(power, _SHARE))) if len(power) else 0.0


def levelled(window: Window, speech: Sequence[bool] | None = None) -> Window:
    """The window, at a usual level where the level of its speech is far from it; `gain` says by how much.

    `speech`: is it, for each of its frames of 512 samples; None: find out, where that matters.
    """
    samples = window.samples
    if speech is None:
        if _gain(level_of(samples), samples) == 1.0:
            return window
        detector = SpeechDetector()
        speech = [detector(samples[at : at + FRAME]) >= _SPEECH for at in range(0, len(samples), FRAME)]
    gain = _gain(level_of(samples, speech), samples)
    if gain == 1.0:
        return window
    return replace(window, samples=samples * np.float32(gain), gain=gain)


def _gain(level: float, samples: Floats) -> float:
    if level > _LOUD and float(np.abs(samples).max(initial=0.0)) > _ABOVE_SCALE:
        return _USUAL / level
    return min(_USUAL / level, _MAX_GAIN) if 0 < level < _QUIET else 1.0


def odd_level(name: str, window: Window) -> str | None:
    """What a person should know of the level of a window of the recording `name`; None: nothing."""
    decibels = 20 * math.log10(window.gain)
    if decibels > 0:
        return f"{name}: the speech is very quiet; raised by {decibels:.0f} dB"
    return f"{name}: the speech is far above full scale; lowered by {-decibels:.0f} dB" if decibels else None


def report_level(windows: Iterable[Window], name: str, notice: Notice) -> Iterator[Window]:
    """The windows; the first one of an odd level is reported."""
    silent = False
    for window in windows:
        odd = None if silent else odd_level(name, window)
        if odd:
            silent = True
            notice(odd)
        yield window
