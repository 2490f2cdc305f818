"""How tensors are stored: the type each one gets, its encoding, and streaming it to a GGUF file.

Nothing here holds a whole model, or even a whole large tensor: data come as an iterator of row
blocks, so that writing a 3 GB file takes a few hundred megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.quants import quantize

from . import q6_k
from .shapes import TensorSpec

FloatArray = npt.NDArray[np.float32]

TYPES: dict[str, GGMLQuantizationType] = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q6_k": GGMLQuantizationType.Q6_K,
    "q4_0": GGMLQuantizationType.Q4_0,
}
FILE_TYPES: dict[str, LlamaFileType] = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q6_k": LlamaFileType.MOSTLY_Q6_K,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
}
_BY_QUANTISER = ("q6_k", "q4_0")
"""Types that no converter writes: libllama's quantiser makes them of a bfloat16 file, by rules of its own."""

# Written as f32 whatever type is asked for: llama.cpp's converter matches its own rule ("_conv" in the
# checkpoint's name) against these, the input projection included because it sits in the convolution module.
# `mm.a.input_projection` of the unified model is another tensor, and a matrix like any other.
_ALWAYS_F32 = ("a.conv1d.", "a.input_projection.", "v.position_embd.")
_DEPTHWISE = ".conv_dw."

# Rows are looked up in these, and the first is the output matrix too: quantised files have them in a finer
# type.
_TABLES = ("token_embd.weight", "per_layer_token_embd.weight", "output.weight")

_BLOCK_VALUES = 1 << 22
"""Values encoded at once: 16 MB of float32."""


def storage_type(spec: TensorSpec, wanted: str) -> GGMLQuantizationType:
    """Type of a tensor in a file of type `wanted`, by the rules of llama.cpp's converter and quantiser."""
    if len(spec.shape) < 2 or not spec.name.endswith(".weight") or spec.name.endswith("_norm.weight"):
        return GGMLQuantizationType.F32
    if spec.name.startswith(_ALWAYS_F32) or _DEPTHWISE in spec.name:
        return GGMLQuantizationType.F32
    if spec.name == "v.patch_embd.weight":
        return GGMLQuantizationType.F16 if wanted == "f16" else GGMLQuantizationType.F32
    qtype = TYPES[wanted]
    if wanted in _BY_QUANTISER:
        if spec.name == "per_layer_model_proj.weight":
            return GGMLQuantizationType.BF16
        if spec.name in _TABLES:
            qtype = GGMLQuantizationType.Q6_K
        if qtype == GGMLQuantizationType.Q6_K and not _fits(spec, qtype):
            qtype = GGMLQuantizationType.Q8_0
    # Rows that do not fill the blocks of a quantised type.
    return qtype if _fits(spec, qtype) else GGMLQuantizationType.F16


def _fits(spec: TensorSpec, qtype: GGMLQuantizationType) -> bool:
    return bool(spec.shape[-1] % GGML_QUANT_SIZES[qtype][0] == 0)


def byte_size(shape: tuple[int, ...], qtype: GGMLQuantizationType) -> int:
    block, size = GGML_QUANT_SIZES[qtype]
    return int(np.prod(shape, dtype=np.int64)) // block * size


def encode(values: npt.NDArray[np.floating], qtype: GGMLQuantizationType) -> npt.NDArray[np.generic]:
    """Float rows in the storage type; the last dimension must fill whole blocks."""
    rows = np.ascontiguousarray(values, dtype=np.float32)
    if qtype == GGMLQuantizationType.Q6_K:
        return q6_k.quantise(rows.reshape(-1, q6_k.BLOCK)).reshape(*rows.shape[:-1], -1)
    return quantize(rows, qtype)


def encoded_blocks(
    values: npt.NDArray[np.generic], qtype: GGMLQuantizationType
) -> Iterator[npt.NDArray[np.generic]]:
    """Encode a (possibly memory-mapped) array row block by row block, so that little is in memory at once."""
    flat = values.reshape(-1, values.shape[-1])
    rows = max(1, _BLOCK_VALUES // flat.shape[1])
    for start in range(0, flat.shape[0], rows):
        yield encode(np.asarray(flat[start : start + rows], dtype=np.float32), qtype)


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to write, with its bytes made only when its turn comes."""

    spec: TensorSpec
    qtype: GGMLQuantizationType
    blocks: Callable[[], Iterable[npt.NDArray[np.generic]]]


class _Stream:
    """Looks like an array to `GGUFWriter.write_tensor_data`, which needs only `nbytes` and `tofile`."""

    def __init__(self, tensor: PlannedTensor) -> None:
        self._tensor = tensor
        self.nbytes = byte_size(tensor.spec.shape, tensor.qtype)

    def tofile(self, out: BinaryIO) -> None:
        written = 0
        for block in self._tensor.blocks():
            out.write(np.ascontiguousarray(block).tobytes())
            written += block.nbytes
        if written != self.nbytes:
            raise ValueError(f"{self._tensor.spec.name}: {written} bytes made, {self.nbytes} expected")


def write_file(path: Path, writer: GGUFWriter, tensors: Iterable[PlannedTensor]) -> None:
    """Write keys (already in `writer`) and tensors to `path`; the file appears only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    planned = list(tensors)
    for tensor in planned:
        size = byte_size(tensor.spec.shape, tensor.qtype)
        writer.add_tensor_info(tensor.spec.name, tensor.spec.shape, np.dtype(np.float32), size, tensor.qtype)
    try:
        writer.write_header_to_file(partial)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in planned:
            writer.write_tensor_data(cast("npt.NDArray[np.generic]", _Stream(tensor)))
        writer.close()
        os.replace(partial, path)
    except BaseException:
        writer.close()
        partial.unlink(missing_ok=True)
        raise
