"""Files of every weight type, made by libllama's own quantiser from a float32 file.

A kind is a weight type; the file gets it as the quantiser deals it out: token tables in Q6_K or Q8_0, some
matrices in a finer type, per_layer_model_proj as it was. Types under three bits need an importance matrix and
get a random one.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, ReaderTensor

from gguf_format import TensorSpec, storage_type
from gguf_format.reader import tensors_of
from oracles.apart import OracleError
from oracles.goldens import Stored, rewrite
from oracles.llamacpp import silence


@dataclass(frozen=True)
class Kind:
    """How the quantiser is asked for a type."""

    file_type: int
    importance: bool = False
    every_matrix: bool = False
    """No mixture has this type where there are no experts: it is named for the matrices of each layer."""


KINDS = {
    "F32": Kind(llama_cpp.LLAMA_FTYPE_ALL_F32),
    "F16": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_F16),
    "BF16": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_BF16),
    "Q4_0": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0),
    "Q4_1": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_1),
    "Q5_0": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_0),
    "Q5_1": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_1),
    "Q8_0": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0),
    "Q2_K": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K),
    "Q3_K": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M),
    "Q4_K": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M),
    "Q5_K": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M),
    "Q6_K": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K),
    "IQ1_S": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ1_S, importance=True),
    "IQ1_M": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ1_M, importance=True),
    "IQ2_XXS": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ2_XXS, importance=True),
    "IQ2_XS": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ2_XS, importance=True),
    "IQ2_S": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ2_M, importance=True),
    "IQ3_XXS": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ3_XXS, importance=True),
    "IQ3_S": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ3_S),
    "IQ4_NL": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL),
    "IQ4_XS": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_XS),
    "TQ1_0": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_TQ1_0),
    "TQ2_0": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_TQ2_0),
    "MXFP4": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, every_matrix=True),
    "NVFP4": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, every_matrix=True),
    "Q1_0": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, every_matrix=True),
}

MIXES = {
    "Q3_K_S": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_S),
    "Q3_K_M": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M),
    "Q3_K_L": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_L),
    "Q4_K_S": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S),
    "Q4_K_M": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M),
    "Q5_K_S": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_S),
    "Q5_K_M": Kind(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M),
}
"""What people download: a type with finer ones in some matrices, by the name of the file."""


def quantise(source: Path, target: Path, kind: str, threads: int = 1) -> dict[str, int]:
    """Write `target`, of a kind or a mix; tensors of each type in it.

    Tables of `source` may be quantised. `threads`: 0 = all processors. Raises OracleError.
    """
    silence()
    source, target = Path(source), Path(target)
    how = (KINDS | MIXES)[kind]
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype = threads, how.file_type
    params.allow_requantize = True
    table = tensors_of(source)["token_embd.weight"].qtype
    if table not in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16):
        params.token_embedding_type = table  # copied: in a real vocabulary tables are nearly all of the work
    kept = []  # what the structure points at
    if how.importance:
        kept.append(_importance(source))
        params.imatrix = kept[0]
    if how.every_matrix:
        overrides = (llama_cpp.llama_model_tensor_override * 2)()
        overrides[0].pattern = rb"blk\.\d+\..*\.weight"
        overrides[0].type = GGMLQuantizationType[kind]
        params.tt_overrides = overrides
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)):
        raise OracleError(f"libllama does not quantise {source} to {kind}")
    return _counts(target)


def quantise_tables(source: Path, target: Path) -> dict[str, int]:
    """Only the tables, to Q6_K: from such a file the other types take seconds. Raises OracleError."""
    silence()
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype = 2, llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K
    overrides = (llama_cpp.llama_model_tensor_override * 2)()
    overrides[0].pattern = rb"blk\.\d+\..*\.weight"
    overrides[0].type = GGMLQuantizationType.F32
    params.tt_overrides = overrides
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)):
        raise OracleError(f"libllama does not quantise {source}")
    return _counts(target)


def decode(path: Path, rows: dict[str, list[int]]) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors of a file in float32, by ggml; of those that `rows` names only these rows."""
    found = {}
    for name, tensor in tensors_of(path).items():
        data = tensor.rows()[rows[name]] if name in rows else tensor.rows()
        if tensor.qtype == GGMLQuantizationType.F32:
            values = np.array(data).view(np.float32)
        else:
            values = _decoded(np.ascontiguousarray(data), tensor.qtype, (len(data), tensor.shape[-1]))
        found[name] = values if name in rows else values.reshape(tensor.shape)
    return found


