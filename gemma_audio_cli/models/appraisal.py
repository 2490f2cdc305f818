"""What a pair of files is worth for hearing, by their headers and what is known of files of their kind.

headers ──► weight types, output matrix, QAT ──► Worth(..., known trouble)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.models import names, worth
from gemma_audio_cli.models.beside import main_type
from gemma_audio_cli.models.catalogue import catalogue
from gemma_audio_cli.models.gguf_header import Header

_OUTPUTS = ("output.weight", "token_embd.weight")
"""The matrix that makes tokens of the last layer: its own, or the table of embeddings once more."""
_GENERAL = "general."
_NAMES = (
    "name",
    "basename",
    "finetune",
    "quantized_by",
    "repo_url",
    "source",
    "base_model",
    "tags",
    "version",
)
"""Keys in which converters say where a model came from."""


@dataclass(frozen=True)
class Worth:
    """What is known about files like these."""

    text_type: str
    """By name and header; "" where neither says."""
    qat: bool
    """Is there a sign that the model was trained for its weight type?"""
    output_type: str | None
    output_tensor: str | None
    """Which matrix that is: "output.weight" or "token_embd.weight"."""
    projector_type: str
    """That of most bytes of the encoder's matrices; "" where it has none."""
    projector_verdict: str
    trouble: tuple[str, ...]
    """What is known against them, a line each."""


def appraise(text: list[Header], audio: Header) -> Worth:
    """Of the headers of a text model's parts and of its projector."""
    tensors = {name: tensor for header in text for name, tensor in header.tensors.items()}
    output = next((tensors[name] for name in _OUTPUTS if name in tensors), None)
    kind, projector = text_type(text), main_type(audio, ("a.", "mm.a."))
    trouble = (worth.trouble(kind), worth.projector_trouble(projector), _replaced(text))
    return Worth(
        kind,
        _is_qat(text[0]),
        output.type if output else None,
        output.name if output else None,
        projector,
        _verdict(projector),
        tuple(line for line in trouble if line is not None),
    )


def text_type(headers: list[Header]) -> str:
    """The weight type by the file's name; by its layers where they say otherwise."""
    label = names.label(headers[0].path.name)
    sizes = [main_type(header, ("blk.",)) for header in headers]
    found = next((kind for kind in sizes if kind), "")
    agrees = label.removeprefix("UD-").startswith(found) or "UD-" in label
    return label if label and agrees else _as_file_type(found)


def _as_file_type(kind: str) -> str:
    """A file whose layers are mostly Q4_K is one of Q4_K_M or Q4_K_S."""
    return f"{kind}_M" if kind in ("Q3_K", "Q4_K", "Q5_K") else kind


def _is_qat(header: Header) -> bool:
    keys = [key for key in header.values if key.startswith(_GENERAL) and key.split(".")[1] in _NAMES]
    words = [value for key in keys for value in _strings(header.values[key])]
    if names.is_qat(header.path.name, *(folder.name for folder in _named_folders(header.path)), *words):
        return True
    # Google's own E2B and E4B say it only in the name of their repository.
    return any(header.path.name.lower().endswith(f"{size}_q4_0-it.gguf") for size in ("e2b", "e4b"))


def _named_folders(path: Path) -> tuple[Path, ...]:
    """The folder a file lies in, and in the hub's cache the one that is named after its repository."""
    return (path.parent, *(folder for folder in path.parents if folder.name.startswith("models--")))


def _strings(value: object) -> list[str]:
    values = value if isinstance(value, tuple) else (value,)
    return [text for text in values if isinstance(text, str)]


def _replaced(headers: list[Header]) -> str | None:
    """Is this a file that was uploaded anew since? By its size, which is known of some."""
    if len(headers) != 1:
        return None
    size = headers[0].path.stat().st_size
    for model in catalogue():
        for file in model.files:
            if size in file.replaced:
                return (
                    f"this is an upload of before July 2026, with an older chat template; "
                    f"gemma-audio models pull {model.alias}:{file.quantisation} gets the present one"
                )
    return None


def _verdict(kind: str) -> str:
    if kind in worth.FLOATS:
        return {"BF16": "hears best", "F32": "hears best", "F16": "next to the best"}[kind]
    if kind == "Q8_0":
        return "the floor"
    return "below the floor, Q8_0" if kind else "no encoder"
