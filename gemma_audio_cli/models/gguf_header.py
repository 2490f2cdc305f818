"""The header of a GGUF file: keys and values, and where each tensor lies. Nothing of the weights is read.

    "GGUF" version n_tensors n_values │ key type value … │ name shape type offset … │ data

The gguf package's reader keeps every token of a vocabulary as an array of its own (seconds, and gigabytes for
a file that lies about its sizes) and answers damage with whatever exception comes first; this one skips what
is long, checks every length against the file's, and names file and tensor.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gemma_audio_cli.errors import ModelFileError, ModelFormatError
from gemma_audio_cli.formatting import printable

Scalar = int | float | bool | str

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_KEPT = 4096
"""Values of an array; longer ones are vocabularies."""
_MAX_TENSORS = 1 << 20
_MAX_NAME = 1 << 16


@dataclass(frozen=True)
class Tensor:
    """A tensor's place in its file."""

    name: str
    type: str
    """As ggml calls it: "Q4_0"."""
    shape: tuple[int, ...]
    """In ggml's order: the input dimension first."""
    offset: int
    """Bytes from the start of the file."""
    n_bytes: int

    @property
    def elements(self) -> int:
        """How many values."""
        product = 1
        for extent in self.shape:
            product *= extent
        return product


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    path: Path
    values: dict[str, Scalar | tuple[Scalar, ...]]
    """All but long arrays."""
    lengths: dict[str, int]
    """Of all arrays."""
    tensors: dict[str, Tensor]

    def text(self, key: str) -> str | None:
        """A string; None where there is none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """A whole number; of an array the largest."""
        value = self.values.get(key)
        several = value if isinstance(value, tuple) else (value,)
        whole = [v for v in several if isinstance(v, int)]
        return max(whole) if whole and len(whole) == len(several) else None


def read_header(path: Path) -> Header:
    """Raises ModelFileError or ModelFormatError, which name the file."""
    with _opened(path) as reader:
        n_tensors, n_values = reader.begin()
        values: dict[str, Scalar | tuple[Scalar, ...]] = {}
        lengths: dict[str, int] = {}
        for key, value, length in reader.key_values(n_values):
            if value is not None:
                values[key] = value
            if length is not None:
                lengths[key] = length
        alignment = values.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise reader.damaged("general.alignment is not a power of two")
        tensors = reader.tensors(n_tensors, alignment)
    return Header(path, values, lengths, tensors)


@dataclass(frozen=True)
class Glimpse:
    """The first keys of a file, those ahead of its vocabulary."""

    values: dict[str, Scalar | tuple[Scalar, ...]]
    tensors: int
    """How many there are."""

    def text(self, key: str) -> str | None:
        """A string; None where there is none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """A whole number; None where there is none."""
        value = self.values.get(key)
        return value if type(value) is int else None


def glimpse(path: Path) -> Glimpse:
    """What a file is, without reading its vocabulary. Raises as read_header does.

    Keys about the file and the network come first in files of all known writers.
    """
    with _opened(path) as reader:
        n_tensors, n_values = reader.begin()
        values: dict[str, Scalar | tuple[Scalar, ...]] = {}
        for key, value, _ in reader.key_values(n_values):
            if value is not None:
                values[key] = value
            if key.startswith("tokenizer.") and "general.architecture" in values:
                break
        return Glimpse(values, n_tensors)


def architecture(path: Path) -> str | None:
    """The file's `general.architecture`, without reading its vocabulary. Raises as read_header does."""
    return glimpse(path).text("general.architecture")


