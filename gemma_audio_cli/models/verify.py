"""Are a model's files as they came, and is every weight in them a number?

    file ──sha256──► as recorded at the pull?
         ──each tensor──► dequantised, a block at a time ──► finite?
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models import store
from gemma_audio_cli.models.gguf_header import Tensor, read_header

_READ = 1 << 20
_VALUES = 1 << 20
"""Dequantised at once: 4 MB."""
_NAMED = 10
"""Bad tensors that get a line of their own."""
_INTEGERS = ("I8", "I16", "I32", "I64")


def verify(path: Path, advance: Callable[[int], None]) -> Iterator[tuple[str, bool]]:
    """(line, is it good) of each finding about a file; the last line sums up.

    `advance` is told of bytes done, twice the file's size in all.
    """
    sound, known = True, "its hash is not known"
    try:
        recorded = store.recorded_sha256(path)
        if recorded is not None:
            found = _sha256(path, advance)
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


_ZEROS = "holds only zeros, which trained weights seldom do"


def _problem(source: BinaryIO, tensor: Tensor) -> str | None:
    """What is wrong with a tensor's values."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    if tensor.type in _INTEGERS or not tensor.n_bytes:
        return None
    qtype = GGMLQuantizationType[tensor.type]
    block, block_bytes = GGML_QUANT_SIZES[qtype]
    step = max(1, _VALUES // block) * block_bytes
    source.seek(tensor.offset)
    done, nonzero = 0, False
    while done < tensor.n_bytes:
        data = np.frombuffer(source.read(min(step, tensor.n_bytes - done)), dtype=np.uint8)
        if not len(data) or len(data) % block_bytes:
            return "ends too early"
        with np.errstate(all="ignore"):
            if tensor.type == "F64":
                values = data.view(np.float64)
            else:
                try:
                    values = dequantize(data.reshape(-1, block_bytes), qtype)
                except (NotImplementedError, KeyError):
                    return None  # a type newer than the library: show tells what this program can use
            if not np.isfinite(values).all():
                place = int(np.flatnonzero(~np.isfinite(values.reshape(-1)))[0]) + done // block_bytes * block
                return f"({tensor.type}) holds a value that is not finite, number {place}"
            nonzero = nonzero or bool(values.any())
        done += len(data)
    return None if nonzero or len(tensor.shape) < 2 else _ZEROS


def _sha256(path: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_READ):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def _remedy(path: Path) -> str:
    spec = store.spec_of(path)
    return f"gemma-audio models pull {spec} fetches it again" if spec else "get the file again"
