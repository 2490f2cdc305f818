"""Are a model's files as they came, and is every weight in them a number?

    file ──sha256──► as recorded at the pull?
         ──each tensor──► a megabyte at a time ──► are all values finite?

A file from elsewhere has no hash to compare with; its values are looked at all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models import store
from gemma_audio_cli.models.gguf_header import Tensor, read_header

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from gemma_audio_cli.models.resolve import ModelPair

_READ = 1 << 20
_NAMED = 10
"""Bad tensors that get a line of their own."""
_INTEGERS = ("I8", "I16", "I32", "I64")
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_SCALES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}  # fmt: skip
"""Where in a block its scales lie, in bytes."""


def verify(path: Path, advance: Callable[[int], None]) -> Iterator[tuple[str, bool]]:
    """(line, is it good) of each finding about a file; the last line sums up.

    `advance` gets bytes done, twice the file's size in all.
    """
    sound, known = True, "its hash is not known"
    try:
        recorded = store.recorded_sha256(path)
        if recorded is not None:
            found = sha256_of(path, advance)
            known = f"sha256 {found[:12]}... as the hub said"
            if found != recorded:
                sound = False
                wrong = f"its hash is {found[:12]}..., not {recorded[:12]}...: it is damaged"
                yield f"{path}: {wrong}; {_remedy(path)}", False
        else:
            advance(path.stat().st_size)
        tensors = read_header(path).tensors
        bad = 0
        with path.open("rb") as source:
            for tensor in tensors.values():
                problem = _problem(source, tensor)
                advance(tensor.n_bytes)
                if problem is None:
                    continue
                if problem == _ZEROS:
                    yield f"{path}: the tensor {tensor.name} {problem}", True
                    continue
                bad, sound = bad + 1, False
                if bad <= _NAMED:
                    yield f"{path}: the tensor {tensor.name} {problem}; {_remedy(path)}", False
        if bad > _NAMED:
            yield f"{path}: {bad - _NAMED} more tensors are damaged", False
    except ModelError as error:
        sound = False
        yield str(error).replace("get it again", _remedy(path)), False
    except OSError as error:
        sound = False
        yield f"{path}: cannot be read: {error.strerror or error}; {_remedy(path)}", False
    if sound:
        yield f"{path.name}: sound; {known}, {len(tensors)} tensors are finite", True


def verify_pair(pair: ModelPair) -> Iterator[tuple[str, bool]]:
    """What the engine cannot use in sound files (numbers, shapes, tokens), as (line, False)."""
    from gemma_audio_cli.engine._native import check_model

    try:
        check_model(pair.text, pair.mmproj)
    except ModelError as error:
        yield f"{error}; {_remedy(pair.text)}", False


_ZEROS = "holds only zeros, which trained weights seldom do"


def _problem(source: BinaryIO, tensor: Tensor) -> str | None:
    """What is wrong with a tensor's values."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if tensor.type in _INTEGERS or not tensor.n_bytes:
        return None
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[tensor.type]]
    step = max(1, _READ // block_bytes) * block_bytes
    source.seek(tensor.offset)
    done, nonzero = 0, False
    while done < tensor.n_bytes:
        data = np.frombuffer(source.read(min(step, tensor.n_bytes - done)), dtype=np.uint8)
        if not len(data) or len(data) % block_bytes:
            return "ends too early"
        finite = finite_blocks(data.reshape(-1, block_bytes), tensor.type)
        if not finite.all():
            place = (int(np.argmin(finite)) + done // block_bytes) * block
            which = f"number {place}" if block == 1 else f"among {place} to {place + block - 1}"
            return f"({tensor.type}) holds a value that is not finite, {which}"
        nonzero = nonzero or bool(data.any())
        done += len(data)
    return None if nonzero or len(tensor.shape) < 2 else _ZEROS


def finite_blocks(blocks: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.bool_]:
    """Which blocks uint8 [n, bytes of a block] of a weight type hold finite values only, bool [n].

    A block's values are its scales, which are halves, times small integers: they are finite where the scales
    are. Types whose scales are elsewhere are dequantised.
    """
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    if kind == "BF16":
        exponents = np.ascontiguousarray(blocks).view("<u2")[:, 0] & 0x7F80
        return np.asarray(exponents != 0x7F80)
    if kind in _FLOATS:
        return np.asarray(np.isfinite(np.ascontiguousarray(blocks).view(_FLOATS[kind])[:, 0]))
    if kind in _SCALES:
        scales = [np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2")[:, 0] for at in _SCALES[kind]]
        return np.asarray(np.logical_and.reduce([np.isfinite(scale) for scale in scales]))
    with np.errstate(all="ignore"):
        try:
            values = dequantize(blocks, GGMLQuantizationType[kind])
        except (
            NotImplementedError,
            KeyError,
        ):  # newer than the library: `show` tells what this program can use
            return np.ones(len(blocks), dtype=bool)
        return np.asarray(np.isfinite(values.reshape(len(blocks), -1)).all(axis=1))


def sha256_of(path: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_READ):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def _remedy(path: Path) -> str:
    spec = store.spec_of(path)
    return f"gemma-audio models pull {spec} fetches it again" if spec else "get the file again"
