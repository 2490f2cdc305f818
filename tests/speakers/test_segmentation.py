"""Windows that number their voices as they like become tracks of the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gemma_audio_cli.speakers.networks import CLASSES, FIRST_FRAME, FRAME, WINDOW
from gemma_audio_cli.speakers.segmentation import TRACKS, Segmentation
from gemma_audio_cli.speakers.voices import VoiceReader

FRAMES = 589  # of a window


class Networks:
    """Hears who speaks from the samples themselves: each has the number of a class as its value. The voices
    of every window are numbered anew, by chance.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.windows = 0

    def segment(self, windows):
        self.windows += len(windows)
        middles = FIRST_FRAME + FRAME * np.arange(FRAMES)
        logs = np.full((len(windows), FRAMES, len(CLASSES)), -20, np.float32)
        for log, window in zip(logs, windows, strict=True):
            order = self._random.permutation(TRACKS)
            renamed = [CLASSES.tolist().index(voices[order].tolist()) for voices in CLASSES]
            log[np.arange(FRAMES), np.array(renamed)[window[middles].astype(int)]] = 0
        return logs

    def embed(self, mels):
        return np.tile(np.eye(1, 192, dtype=np.float32), (len(mels), 1))


def frames_of(samples: np.ndarray) -> int:
    return max(0, (len(samples) - 991) // FRAME + 1)


def recording(turns: list[tuple[int, float]]) -> np.ndarray:
    """Samples that say which class of voices speaks, for so many seconds each."""
    return np.concatenate([np.full(round(seconds * 16_000), kind, np.float32) for kind, seconds in turns])


def segmented(samples: np.ndarray, cuts: list[int], seed: int = 0) -> np.ndarray:
    segmentation = Segmentation(Networks(seed))
    parts = [segmentation.push(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, segmentation.finish()])


# A counterexample is as long as any other here: making it smaller takes minutes.
QUICK = settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
TURNS = st.lists(st.tuples(st.integers(0, 6), st.floats(0.5, 6)), min_size=1, max_size=12)


@settings(QUICK)
@given(TURNS, st.integers(0, 2**32 - 1), st.data())
def test_every_frame_is_given_once_however_the_samples_come(turns, seed, data):
    samples = recording(turns)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=8)))
    found = segmented(samples, cuts, seed)
    assert len(found) == frames_of(samples)
    np.testing.assert_allclose(found, segmented(samples, [], seed), atol=1e-6)


@settings(QUICK)
@given(TURNS, st.integers(0, 2**32 - 1))
def test_how_many_speak_is_kept(turns, seed):
    samples = recording(turns)
    found = segmented(samples, [], seed)
    middles = FIRST_FRAME + FRAME * np.arange(len(found))
    truth = CLASSES[samples[middles].astype(int)]
    np.testing.assert_allclose(found.sum(axis=1), truth.sum(axis=1), atol=1e-3)


def test_a_voice_stays_on_its_track_while_it_speaks():
    # Each is heard in the 5 s that two windows share, or is silent in between.
    samples = recording([(1, 4.0), (2, 4.0)] * 8)
    for seed in range(5):
        found = segmented(samples, [], seed) > 0.5
        assert found.any(axis=1).all()
        track = found.argmax(axis=1)
        changes = np.flatnonzero(np.diff(track)) * FRAME / 16_000
        expected = np.arange(4.0, len(samples) / 16_000, 4.0)
        assert len(changes) == len(expected)
        np.testing.assert_allclose(changes, expected, atol=0.1)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05, 9.99, 10.0, 10.01, 15.0, 31.7])
def test_any_length(seconds):
    samples = recording([(1, seconds)]) if seconds else np.zeros(0, np.float32)
    found = segmented(samples, [len(samples) // 3])
    assert len(found) == frames_of(samples)
    assert (found.max(axis=1, initial=0) > 0.9).all()


def test_each_window_is_run_once_and_samples_are_let_go():
    networks = Networks(0)
    segmentation = Segmentation(networks)
    samples = recording([(1, 120.0)])
    for start in range(0, len(samples), 16_000):
        segmentation.push(samples[start : start + 16_000])
        assert len(segmentation._samples) <= 3 * WINDOW
    segmentation.finish()
    assert networks.windows == 24  # one every 5 s, less a little


@settings(QUICK)
@given(TURNS, st.data())
def test_stretches_do_not_depend_on_how_the_samples_come(turns, data):
    samples = recording(turns) * 0.01
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=6)))

    def read(cuts: list[int]):
        class Scaled(Networks):
            def segment(self, windows):
                return super().segment(np.round(windows * 100))

        reader = VoiceReader(Scaled(1))  # type: ignore[arg-type]
        for part in np.split(samples, cuts):
            reader.push(part)
        return reader.finish()

    ours, whole = read(cuts), read([])
    assert ours.stretches == whole.stretches
    assert ours.frames == whole.frames
    assert ours.vectors.shape == whole.vectors.shape
    rows = [row for s in ours.stretches for row in range(s.first, s.first + len(s.spans))]
    assert sorted(rows) == list(range(len(ours.vectors)))
    for stretch in ours.stretches:
        assert 0 <= stretch.start < stretch.end <= ours.frames
        assert all(stretch.start <= a < b <= stretch.end for a, b in stretch.spans)