def widen(source: Path, target: Path) -> None:
    """A file with the values that `source` holds, in float32."""

    def wide(tensor: ReaderTensor) -> Stored:
        shape = tuple(int(n) for n in reversed(tensor.shape))
        if tensor.tensor_type == GGMLQuantizationType.F32:
            return tensor.data, tensor.tensor_type
        data = np.ascontiguousarray(tensor.data)
        return _decoded(data, tensor.tensor_type, shape), GGMLQuantizationType.F32

    rewrite(source, target, wide)


class _Traits(ctypes.Structure):
    """ggml_type_traits."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("block", ctypes.c_int64),
        ("interleave", ctypes.c_int64),
        ("size", ctypes.c_size_t),
        ("is_quantised", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float", ctypes.c_void_p),
    )


def quantise_projector(source: Path, target: Path, wide: Path, kind: str) -> dict[str, int]:
    """The audio encoder's matrices in a type, by ggml's quantiser, and the same values in float32 in `wide`.

    Tensors of each type in `target`. libllama's quantiser refuses files that hold convolutions; which tensors
    are matrices is the converter's rule.
    """
    qtype = GGMLQuantizationType[kind]

    def store(tensor: ReaderTensor, decoded: bool) -> Stored:
        values = np.asarray(tensor.data, dtype=np.float32)
        spec = TensorSpec(tensor.name, values.shape, "matrix")
        # With a type in `wanted` that takes any row, the rule says which tensors stay float32.
        if storage_type(spec, "bf16") == GGMLQuantizationType.F32 or kind == "F32":
            return values, GGMLQuantizationType.F32
        data = _encoded(values, qtype)
        return (_decoded(data, qtype, values.shape), GGMLQuantizationType.F32) if decoded else (data, qtype)

    rewrite(source, target, lambda tensor: store(tensor, decoded=False))
    rewrite(source, wide, lambda tensor: store(tensor, decoded=True))
    return _counts(target)


def _encoded(values: npt.NDArray[np.float32], qtype: GGMLQuantizationType) -> npt.NDArray[Any]:
    """Bytes `[n, row bytes]` of float32 `[n, width]`; float16 and bfloat16 as numpy and gguf take them."""
    block, size = GGML_QUANT_SIZES[qtype]
    n, width = values.shape
    data = np.zeros((n, width // block * size), np.uint8)
    weights = np.ones(width, np.float32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (np.ascontiguousarray(values), data)]
    chunk = llama_cpp.llama_cpp._lib.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    sizes = [ctypes.c_int64(number) for number in (0, n, width)]
    made = chunk(ctypes.c_int(qtype), *pointers, *sizes, ctypes.c_void_p(weights.ctypes.data))
    if made != data.nbytes:
        raise OracleError(f"ggml made {made} bytes, {data.nbytes} expected")
    return data.view(np.float16) if qtype == GGMLQuantizationType.F16 else data


def _decoded(
    data: npt.NDArray[Any], qtype: GGMLQuantizationType, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    traits = llama_cpp.llama_cpp._lib.ggml_get_type_traits
    traits.restype = ctypes.POINTER(_Traits)
    values = np.empty(shape, np.float32)
    traits(ctypes.c_int(qtype)).contents.to_float(data.ctypes.data, values.ctypes.data, values.size)
    return values


def _counts(path: Path) -> dict[str, int]:
    return dict(Counter(tensor.qtype.name for tensor in tensors_of(path).values()))


def _importance(source: Path) -> ctypes.Array[llama_cpp.llama_model_imatrix_data]:
    """Mean squares of each matrix's inputs, as if measured; ends with a nameless entry."""
    rng = np.random.default_rng(8)
    matrices = [(name, tensor) for name, tensor in tensors_of(source).items() if len(tensor.shape) == 2]
    entries = (llama_cpp.llama_model_imatrix_data * (len(matrices) + 1))()
    for entry, (name, tensor) in zip(entries, matrices, strict=False):
        values = np.square(rng.uniform(0.5, 1.5, tensor.shape[-1])).astype(np.float32)
        entry.name = name.encode()
        entry.data = (ctypes.c_float * values.size)(*values)
        entry.size = values.size
    return entries
