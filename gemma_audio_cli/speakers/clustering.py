"""Which voices are the same: embeddings into clusters.

N not given: average linkage of cosines down to a threshold. N given: spectral clustering (Ng, Jordan & Weiss,
2001; Wang et al., 2018, for voices). Both look at all pairs, so what is long is first gathered, chunk by
chunk, into small groups that are surely one voice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.sound import Floats

Labels = npt.NDArray[np.int_]

SAME_VOICE = 0.4
"""Least mean cosine of two groups for them to be one speaker."""
_SURELY = 0.75
"""The same of small groups, which need not be all of a speaker."""
_CHUNK = 1000
"""Vectors of which all pairs are looked at: 4 MB of cosines."""
_LEAST, _LEAST_SHARE = 2, 0.002
"""A speaker has so many vectors at least, and such a share of all: one that stands alone is an odd sound."""


def cluster(vectors: Floats, speakers: int | None = None, most: int = 20) -> Labels:
    """The number of a cluster for each of the vectors [n, d] of length 1; clusters count from 0.

    `speakers`: exactly so many, where there are as many vectors. `most`: no more than that.
    """
    if len(vectors) < 2:
        return np.zeros(len(vectors), int)
    groups = _gathered(vectors)
    n = int(groups.max()) + 1
    centres = np.zeros((n, vectors.shape[1]), np.float32)
    np.add.at(centres, groups, vectors)
    sizes = np.bincount(groups, minlength=n)
    centres = _unit(centres)
    if speakers is None:
        labels = _joined(centres, sizes, _linkage(centres, 1 - SAME_VOICE, most))
    else:
        labels = _spectral(centres, sizes, min(speakers, n))
    return _compact(labels[groups])


def centroids(vectors: Floats, labels: Labels) -> Floats:
    """The mean voice [k, d] of each cluster, of length 1."""
    sums = np.zeros((int(labels.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors)
    return _unit(sums)


def _gathered(vectors: Floats) -> Labels:
    """Groups that are surely of one voice each; every vector its own where there are few."""
    if len(vectors) <= _CHUNK:
        return np.arange(len(vectors))
    groups, n = np.zeros(len(vectors), int), 0
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK]
        labels = _linkage(part, 1 - _SURELY, len(part))
        groups[start : start + _CHUNK] = labels + n
        n += int(labels.max()) + 1
    return groups


def _joined(vectors: Floats, sizes: Labels, labels: Labels) -> Labels:
    """Labels in which clusters that are too small to be speakers have joined those most like them."""
    counts = np.bincount(labels, weights=sizes)
    small = counts < max(_LEAST, _LEAST_SHARE * sizes.sum())
    if sizes.sum() <= 2 * _LEAST or small.all():
        return labels
    sums = np.zeros((len(counts), vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors * sizes[:, None])
    voices = _unit(sums)
    alike = voices @ voices.T
    alike[:, small] = -2
    return np.where(small[labels], alike.argmax(axis=1)[labels], labels)


def _linkage(vectors: Floats, distance: float, most: int) -> Labels:
    """Average linkage (UPGMA) to groups at most `distance` apart, and at most `most` of them."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(vectors) < 2:
        return np.zeros(len(vectors), int)
    apart = np.clip(1 - vectors @ vectors.T, 0, 2).astype(np.float64)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), method="average")
    labels = fcluster(tree, distance, criterion="distance") - 1
    if labels.max() + 1 > most:
        labels = fcluster(tree, most, criterion="maxclust") - 1
    return np.asarray(labels, int)


def _spectral(vectors: Floats, sizes: Labels, k: int) -> Labels:
    """`k` clusters by the affinities' eigenvectors."""
    from scipy.cluster.vq import ClusterError, kmeans2
    from scipy.linalg import eigh

    if k < 2:
        return np.zeros(len(vectors), int)
    affinity = np.clip(vectors @ vectors.T, 0, 1).astype(np.float64)
    keep = max(6, round(0.1 * len(vectors)))
    if keep < len(vectors):  # each looks at its nearest only
        cut = np.partition(affinity, -keep, axis=1)[:, -keep]
        affinity[affinity < cut[:, None]] = 0
        affinity = (affinity + affinity.T) / 2
    affinity *= sizes[:, None] * sizes[None, :]
    root = 1 / np.sqrt(np.maximum(affinity.sum(axis=1), 1e-9))
    laplacian = affinity * root[:, None] * root[None, :]
    _, rows = eigh(laplacian, subset_by_index=[len(vectors) - k, len(vectors) - 1])
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    best, labels = np.inf, np.zeros(len(vectors), int)
    for seed in range(5):
        try:
            middle, found = kmeans2(rows, k, minit="++", seed=seed, missing="raise")
        except ClusterError:
            continue
        cost = float((sizes * ((rows - middle[found]) ** 2).sum(axis=1)).sum())
        if cost < best:
            best, labels = cost, found
    return np.asarray(labels, int)


def _compact(labels: Labels) -> Labels:
    return np.unique(labels, return_inverse=True)[1].astype(int)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)
