"""What a GGUF file on this disk is, by its header: names mislead, and say nothing about files of one's own.

    path ──first keys──► "text model", "projector", "drafter", "adapter", ...

Where a header cannot be read, the name decides.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models import names
from gemma_audio_cli.models.gguf_header import Glimpse, glimpse

TEXT, PROJECTOR, OTHER = "text model", "projector", "model of another architecture"
ARCHITECTURE = "gemma4"
_TYPES = {"adapter": "adapter", "imatrix": "statistics file", "mmproj": PROJECTOR}
"""general.type of what is no text model."""


def kind(path: Path) -> str:
    """TEXT, PROJECTOR, OTHER, or what names.helper says of files that lie beside models."""
    seen: Glimpse | None = None
    with suppress(ModelError):
        seen = glimpse(path)
    by_name = names.helper(path.name)
    if seen is None:
        return PROJECTOR if names.is_mmproj(path.name) else by_name or TEXT
    architecture = (seen.text("general.architecture") or "").lower()
    by_type = _TYPES.get((seen.text("general.type") or "").lower())
    if by_type is not None:
        return by_type
    if architecture == "clip":
        return PROJECTOR
    if any(key.startswith("adapter.") for key in seen.values):
        return "adapter"
    if architecture != ARCHITECTURE:
        # `gemma4-assistant`, `dflash`, `eagle3`: each kind of drafter has an architecture of its own.
        drafts = architecture.startswith(ARCHITECTURE) or names.helper(architecture) is not None
        return "drafter" if drafts else by_name or OTHER
    return "vocabulary" if not seen.tensors else TEXT


def not_text(path: Path) -> str | None:
    """What a file is if it is no text model, by name or header; None where it is one.

    A model of another architecture counts as one: whoever names it is told why it does not run.
    """
    found = kind(path)
    if found not in (TEXT, OTHER):
        return found
    return PROJECTOR if names.is_mmproj(path.name) else names.helper(path.name)
