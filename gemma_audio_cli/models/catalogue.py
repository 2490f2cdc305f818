"""The models this program knows by a short name: catalogue.toml as data.

Order is from small to large.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KnownFile:
    """One weight type of a model. Sizes in bytes, for orientation only."""

    quantisation: str
    bytes: int
    memory: int
    """What transcribing takes at most."""


@dataclass(frozen=True)
class KnownModel:
    """A model with a short name."""

    alias: str
    name: str
    about: str
    licence: str
    prefer: tuple[str, ...]
    """Weight types, the one to take first first."""
    projector_bytes: int
    repositories: tuple[str, ...]
    """Where it is to be had, the one to ask first first."""
    files: tuple[KnownFile, ...]

    def memory(self, quantisation: str) -> int | None:
        """Bytes that transcribing takes at most; None where nobody knows."""
        return next((file.memory for file in self.files if file.quantisation == quantisation), None)


@cache
def catalogue() -> tuple[KnownModel, ...]:
    """All of them, from small to large."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = (Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8")
    return tuple(_model(entry) for entry in tomllib.loads(text)["model"])


def known(alias: str) -> KnownModel | None:
    """The model of that alias."""
    return next((model for model in catalogue() if model.alias == alias.lower()), None)


def _model(entry: dict[str, Any]) -> KnownModel:
    return KnownModel(
        alias=entry["alias"],
        name=entry["name"],
        about=entry["about"],
        licence=entry["licence"],
        prefer=tuple(entry["prefer"]),
        projector_bytes=entry["projector_bytes"],
        repositories=tuple(source["repository"] for source in entry["source"]),
        files=tuple(KnownFile(**file) for file in entry["file"]),
    )
