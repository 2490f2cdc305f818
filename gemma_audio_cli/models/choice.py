"""Which text model and which projector to take, out of what several sources hold.

    files by name, source by source in the catalogue's order ──► Text ──► Projector

The same rules choose on the hub and on this disk. A choice depends on names alone and not on the order in
which a source lists them. Text models: trained for Q4_0 (QAT), Q4_0, Q8_0, ..., Q4_K_M and coarser last
(worth.py); of equal ones the first source's. Projectors: BF16 first, of the text model's own source if it has
one, else of another source of the same model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.models import names, worth
from gemma_audio_cli.models.catalogue import KnownModel, catalogue, stated_projector_type
from gemma_audio_cli.models.names import TextFiles


@dataclass(frozen=True)
class Source:
    """What one place has: a repository of the hub, or a snapshot of it on this disk."""

    repository: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """A text model of a source."""

    repository: str
    files: TextFiles

    @property
    def qat(self) -> bool:
        """Was it trained for its weight type, by its name?"""
        return names.is_qat(self.repository, self.files.first)

    @property
    def kind(self) -> str:
        """The weight type as a person says it."""
        return (self.files.label or "a type not in its name") + (", QAT" if self.qat else "")


@dataclass(frozen=True)
class Projector:
    """A projector of a source."""

    repository: str
    name: str
    kind: str
    """Its type by its name or by the catalogue; "" where neither says."""


def model_of(repository: str, text: str | None = None) -> KnownModel | None:
    """The model of the catalogue that a repository holds, or that a text model's name speaks of."""
    found = next((model for model in catalogue() if repository in model.repositories), None)
    if found is not None or text is None:
        return found
    return next((model for model in catalogue() if model.base == names.base(text)), None)


def texts(source: Source) -> list[Text]:
    """Its whole text models."""
    return [Text(source.repository, files) for files in names.text_models(source.names)]


def best_text(sources: Iterable[Source], quant: str | None) -> Text | None:
    """The one of the weight type or file name that is asked for, or the first in the order of preference.

    Of equal ones the one of the first source; None where there is none.
    """
    ranked = [
        ((text_rank(text, quant), at, len(text.files.first), text.files.first), text)
        for at, source in enumerate(sources)
        for text in texts(source)
    ]
    wanted = [entry for entry in ranked if entry[0][0] is not None]
    return min(wanted, key=lambda entry: entry[0])[1] if wanted else None


def text_rank(text: Text, quant: str | None) -> tuple[int, int, bool] | None:
    """How well a text model meets what is asked for, the smallest best; None: not at all."""
    files, match = text.files, 0
    if quant is not None:
        wanted, name = quant.upper(), files.first.upper()
        levels = (
            wanted in (name, PurePosixPath(name).name),
            files.label == wanted,
            files.label.removeprefix("UD-") == wanted,
        )
        if True not in levels:
            return None
        match = levels.index(True)
    # Google trained for Q4_0. Made into another type once more, such weights lose what they were trained for.
    return match, worth.rank(files.label), text.qat != (files.label == "Q4_0")


def is_best_possible(text: Text, quant: str | None) -> bool:
    """Can no other source have one that is taken before this one?"""
    rank = text_rank(text, quant)
    if rank is None or rank[2]:
        return False
    return rank[0] <= 1 if quant is not None else rank[1] == 0


def projectors(source: Source, text: Text) -> list[Projector]:
    """Those of a source that belong to a text model, the best one first.

    Raises ModelNotFoundError where the source is the text model's own and several are of different models.
    """
    found = [name for name in source.names if names.is_mmproj(name) and names.is_gguf(name)]
    found = [name for name in found if names.helper(name) is None]
    matching = [name for name in found if names.base(name) == names.base(text.files.first)]
    # `mmproj-BF16.gguf` names no model: it belongs to whatever it lies beside.
    candidates = matching or [name for name in found if not names.base(name)]
    if not candidates and source.repository == text.repository:
        candidates = found
        if len({names.base(name) for name in candidates}) > 1:
            raise ModelNotFoundError(
                f"several audio projectors beside {text.files.first} ({names.listed(sorted(candidates))})"
            )
    return sorted(
        (Projector(source.repository, name, _type(source.repository, name)) for name in candidates),
        key=lambda projector: _place(projector, text),
    )


def best_projector(
    text: Text, own: Sequence[Projector], others: Iterable[Projector], kind: str | None = None
) -> Projector | None:
    """The projector to take: of the type asked for, else the one that hears best; own ones before others.

    Another source's is taken in place of an own one only if its type is known and better. `others` is read no
    further than needed, and must come in the order of their sources.
    """
    if kind is not None:
        wanted = kind.upper()
        return next((projector for projector in chain(own, others) if projector.kind == wanted), None)
    best = own[0] if own else None
    if best is not None and best.kind == worth.PROJECTORS[0]:
        return best
    for other in others:
        if best is None or (
            other.kind and worth.projector_rank(other.kind) < worth.projector_rank(best.kind)
        ):
            best = other
        if best.kind == worth.PROJECTORS[0]:
            break
    return best


def other_sources(text: Text, repositories: Iterable[str]) -> list[str]:
    """The other sources of the same model, in the order in which their projectors are taken.

    Those come first that were trained as the text model was.
    """
    others = [name for name in repositories if name != text.repository]
    return sorted(others, key=lambda name: names.is_qat(name) != text.qat)


def _type(repository: str, name: str) -> str:
    label = names.label(name)
    stated = stated_projector_type(repository)
    # Some projectors carry their text model's type in their name: no encoder is that coarse.
    return stated if stated and label in ("", "Q4_0") else label


def _place(projector: Projector, text: Text) -> tuple[int, bool, int, str]:
    return (
        worth.projector_rank(projector.kind),
        names.is_qat(projector.name) != names.is_qat(text.files.first),
        len(projector.name),
        projector.name,
    )
