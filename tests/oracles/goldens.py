"""The golden files: what transformers computed once for small random models, to be checked without torch.

`tests/goldens` holds, for each case, a pair of GGUF files in float16 (the models' values are float16 numbers,
so nothing is lost) and an `.npz` with the clip and its results; `mel.npz` holds frames of the mel frontend
alone. Made by `scripts/make_goldens.py`; `manifest.json` says with what.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, ReaderTensor
from gguf.quants import dequantize

FloatArray = npt.NDArray[np.float32]

Stored = tuple[npt.NDArray[Any], GGMLQuantizationType]
"""A tensor's values, or the bytes of each row where the type has blocks."""

DIRECTORY = Path(__file__).resolve().parents[1] / "goldens"


@dataclass(frozen=True)
class Golden:
    """One clip through one model; see `oracles.hf.Truth` for the shapes."""

    samples: FloatArray
    before: list[int]
    after: list[int]
    encoder: FloatArray
    """Empty where the model has no encoder."""
    embeddings: FloatArray
    logits: FloatArray
    """Of the last positions of before + audio + after, as many as there are rows."""
    greedy: list[int]


def cases() -> list[str]:
    """Names of the stored cases; empty where there are no golden files."""
    manifest = DIRECTORY / "manifest.json"
    return sorted(json.loads(manifest.read_text())["cases"]) if manifest.is_file() else []


def load(case: str) -> Golden:
    with np.load(DIRECTORY / f"{case}.npz") as data:
        return Golden(
            samples=(data["samples"] / np.float32(32768)).astype(np.float32),
            before=data["before"].tolist(),
            after=data["after"].tolist(),
            encoder=data["encoder"],
            embeddings=data["embeddings"],
            logits=data["logits"],
            greedy=data["greedy"].tolist(),
        )


def store(case: str, golden: Golden, directory: Path = DIRECTORY) -> None:
    np.savez_compressed(
        directory / f"{case}.npz",
        samples=np.round(golden.samples * 32768).astype(np.int16),
        before=np.asarray(golden.before, dtype=np.int32),
        after=np.asarray(golden.after, dtype=np.int32),
        encoder=golden.encoder,
        embeddings=golden.embeddings,
        logits=golden.logits,
        greedy=np.asarray(golden.greedy, dtype=np.int32),
    )


def mel_cases() -> dict[str, tuple[FloatArray, FloatArray]]:
    """Name to (samples, frames `[n, 128]`)."""
    with np.load(DIRECTORY / "mel.npz") as data:
        names = sorted(name.removesuffix("_samples") for name in data.files if name.endswith("_samples"))
        return {
            name: ((data[f"{name}_samples"] / np.float32(32768)).astype(np.float32), data[f"{name}_frames"])
            for name in names
        }


def pair(case: str) -> tuple[Path, Path]:
    """The stored float16 files: text model, projector."""
    return DIRECTORY / f"{case}.gguf", DIRECTORY / f"mmproj-{case}.gguf"


def float32_pair(case: str, directory: Path) -> tuple[Path, Path]:
    """The same model in float32, so that a matrix product cannot round its inputs to float16."""
    paths = []
    for source in pair(case):
        target = directory / source.name
        if not target.is_file():
            widen(source, target)
        paths.append(target)
    return paths[0], paths[1]


def widen(source: Path, target: Path) -> None:
    """Copy a GGUF file with every tensor in float32."""

    def wide(tensor: ReaderTensor) -> Stored:
        values = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        return values.reshape([int(n) for n in reversed(tensor.shape)]), GGMLQuantizationType.F32

    rewrite(source, target, wide)


def rewrite(source: Path, target: Path, store: Callable[[ReaderTensor], Stored]) -> None:
    """Copy a GGUF file with every tensor stored in another way."""
    reader = GGUFReader(source)
    writer = GGUFWriter(None, str(reader.fields["general.architecture"].contents()))
    for key, entry in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value: Any = 0 if key == "general.file_type" else entry.contents()
        sub_type = entry.types[-1] if entry.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, entry.types[0], sub_type=sub_type)
    for tensor in reader.tensors:
        values, kind = store(tensor)
        writer.add_tensor(tensor.name, values, raw_dtype=kind)
    writer.write_header_to_file(target)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
