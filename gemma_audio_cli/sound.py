"""Sound as the whole program knows it: 16 kHz mono float32, in arrays of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
else:
    Floats = Any  # only annotations need it, and importing numpy takes longer than a whole --help
"""Samples or embeddings; the docstring that uses it gives the shape."""

SAMPLE_RATE = 16_000
"""Samples a second the models hear; mono float32 in [-1, 1]."""
MAX_CLIP_SECONDS = 30.0
"""Longest clip the models are trained on: 750 tokens of 40 ms."""
TOKENS_A_SECOND = 25
"""Audio tokens that the models make of a second: each stands for 40 ms."""
MIN_RATE, MAX_RATE = 1000, 1_000_000
"""Sample rates, Hz, outside of which a header is taken for damaged."""
