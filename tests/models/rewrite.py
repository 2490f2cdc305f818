"""Model files with something in them changed, written anew so that the rest stays sound."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter


@dataclass(frozen=True)
class Part:
    """A tensor: its name, its data as the writer takes it, and its type."""

    name: str
    data: npt.NDArray[Any]
    kind: GGMLQuantizationType


class _Writer(GGUFWriter):
    """The package's own refuses to write empty arrays."""

    def _pack_val(
        self, val: Any, vtype: GGUFValueType, add_vtype: bool, sub_type: GGUFValueType | None = None
    ) -> bytes:
        if vtype == GGUFValueType.ARRAY and not len(val) and sub_type is not None:
            return struct.pack("<IIQ" if add_vtype else "<IQ", *([vtype] if add_vtype else []), sub_type, 0)
        return bytes(super()._pack_val(val, vtype, add_vtype, sub_type))


Value = tuple[Any, GGUFValueType]
"""A value and its type; of an array (a list) the type of its elements."""


def rewrite(
    source: Path,
    target: Path,
    values: Mapping[str, Value | None] | None = None,
    tensors: Callable[[Part], list[Part]] = lambda part: [part],
) -> Path:
    """`source` with values in place of its own (None: without that key), and other tensors for each."""
    changed = dict(values or {})
    reader = GGUFReader(source)
    kept = {
        name: (
            field.contents(),
            field.types[-1] if field.types[0] == GGUFValueType.ARRAY else field.types[0],
        )
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    }
    architecture = kept.pop("general.architecture")[0]
    writer = _Writer(target, architecture)
    for name, value in (kept | changed).items():
        if value is None:
            continue
        content, kind = value
        if isinstance(content, list):
            writer.add_key_value(name, content, GGUFValueType.ARRAY, kind)
        else:
            writer.add_key_value(name, content, kind)
    for tensor in reader.tensors:
        for part in tensors(Part(tensor.name, np.asarray(tensor.data), tensor.tensor_type)):
            writer.add_tensor(part.name, part.data, raw_dtype=part.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def tokens_of(path: Path) -> list[str]:
    """A text model's tokens."""
    return list(GGUFReader(path).fields["tokenizer.ggml.tokens"].contents())
