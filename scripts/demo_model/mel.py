"""Log-mel features of whole batches, equal to transformers' `Gemma4AudioFeatureExtractor`, with optional
warping.

One matrix product per batch replaces the extractor's loop over clips. A filter bank whose frequencies are
stretched by a factor stands for a shorter or longer vocal tract, which costs nothing here and makes many
speakers out of few.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

SAMPLE_RATE = 16_000
FRAME, HOP, FFT, BINS, MELS = 320, 160, 512, 257, 128
FLOOR = 1e-3


@lru_cache(maxsize=64)
def filter_bank(warp: float = 1.0) -> torch.Tensor:
    """Triangular HTK filters ``[257, 128]``; ``warp`` multiplies their frequencies (bounded by 8 kHz)."""
    mel = np.linspace(0.0, 2595.0 * math.log10(1.0 + 8000.0 / 700.0), MELS + 2)
    hertz = np.minimum(700.0 * (10.0 ** (mel / 2595.0) - 1.0) * warp, 8000.0)
    bins = np.linspace(0, SAMPLE_RATE // 2, BINS)[:, None]
    # A filter squeezed to nothing at 8 kHz would divide by zero; it stays empty instead.
    width = np.maximum(np.diff(hertz), 1e-9)
    rising = (bins - hertz[None, :-2]) / width[None, :-1]
    falling = (hertz[None, 2:] - bins) / width[None, 1:]
    return torch.from_numpy(np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32))


def n_frames(samples: int) -> int:
    """Frames of a clip: a frame counts when its 321 samples, after 160 zeros on the left, are all there."""
    return max(0, (samples + FRAME // 2 - FRAME - 1) // HOP + 1)


def log_mel(clips: list[np.ndarray], warps: list[float] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Features ``[B, T, 128]`` and mask ``[B, T]`` (bool) of float32 clips of any length; masked frames are
    zero.

    ``warps`` gives each clip its own filter bank.
    """
    counts = torch.tensor([n_frames(len(clip)) for clip in clips])
    longest = int(counts.max())
    padded = np.zeros((len(clips), FRAME // 2 + max(len(clip) for clip in clips) + HOP), dtype=np.float32)
    for row, clip in zip(padded, clips, strict=True):
        row[FRAME // 2 : FRAME // 2 + len(clip)] = clip
    frames = torch.from_numpy(padded).unfold(1, FRAME, HOP)[:, :longest]
    spectrum = torch.fft.rfft(frames * _window(), n=FFT).abs()
    if warps is None:
        mel = spectrum @ filter_bank()
    else:
        mel = torch.bmm(spectrum, torch.stack([filter_bank(warp) for warp in warps]))
    mask = torch.arange(longest)[None, :] < counts[:, None]
    return torch.log(mel + FLOOR) * mask[:, :, None], mask


@lru_cache(maxsize=1)
def _window() -> torch.Tensor:
    return torch.from_numpy((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32))


def check_against_transformers() -> float:
    """The largest difference from transformers' extractor over a ragged batch; raises if the frames
    differ."""
    from transformers import Gemma4AudioFeatureExtractor

    rng = np.random.default_rng(0)
    clips = [
        (0.1 * rng.standard_normal(length)).astype(np.float32) for length in (16_000, 12_345, 8_003, 4_801)
    ]
    features, mask = log_mel(clips)
    theirs = Gemma4AudioFeatureExtractor()(clips, return_tensors="pt")
    their_mask = theirs["input_features_mask"].bool()
    if not torch.equal(their_mask.sum(1), mask.sum(1)):
        raise AssertionError(
            f"frame counts {mask.sum(1).tolist()} are not transformers' {their_mask.sum(1).tolist()}"
        )
    return float((theirs["input_features"][:, : features.shape[1]].float() - features).abs().max())
