"""Which of several projectors in a folder belongs to a text model: by width, then by name, then by type.

    text model, projectors ──headers──► those of its width ──names──► those of its name ──► the best type

Widths are those of the tensors, names are a habit: two models may lie in one folder, each with an
`mmproj-BF16.gguf` that somebody had to rename.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.errors import ModelError, ModelNotFoundError
from gemma_audio_cli.models import names, worth
from gemma_audio_cli.models.gguf_header import Header, glimpse, read_header

PROJECTION = "mm.a.input_projection.weight"
"""The last matrix of a projector; its output has the width of the text model."""


@dataclass(frozen=True)
class _Candidate:
    path: Path
    width: int | None
    """Of the embeddings it gives."""
    hears: bool | None
    """Has it audio tensors? None where its header cannot be read."""
    kind: str
    """Its type, "" where nothing says."""


def best_beside(text: Path, projectors: Sequence[Path]) -> Path | None:
    """The projector of a text model; None where there is none.

    Where none fits, one that does not is returned, so that both files are named in what is said about it.
    Raises ModelNotFoundError where several fit equally.
    """
    if len(projectors) < 2:
        return projectors[0] if projectors else None
    width = _text_width(text)
    candidates = [_look(path) for path in projectors]
    candidates = [c for c in candidates if c.hears is not False] or candidates
    if width is not None:
        candidates = [c for c in candidates if c.width in (None, width)] or candidates
    candidates = (
        [c for c in candidates if names.base(c.path.name) == names.base(text.name)]
        # `mmproj-BF16.gguf` names no model: it belongs to whatever it lies beside.
        or [c for c in candidates if not names.base(c.path.name)]
        or candidates
    )
    if len({names.base(c.path.name) for c in candidates}) > 1:
        several = names.listed(sorted(c.path.name for c in candidates))
        raise ModelNotFoundError(
            f"several audio projectors beside {text} ({several}); choose one with --mmproj FILE"
        )
    return min(candidates, key=lambda candidate: _place(candidate, text)).path


def main_type(header: Header, prefixes: tuple[str, ...]) -> str:
    """The type of most bytes of the matrices whose names begin so; "" where there are none."""
    sizes: dict[str, int] = {}
    for tensor in header.tensors.values():
        if tensor.name.startswith(prefixes) and len(tensor.shape) > 1:
            sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.n_bytes
    return max(sizes, key=lambda kind: (sizes[kind], kind), default="")


def _text_width(text: Path) -> int | None:
    with suppress(ModelError):
        seen = glimpse(text)
        return seen.number(f"{seen.text('general.architecture')}.embedding_length")
    return None


def _look(path: Path) -> _Candidate:
    try:
        header = read_header(path)
    except ModelError:
        return _Candidate(path, None, None, names.label(path.name))
    last = header.tensors.get(PROJECTION)
    width = last.shape[1] if last and len(last.shape) > 1 else None
    kind = main_type(header, ("a.", "mm.a.")) or names.label(path.name)
    return _Candidate(path, width, last is not None, kind)


def _place(candidate: _Candidate, text: Path) -> tuple[int, bool, int, str]:
    name = candidate.path.name
    agrees = names.is_qat(name) == names.is_qat(text.name)
    return worth.projector_rank(candidate.kind), not agrees, len(name), name