def _opened(path: Path) -> _Reader:
    try:
        return _Reader(path)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}; check the path") from None


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._in: BinaryIO = open(path, "rb", buffering=1 << 20)  # noqa: SIM115 - closed by __exit__
        self._left = self._size = self._in.seek(0, 2)
        self._in.seek(0)

    def begin(self) -> tuple[int, int]:
        """(tensors, key-value pairs) by the first bytes."""
        if self._size < 4 or self._bytes(4) != b"GGUF":
            raise ModelFormatError(f"{self._path}: not a GGUF file; check the path, or get it again")
        (version,) = self._unpack("I")
        if version not in (2, 3):
            raise ModelFormatError(f"{self._path}: GGUF version {version} is not supported; get a newer file")
        n_tensors, n_values = self._unpack("QQ")
        if n_tensors > _MAX_TENSORS:
            raise self.damaged(f"it claims to have {n_tensors} tensors")
        return int(n_tensors), int(n_values)

    def key_values(self, count: int) -> Iterator[tuple[str, Scalar | tuple[Scalar, ...] | None, int | None]]:
        """(key, value unless it is long, length of an array) of each."""
        for _ in range(count):
            key = self._string(_MAX_NAME)
            (kind,) = self._unpack("I")
            if kind == _ARRAY:
                of, length = self._unpack("IQ")
                yield key, self._array(int(of), int(length)), int(length)
            elif kind == _STRING:
                yield key, self._string(self._left), None
            else:
                yield key, self._scalar(int(kind)), None

    def tensors(self, count: int, alignment: int) -> dict[str, Tensor]:
        """All of them, each within the file."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        entries = []
        for _ in range(count):
            name = self._string(_MAX_NAME)
            (n_dims,) = self._unpack("I")
            if n_dims > 4:
                raise self.damaged(f"the tensor {name} has {n_dims} dimensions")
            shape = tuple(int(n) for n in self._unpack("Q" * n_dims))
            kind, offset = self._unpack("IQ")
            entries.append((name, shape, int(kind), int(offset)))
        start = -(-(self._size - self._left) // alignment) * alignment
        found: dict[str, Tensor] = {}
        for name, shape, kind, offset in entries:
            try:
                qtype = GGMLQuantizationType(kind)
                block, block_bytes = GGML_QUANT_SIZES[qtype]
            except (ValueError, KeyError):
                raise self.damaged(f"the tensor {name} has the unknown type {kind}") from None
            tensor = Tensor(name, qtype.name, shape, start + offset, 0)
            n_bytes = tensor.elements // block * block_bytes
            if name in found:
                raise self.damaged(f"there are two tensors {name}")
            if (shape and shape[0] % block) or offset % alignment:
                raise self.damaged(f"the tensor {name} does not lie as its type needs")
            if tensor.offset + n_bytes > self._size:
                raise ModelFormatError(
                    f"{self._path}: the file ends before the end of tensor {printable(name)}: it is "
                    "truncated (incomplete download?); get it again"
                )
            found[name] = Tensor(name, qtype.name, shape, tensor.offset, n_bytes)
        return found

    def damaged(self, what: str) -> ModelFormatError:
        """An error that names the file."""
        return ModelFormatError(f"{self._path}: {printable(what)}: the file is damaged; get it again")

    def _array(self, kind: int, length: int) -> tuple[Scalar, ...] | None:
        if kind == _STRING:
            if length > self._left // 8:
                raise self._short()
            kept: list[Scalar] = []
            for i in range(length):
                (n,) = self._unpack("Q")
                data = self._bytes(int(n))
                if length <= _LONGEST_KEPT and i < _LONGEST_KEPT:
                    kept.append(data.decode("utf-8", "replace"))
            return tuple(kept) if len(kept) == length else None
        if kind not in _FORMATS:
            raise self.damaged(f"a list of values has the unknown type {kind}")
        size = struct.calcsize(_FORMATS[kind])
        if length > self._left // size:
            raise self._short()
        if length <= _LONGEST_KEPT:
            return tuple(self._unpack(_FORMATS[kind] * length))
        self._in.seek(length * size, 1)
        self._left -= length * size
        return None

    def _scalar(self, kind: int) -> Scalar:
        if kind not in _FORMATS:
            raise self.damaged(f"a value has the unknown type {kind}")
        value: Scalar = self._unpack(_FORMATS[kind])[0]
        return value

    def _string(self, longest: int) -> str:
        (length,) = self._unpack("Q")
        if length > longest:
            raise self._short()
        return self._bytes(int(length)).decode("utf-8", "replace")

    def _unpack(self, form: str) -> tuple[Any, ...]:
        form = "<" + form
        return struct.unpack(form, self._bytes(struct.calcsize(form)))

    def _bytes(self, count: int) -> bytes:
        if count > self._left:
            raise self._short()
        try:
            data = self._in.read(count)
        except OSError as error:
            raise ModelFileError(f"{self._path}: cannot be read: {error.strerror or error}") from None
        if len(data) != count:
            raise self._short()
        self._left -= count
        return data

    def _short(self) -> ModelFormatError:
        return ModelFormatError(
            f"{self._path}: the file ends inside its header: it is truncated or damaged; get it again"
        )

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
