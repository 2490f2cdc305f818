"""The picture of a recording's loudness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.outline import FIRST_STEP, MOST, Outline
from gemma_audio_cli.sound import SAMPLE_RATE


def outline_of(samples: np.ndarray, *cuts: int) -> Outline:
    outline = Outline(7.5)
    for block in np.split(samples, sorted(cut % (len(samples) + 1) for cut in cuts)):
        outline.push(block)
    return outline


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 3 * MOST * FIRST_STEP), st.lists(st.integers(0, 10**8), max_size=30), st.integers(0, 99)
)
def test_each_peak_is_the_loudest_sample_of_its_time(n, cuts, seed):
    samples = np.random.default_rng(seed).random(n, np.float32) - 0.5
    found = outline_of(samples, *cuts).waveform()
    assert found.start == 7.5
    step = round(found.step * SAMPLE_RATE)
    assert step / FIRST_STEP in (1, 2, 4)
    assert step == FIRST_STEP or n > MOST * step / 2  # no coarser than it must be
    wanted = [float(np.abs(samples[at : at + step]).max()) for at in range(0, n, step)]
    assert len(wanted) <= MOST + 1
    assert found.peaks == tuple(round(255 * peak / max(wanted)) for peak in wanted)


def test_channels_are_one_picture():
    left, right = np.zeros(640, np.float32), np.zeros(640, np.float32)
    left[10], right[400] = 0.5, -0.25
    assert outline_of(np.stack([left, right], 1)).waveform().peaks == (255, 128)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_silence(n):
    assert set(outline_of(np.zeros(n, np.float32)).waveform().peaks) <= {0}
