"""Windows: nothing lost, nothing over the limit, cut where it is quiet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.segment.windows import WindowOptions, cut_point, windows
from gemma_audio_cli.errors import AudioError

RATE = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def test_a_short_recording_is_one_window():
    (window,) = windows([noise(3.0)])
    assert (window.start, window.seconds, window.end) == (0.0, 3.0, 3.0)


def test_nothing_in_nothing_out():
    assert list(windows([])) == []


def test_exactly_the_limit_is_not_cut():
    assert [w.seconds for w in windows([noise(30.0)])] == [30.0]


def test_the_cut_is_in_the_pause():
    samples = noise(40.0)
    samples[round(25.0 * RATE) : round(25.6 * RATE)] = 0
    first, second = windows([samples])
    assert 25.0 <= first.end <= 25.6
    assert second.start == first.end


def test_of_equal_pauses_the_latest_is_taken():
    samples = noise(40.0)
    for start in (23.0, 28.0):
        samples[round(start * RATE) : round((start + 0.5) * RATE)] = 0
    first, _ = windows([samples])
    assert 28.0 <= first.end <= 28.5


def test_silence_is_cut_near_the_limit():
    first, _ = windows([np.zeros(40 * RATE, dtype=np.float32)])
    assert 29.0 <= first.seconds <= 30.0


def test_cut_point_of_a_very_short_tail_is_the_end():
    assert cut_point(noise(1.0), RATE - 1600) == RATE


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30_000), max_size=60), st.integers(0, 9))
def test_windows_together_are_the_recording(sizes: list[int], seed: int):
    samples = noise(sum(sizes) / RATE, seed)
    blocks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    options = WindowOptions(max_seconds=5.0, search_seconds=2.0)
    found = list(windows(blocks, options))
    joined = np.concatenate([w.samples for w in found]) if found else np.empty(0, dtype=np.float32)
    np.testing.assert_array_equal(joined, samples)
    assert all(0 < w.seconds <= 5.0 for w in found)
    assert all(abs(a.end - b.start) < 1e-9 for a, b in itertools.pairwise(found))
    # The way the recording was sliced into blocks makes no difference.
    whole = list(windows([samples], options))
    assert [w.start for w in whole] == [w.start for w in found]


def test_what_came_before_the_damage_is_kept():
    def damaged():
        yield noise(2.0)
        raise AudioError("damaged")

    found = windows(damaged())
    assert next(found).seconds == 2.0
    with pytest.raises(AudioError):
        next(found)


def test_memory_does_not_grow_with_length():
    total = 0.0
    for window in windows(noise(1.0) for _ in range(200)):
        total += window.seconds
        assert window.samples.base is None  # no view that keeps more alive
    assert total == pytest.approx(200.0)


@pytest.mark.parametrize("options", [{"max_seconds": 31}, {"max_seconds": 0.5}, {"search_seconds": 30.0}])
def test_senseless_options_are_refused(options: dict[str, float]):
    with pytest.raises(ValueError, match="must be"):
        WindowOptions(**options)
