#!/usr/bin/env python3
"""Make a Gemma 4 audio model with random weights: a text GGUF and an mmproj GGUF in the public format.

    python scripts/make_random_model.py --size tiny --text-type q4_0 --mmproj-type bf16 --out /tmp/tiny

The weights mean nothing, but sizes, names, keys, types and the scale of activations are those of real files,
so the pair serves tests and measurements. The same arguments always give the same bytes. Sizes `e2b`, `e4b`
and `12b` have the shapes of the released models; `tiny` has every feature of the architecture in a few
megabytes; `blocks` is as small, with rows that every quantised type can hold. `--vocabulary` takes tokens,
merges and chat template from a GGUF file: `scripts/real_format.py vocabulary` names one with the released
262,144 tokens.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

from gguf_format import (
    MMPROJ_ARCH,
    TEXT_ARCH,
    TYPES,
    AudioShape,
    ConformerShape,
    PlannedTensor,
    RawAudioShape,
    TensorSpec,
    TextShape,
    VisionShape,
    Vocab,
    encode,
    from_gguf,
    q6_k,
    storage_type,
    synthetic_vocab,
    write_file,
    write_mmproj_keys,
    write_text_keys,
    write_vocab,
)
from gguf_format.vocab import VocabError

Array = npt.NDArray[np.generic]
FULL_VOCAB = 262144

# Each layer adds three normalised branches to the stream. In trained models one is small beside the stream,
# which keeps the rounding of quantised products from growing. Were branches as large as the stream, a tiny
# Q8_0 model's logits would differ by 6 % between llama.cpp's own attention kernels.
_BRANCH_NORMS = ("post_attention_norm.weight", "post_ffw_norm.weight", ".post_norm.weight")
_BRANCHES_TOGETHER = 1.0
"""Size of all branches of all layers together, as a multiple of the embedding's size."""


def every(period: int, layers: int) -> tuple[bool, ...]:
    """Sliding everywhere but in each `period`-th layer."""
    return tuple((i + 1) % period != 0 for i in range(layers))


TEXT_SHAPES: dict[str, TextShape] = {
    # Two K/V heads, five owning and three sharing layers of both kinds, a window short enough to be crossed.
    "tiny": TextShape(
        width=128, heads=4, head_dim=32, global_head_dim=64, kv_heads=2, ffn=256, window=16, vocab=512,
        shared=3, sliding=(True, True, False, True, False, True, True, False), double_wide=True, ple=32,
        context=4096,
    ),
    # Every row fills the blocks of 256 values that most quantised types have, as the rows of real models do.
    "blocks": TextShape(
        width=256, heads=4, head_dim=64, global_head_dim=128, kv_heads=1, ffn=256, window=16, vocab=512,
        shared=1, sliding=(True, False, True), ple=256, context=4096,
    ),
    "e2b": TextShape(
        width=1536, heads=8, head_dim=256, global_head_dim=512, kv_heads=1, ffn=6144, window=512,
        vocab=FULL_VOCAB, sliding=every(5, 35), shared=20, double_wide=True, ple=256,
    ),
    "e4b": TextShape(
        width=2560, heads=8, head_dim=256, global_head_dim=512, kv_heads=2, ffn=10240, window=512,
        vocab=FULL_VOCAB, sliding=every(6, 42), shared=18, ple=256,
    ),
    "12b": TextShape(
        width=3840, heads=16, head_dim=256, global_head_dim=512, kv_heads=8, global_kv_heads=1, ffn=15360,
        window=1024, vocab=FULL_VOCAB, sliding=every(6, 48), v_is_k=True, context=262144,
    ),
}  # fmt: skip


def audio_shape(size: str, text_width: int) -> AudioShape:
    if size == "12b":
        return RawAudioShape(text_width)
    if size == "tiny":
        return ConformerShape(
            width=64, layers=3, heads=4, text_width=text_width, channels=(128, 8), output=96
        )
    if size == "blocks":
        return ConformerShape(
            width=256, layers=1, heads=4, text_width=text_width, channels=(32, 8), output=256
        )
    return ConformerShape(width=1024, layers=12, heads=8, text_width=text_width)


