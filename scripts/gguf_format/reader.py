"""Keys, vocabulary and tensors of a GGUF file, read in a second.

gguf's own reader makes an array of each string, which takes half a minute for Gemma's 777,050.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from .vocab import Vocab, VocabError

_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "mask": "mask"}


class _Keys:
    """A walk through the keys of a mapped file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def number(self, kind: str) -> Any:
        value = struct.unpack_from("<" + kind, self._data, self._at)[0]
        self._at += struct.calcsize("<" + kind)
        return value

    def text(self) -> str:
        n = self.number("Q")
        start, self._at = self._at, self._at + n
        if self._at > len(self._data):
            raise struct.error("a text reaches beyond the end")
        return self._data[start : self._at].decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            inner, n = self.number("I"), self.number("Q")
            if inner == _STRING:
                return [self.text() for _ in range(n)]
            form = f"<{n}{_FIXED[inner]}"
            values = struct.unpack_from(form, self._data, self._at)
            self._at += struct.calcsize(form)
            return list(values)
        return self.number(_FIXED[kind])

    def all(self) -> tuple[dict[str, Any], dict[str, tuple[int, int]], int]:
        """Keys; types of each key, and of an array's elements; how many tensors follow."""
        if self._data[:4] != b"GGUF" or struct.unpack_from("<I", self._data, 4)[0] != 3:
            raise ValueError("not a GGUF file of version 3")
        self._at = 8
        tensors, n = self.number("Q"), self.number("Q")
        values, kinds = {}, {}
        for _ in range(n):
            name, kind = self.text(), self.number("I")
            inner = struct.unpack_from("<I", self._data, self._at)[0] if kind == _ARRAY else kind
            values[name], kinds[name] = self.value(kind), (kind, inner)
        return values, kinds, tensors

    def align(self, to: int) -> int:
        """Where the tensors' data begin."""
        return -(-self._at // to) * to


@contextmanager
def _opened(path: Path) -> Iterator[_Keys]:
    """The file mapped; what is wrong with it becomes a `VocabError`."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield _Keys(data)
    except (OSError, ValueError, KeyError, struct.error, OverflowError, MemoryError) as error:
        if isinstance(error, VocabError):
            raise
        raise VocabError(f"{path}: {error}") from error


def keys_of(path: Path) -> dict[str, Any]:
    """All keys of a GGUF file, arrays as lists. Raises `VocabError`."""
    with _opened(path) as keys:
        return keys.all()[0]


def key_types_of(path: Path) -> dict[str, tuple[int, int]]:
    """The type of each key, and of an array's elements, as GGUF numbers them. Raises `VocabError`."""
    with _opened(path) as keys:
        return keys.all()[1]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor where it lies in its file."""

    path: Path
    shape: tuple[int, ...]
    """Output dimension first."""
    qtype: GGMLQuantizationType
    offset: int

    def rows(self) -> npt.NDArray[np.uint8]:
        """The mapped bytes, a row for each row: `[n, bytes]`."""
        block, size = GGML_QUANT_SIZES[self.qtype]
        width = self.shape[-1] // block * size
        n = int(np.prod(self.shape[:-1], dtype=np.int64))
        return np.memmap(self.path, np.uint8, "r", self.offset, (n, width))


def tensors_of(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a GGUF file. Raises `VocabError`."""
    with _opened(path) as keys:
        values, _, n = keys.all()
        found = []
        for _ in range(n):
            name, dims = keys.text(), keys.number("I")
            shape = tuple(keys.number("Q") for _ in range(dims))[::-1]
            found.append((name, shape, GGMLQuantizationType(keys.number("I")), keys.number("Q")))
        start = keys.align(values.get("general.alignment", 32))
        return {name: StoredTensor(path, shape, kind, start + at) for name, shape, kind, at in found}


def from_gguf(path: Path) -> Vocab:
    """The Gemma 4 vocabulary of a model file, or of a file that holds nothing else. Raises `VocabError`."""
    keys, t = keys_of(path), "tokenizer.ggml."
    if keys.get(t + "model") != "gemma4":
        raise VocabError(f"{path}: the vocabulary is {keys.get(t + 'model')}, not gemma4")
    for name in ("tokens", "token_type", "merges"):
        if not isinstance(keys.get(t + name), list):
            raise VocabError(f"{path}: {t}{name} is missing")
    merges = []
    for merge in keys[t + "merges"]:
        left, _, right = merge.partition(" ")
        merges.append((left, right))
    return Vocab(
        keys[t + "tokens"],
        keys[t + "token_type"],
        merges,
        {role: keys[f"{t}{name}_token_id"] for role, name in _ROLES.items() if f"{t}{name}_token_id" in keys},
        keys.get("tokenizer.chat_template"),
        keys.get(t + "suppress_tokens") or [],
    )
