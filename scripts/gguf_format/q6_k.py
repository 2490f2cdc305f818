"""Q6_K, the type of token tables in real files; gguf's own quantiser does not write it.

A block of 256 values is 210 bytes: the low 4 bits of 256 numbers of 0 to 63 (128 bytes), their high 2 bits
(64 bytes), a signed scale for every 16 values, and a float16 that all scales are multiplied by. A value is
`d * scale * (number - 32)`. The order of the bits is ggml's (`block_q6_K` in ggml-common.h).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK = 256
_NOISE_SCALE = 64
_UNIFORM_SPREAD = (64**2 - 1) ** 0.5 / 12**0.5
"""Standard deviation of 64 numbers in a row that are equally frequent."""


def quantise(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Blocks `[n, 210]` of float32 `[n, 256]`, each scale from the largest value of its 16.

    libllama searches for better scales; that gains a little and takes a hundred times as long.
    """
    groups = values.reshape(-1, 16, 16).astype(np.float32)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(-1, keepdims=True), -1)[..., 0]
    wanted = largest / np.float32(-32)  # so that the largest becomes -32
    top = np.take_along_axis(wanted, np.abs(wanted).argmax(-1, keepdims=True), -1)[:, 0]
    d = (top / np.float32(-128)).astype(np.float16)
    divisor = np.where(d == 0, np.float32(1), d.astype(np.float32))
    scales = np.clip(np.rint(wanted / divisor[:, None]), -128, 127).astype(np.int8)
    steps = d.astype(np.float32)[:, None] * scales
    numbers = np.clip(np.rint(groups / np.where(steps == 0, np.float32(1), steps)[..., None]), -32, 31)
    halves = (numbers.reshape(-1, 2, 4, 32) + 32).astype(np.uint8)  # 128 values each: four runs of 32
    low, high = halves & 15, halves >> 4
    ql = np.concatenate([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], axis=-1)
    qh = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    n = len(groups)
    parts = [ql.reshape(n, 128), qh.reshape(n, 64), scales.view(np.uint8), d.reshape(n, 1).view(np.uint8)]
    return np.concatenate(parts, axis=-1)


def noise(rng: np.random.Generator, blocks: int, spread: float) -> npt.NDArray[np.uint8]:
    """Random blocks `[n, 210]` with values of that standard deviation: every bit pattern is as likely.

    Hundreds of times as fast as to quantise values, and no two blocks are alike.
    """
    made = np.empty((blocks, 210), np.uint8)
    made[:, :192] = np.frombuffer(rng.bytes(blocks * 192), np.uint8).reshape(blocks, 192)
    made[:, 192:208] = _NOISE_SCALE
    d = np.float16(spread / (_UNIFORM_SPREAD * _NOISE_SCALE))
    made[:, 208:] = np.frombuffer(d.tobytes(), np.uint8)
    return made
