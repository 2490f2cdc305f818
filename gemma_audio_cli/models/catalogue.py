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
    replaced: tuple[int, ...] = ()
    """Sizes of earlier uploads of the same file."""


@dataclass(frozen=True)
class KnownModel:
    """A model with a short name."""

    alias: str
    name: str
    about: str
    licence: str
    base: str
    """What all who upload it call it in the names of their files (names.base)."""
    projector_bytes: int
    """Of the one in BF16."""
    repositories: tuple[str, ...]
    """Its sources, the one to ask first first."""
    projector_types: tuple[tuple[str, str], ...]
    """(repository, type) of projectors whose names do not say their type."""
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


def stated_projector_type(repository: str) -> str | None:
    """The type of a repository's projectors whose names do not say it; None where it is not known."""
    return next((kind for m in catalogue() for name, kind in m.projector_types if name == repository), None)


def _model(entry: dict[str, Any]) -> KnownModel:
    return KnownModel(
        alias=entry["alias"],
        name=entry["name"],
        about=entry["about"],
        licence=entry["licence"],
        base=entry["base"],
        projector_bytes=entry["projector_bytes"],
        repositories=tuple(source["repository"] for source in entry["source"]),
        projector_types=tuple(
            (source["repository"], source["projector_type"])
            for source in entry["source"]
            if "projector_type" in source
        ),
        files=tuple(
            KnownFile(**{**file, "replaced": tuple(file.get("replaced", ()))}) for file in entry["file"]
        ),
    )