def vision_shape(size: str, text_width: int) -> VisionShape:
    if size == "tiny":
        return VisionShape(width=64, layers=2, heads=2, ffn=128, text_width=text_width, positions=64)
    return VisionShape(width=768, layers=16, heads=12, ffn=3072, text_width=text_width)


class NoisePool:
    """Rows of normal noise in any storage type, cut from one encoded stretch at distinct block offsets.

    Encoding billions of values would take an hour; encoding a few million once a (type, spread) and copying
    windows of them takes seconds. Windows that overlap are shifted against each other by whole blocks, so
    rows are uncorrelated and, within a tensor of no more rows than the pool has blocks, no two are equal.
    Blocks of Q6_K are made as they are, each one anew, and their values are as often large as small.
    """

    def __init__(self, seed: int, values: int) -> None:
        self._noise = np.random.default_rng(seed).standard_normal(values, dtype=np.float32)
        self._encoded: dict[tuple[GGMLQuantizationType, float], npt.NDArray[np.uint8]] = {}

    def rows(
        self, shape: tuple[int, ...], qtype: GGMLQuantizationType, spread: float, seed: int
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the bytes of `shape[0]` rows, some at a time."""
        block, size = GGML_QUANT_SIZES[qtype]
        per_row = int(np.prod(shape[1:], dtype=np.int64)) // block
        step = max(1, (1 << 24) // (per_row * size))
        if qtype == GGMLQuantizationType.Q6_K:  # a row of a table may be one block: a pool would repeat them
            rng = np.random.default_rng(seed)
            for first in range(0, shape[0], step):
                n = min(step, shape[0] - first)
                yield q6_k.noise(rng, n * per_row, spread).reshape(n, -1)
            return
        pool = self._pool(qtype, spread)
        starts = len(pool) // size - per_row + 1
        rng = np.random.default_rng(seed)
        count = shape[0]
        offsets = (
            rng.choice(starts, count, replace=False) if count <= starts else rng.integers(0, starts, count)
        )
        windows = np.lib.stride_tricks.as_strided(pool, (starts, per_row * size), (size, 1), writeable=False)
        for first in range(0, count, step):
            yield windows[offsets[first : first + step]]

    def _pool(self, qtype: GGMLQuantizationType, spread: float) -> npt.NDArray[np.uint8]:
        key = (qtype, round(spread, 9))
        if key not in self._encoded:
            if len(self._encoded) > 12:  # a file needs few at a time; do not keep all of them
                self._encoded.clear()
            # Long rows: gguf's quantiser takes a few at a time.
            values = (self._noise * np.float32(spread)).reshape(-1, 4096)
            self._encoded[key] = np.ascontiguousarray(encode(values, qtype)).view(np.uint8).reshape(-1)
        return self._encoded[key]


class RandomWeights:
    """Values for each tensor, scaled so that activations keep their size through all layers."""

    def __init__(self, seed: int, layers: int, large: bool) -> None:
        self._seed = seed
        self._branch_gain = _BRANCHES_TOGETHER * (3 * layers) ** -0.5
        # Enough for distinct rows in a vocabulary's tables: 2^18 blocks of 32 values, and a row's length.
        self._pool = NoisePool(seed, (FULL_VOCAB + 1024) * 32 if large else 1 << 19)

    def plan(self, spec: TensorSpec, file_type: str, freqs: list[float] | None = None) -> PlannedTensor:
        qtype = storage_type(spec, file_type)
        # A tensor's values depend on its name, not on the order in which tensors are written.
        seed = zlib.crc32(spec.name.encode(), self._seed & 0xFFFFFFFF)
        if (
            spec.kind == "matrix"
            and spec.shape[-1] % GGML_QUANT_SIZES[qtype][0] == 0
            and len(spec.shape) == 2
        ):
            spread = spec.fan_in**-0.5
            return PlannedTensor(spec, qtype, lambda: self._pool.rows(spec.shape, qtype, spread, seed))
        return PlannedTensor(spec, qtype, lambda: [encode(self._small(spec, seed, freqs), qtype)])

    def _small(self, spec: TensorSpec, seed: int, freqs: list[float] | None) -> npt.NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        name = spec.name
        if spec.kind == "freqs":
            return np.asarray(freqs, dtype=np.float32)
        if spec.kind == "clamp":
            # Near the size of the activations, so that a missing clamp shows.
            bound = rng.uniform(2.0, 5.0)
            return np.full(spec.shape, -bound if name.endswith("_min") else bound, dtype=np.float32)
        if spec.kind == "scale":
            low, high = (0.4, 1.2) if "per_dim_scale" in name else (0.9, 1.1)
            return rng.uniform(low, high, spec.shape).astype(np.float32)
        if spec.kind == "norm":
            gains = rng.uniform(0.8, 1.2, spec.shape)
            if name == "output_norm.weight":
                # Signs break the tie with the input embedding, which else makes each token predict itself;
                # the factor spreads the logits so that the best token leads clearly.
                gains *= 4.0 * rng.choice([-1.0, 1.0], spec.shape)
            if name.endswith("attn_k_norm.weight"):
                gains *= 2.0 * spec.shape[0] ** -0.5  # attention has no 1/sqrt(d): the trained norms hold it
            if name.endswith(_BRANCH_NORMS):
                gains *= self._branch_gain
            return gains.astype(np.float32)
        values: npt.NDArray[np.float64] = rng.standard_normal(spec.shape) * max(1, spec.fan_in) ** -0.5
        if name == "a.conv1d.0.weight":
            # Kernels without a mean ignore the constant floor of the log-mel input.
            values -= values.mean(axis=(2, 3), keepdims=True)
        return values.astype(np.float32)


def make_pair(
    size: str,
    text_type: str,
    mmproj_type: str,
    seed: int,
    out: Path,
    vision: bool = False,
    mismatch: bool = False,
    vocab: Vocab | None = None,
) -> tuple[Path, Path]:
    """Write `SIZE-TYPE.gguf` and `mmproj-SIZE-TYPE.gguf` into `out`; returns both paths.

    vocab: None = a synthetic one of the size's length.
    """
    text = TEXT_SHAPES[size]
    vocab = vocab or synthetic_vocab(text.vocab)
    text = replace(text, vocab=len(vocab.tokens))
    audio = audio_shape(size, text.width + 32 if mismatch else text.width)
    weights = RandomWeights(seed, text.layers, large=text.vocab == FULL_VOCAB)
    name = f"Gemma 4 {size} random {seed}"

    text_path = out / f"{size}-{text_type}.gguf"
    writer = GGUFWriter(None, TEXT_ARCH)
    write_text_keys(writer, text, name, text_type)
    write_vocab(writer, vocab)
    freqs = text.rope_freqs()
    write_file(text_path, writer, (weights.plan(spec, text_type, freqs) for spec in text.tensors()))

    mmproj_path = out / f"mmproj-{size}-{mmproj_type}.gguf"
    tower = vision_shape(size, text.width) if vision and isinstance(audio, ConformerShape) else None
    writer = GGUFWriter(None, MMPROJ_ARCH)
    write_mmproj_keys(writer, audio, tower, name, mmproj_type)
    specs = [*audio.tensors(), *(tower.tensors() if tower else ())]
    write_file(mmproj_path, writer, (weights.plan(spec, mmproj_type) for spec in specs))
    return text_path, mmproj_path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=sorted(TEXT_SHAPES), default="tiny")
    parser.add_argument("--text-type", choices=sorted(TYPES), default="q4_0")
    parser.add_argument("--mmproj-type", choices=sorted(TYPES), default="bf16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="directory for the two files")
    parser.add_argument(
        "--vision", action="store_true", help="add a vision tower to the mmproj, as public files have"
    )
    parser.add_argument(
        "--width-mismatch", action="store_true", help="projector wider than the text model (for tests)"
    )
    parser.add_argument("--vocabulary", type=Path, help="GGUF file to take the vocabulary from")
    args = parser.parse_args(argv)
    if args.vision and args.size == "12b":
        parser.error("--vision: the 12B model has no vision tower in the gemma4v sense")
    try:
        vocab = from_gguf(args.vocabulary) if args.vocabulary else None
    except VocabError as error:
        print(f"make_random_model: {error}", file=sys.stderr)
        return 1
    pair = make_pair(
        args.size, args.text_type, args.mmproj_type, args.seed, args.out, args.vision, args.width_mismatch,
        vocab,
    )  # fmt: skip
    for path in pair:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
