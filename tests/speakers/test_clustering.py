"""Voices of one speaker fall together, those of others do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.speakers.clustering import centroids, cluster

pytest.importorskip("scipy")


def voices(seed: int, sizes: list[int], noise: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around one random voice a speaker, in random order, and whose each is."""
    random = np.random.default_rng(seed)
    middles = random.normal(size=(len(sizes), 192))
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    truth = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = middles[truth] + noise * random.normal(size=(len(truth), 192)) / np.sqrt(192)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), truth


def same_parts(ours: np.ndarray, truth: np.ndarray) -> bool:
    """The same division, whatever the numbers are."""
    pairs = set(zip(ours.tolist(), truth.tolist(), strict=True))
    return len(pairs) == len(set(ours.tolist())) == len(set(truth.tolist()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(5, 40), min_size=1, max_size=6))
def test_the_number_of_speakers_is_found(seed, sizes):
    vectors, truth = voices(seed, sizes)
    assert same_parts(cluster(vectors), truth)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(8, 40), min_size=1, max_size=6))
def test_the_number_of_speakers_is_given(seed, sizes):
    vectors, truth = voices(seed, sizes)
    assert same_parts(cluster(vectors, len(sizes)), truth)


def test_what_is_long_is_gathered_first():
    vectors, truth = voices(1, [1500, 900, 300, 60])
    assert same_parts(cluster(vectors), truth)
    assert same_parts(cluster(vectors, 4), truth)


def test_an_odd_sound_is_no_speaker():
    vectors, truth = voices(2, [30, 30, 1])
    labels = cluster(vectors)
    assert labels.max() == 1
    assert same_parts(labels[truth < 2], truth[truth < 2])


def test_no_more_than_wanted():
    vectors, _ = voices(3, [10] * 8)
    assert len(np.unique(cluster(vectors, most=3))) == 3
    assert len(np.unique(cluster(vectors, 5))) == 5


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("speakers", [None, 1, 2, 5])
def test_hardly_anything(n, speakers):
    vectors, _ = voices(4, [n]) if n else (np.zeros((0, 192), np.float32), None)
    labels = cluster(vectors, speakers)
    assert len(labels) == n
    assert labels.max(initial=0) < max(1, n)


def test_centroids_have_length_one():
    vectors, truth = voices(5, [9, 4])
    middles = centroids(vectors, truth)
    np.testing.assert_allclose(np.linalg.norm(middles, axis=1), 1, atol=1e-6)
    assert ((vectors @ middles.T).argmax(axis=1) == truth).all()
