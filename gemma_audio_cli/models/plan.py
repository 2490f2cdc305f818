"""Which files of the hub a name stands for.

    "e2b:Q8_0" ──catalogue──► sources ──listings──► Text ──► Projector ──► Plan(files, notices, reasons)

The catalogue says which sources to ask. The hub says what is there, how large it is, and its hash.
A source is asked only if the ones before it leave something open. A source that does not answer as it should
is passed over where another has what is wanted, and is named where that makes a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gemma_audio_cli.errors import HubUnreachableError, ModelDownloadError, ModelNotFoundError, UsageError
from gemma_audio_cli.formatting import byte_size
from gemma_audio_cli.models import choice, hub, names, store, worth
from gemma_audio_cli.models.choice import Projector, Source, Text
from gemma_audio_cli.models.hub import Listing, RemoteFile
from gemma_audio_cli.models.names import Spec


@dataclass(frozen=True)
class Plan:
    """What a pull brings."""

    text: tuple[RemoteFile, ...]
    """The text model's parts, in order."""
    mmproj: RemoteFile
    """Perhaps of another repository than the text model."""
    notices: tuple[str, ...] = ()
    """What is odd about the choice, a line each."""
    reasons: tuple[str, ...] = ()
    """How it was made, a line each."""

    @property
    def repository(self) -> str:
        """The text model's."""
        return self.text[0].repository

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files, the small one first."""
        return (self.mmproj, *self.text)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)


def plan(spec: Spec, projector: str | None = None) -> Plan:
    """Which files a name stands for on the hub; `projector`: its weight type.

    Raises ModelDownloadError.
    """
    repositories = store.repositories_of(spec)
    if not repositories:
        raise UsageError(
            f"{spec.name!r} is no model; there are e2b, e4b, 12b, and OWNER/REPOSITORY[:TYPE] of the hub"
        )
    asked = _Asked()
    text = _text(spec, repositories, asked)
    found = _projector(text, projector, asked)
    listing, where = asked.listings[text.repository], asked.listings[found.repository]
    return Plan(
        tuple(listing.file(part) for part in text.files.parts),
        where.file(found.name),
        tuple(_notices(text, found, asked)),
        tuple(_reasons(spec, text, found, asked)),
    )


@dataclass
class _Asked:
    """The listings so far, each asked for once, and why some did not come."""

    listings: dict[str, Listing] = field(default_factory=dict)
    refusals: dict[str, ModelDownloadError] = field(default_factory=dict)

    def source(self, repository: str) -> Source | None:
        """What a repository has; None where it does not say. Raises HubUnreachableError."""
        if repository not in self.listings and repository not in self.refusals:
            try:
                self.listings[repository] = hub.listing(repository)
            except HubUnreachableError:
                raise
            except ModelDownloadError as error:
                self.refusals[repository] = error
        found = self.listings.get(repository)
        return Source(repository, tuple(found.names())) if found else None


def _text(spec: Spec, repositories: tuple[str, ...], asked: _Asked) -> Text:
    sources: list[Source] = []
    for repository in repositories:
        source = asked.source(repository)
        sources += [source] if source else []
        best = choice.best_text(sources, spec.quant)
        if best is not None and choice.is_best_possible(best, spec.quant):
            break
    if best is not None:
        return best
    if not asked.listings:
        # What can be mended is said first: a login before a repository that is not there.
        raise min(asked.refusals.values(), key=_is_missing)
    labels: dict[str, list[str]] = {}
    for repository, listing in asked.listings.items():
        for text in names.text_models(listing.names()):
            labels.setdefault(text.label or text.first, []).append(repository)
    name = repositories[0] if spec.is_repository else spec.name
    what = f"has no {spec.quant}" if spec.quant and labels else "has nothing to transcribe with"
    there = ", ".join(sorted(labels, key=lambda label: (worth.rank(label), label)))
    raise ModelDownloadError(f"{name} {what}; there is: {there or _nothing(asked)}{_silent(asked)}")


def _projector(text: Text, kind: str | None, asked: _Asked) -> Projector:
    own_source = asked.source(text.repository)
    assert own_source is not None
    try:
        own = choice.projectors(own_source, text)
    except ModelNotFoundError as error:
        raise ModelDownloadError(f"{text.repository}: {error}; pull another repository") from None
    model = choice.model_of(text.repository, text.files.first)
    others = choice.other_sources(text, model.repositories if model else ())
    seen: list[Projector] = list(own)

    def elsewhere() -> Iterator[Projector]:
        for repository in others:
            source = asked.source(repository)
            for projector in choice.projectors(source, text) if source else ():
                seen.append(projector)
                yield projector

    best = choice.best_projector(text, own, elsewhere(), kind)
    if best is not None:
        return best
    kinds = ", ".join(f"{p.kind or p.name} ({p.repository})" for p in dict.fromkeys(seen))
    where = "no other source of the model has one either" if others else "pull another repository"
    raise ModelDownloadError(
        f"{text.repository} has no audio projector (mmproj-*.gguf)"
        + (f" of type {kind}; there is: {kinds}" if kind and kinds else f"; {where}")
        + _silent(asked)
    )


def _notices(text: Text, projector: Projector, asked: _Asked) -> Iterator[str]:
    for error in asked.refusals.values():
        # Most sources are alternatives; one that only wants a login may be the better one.
        if not _is_missing(error):
            yield f"passed over: {error}"
    trouble = worth.trouble(text.files.label)
    if trouble is not None:
        yield f"{text.repository}: {trouble}"
    if projector.repository != text.repository:
        source = asked.source(text.repository)
        has = choice.projectors(source, text) if source else []
        kinds = " and ".join(dict.fromkeys(p.kind or p.name for p in has))
        lacks = f"has it in {kinds} only" if has else "has none"
        yield (
            f"the projector {projector.name} ({projector.kind or 'type not known'}) is that of "
            f"{projector.repository}: {text.repository} {lacks}"
        )
    trouble = worth.projector_trouble(projector.kind)
    if trouble is not None:
        yield f"{projector.repository}: {projector.name}: {trouble}"


def _reasons(spec: Spec, text: Text, projector: Projector, asked: _Asked) -> Iterator[str]:
    listing = asked.listings[text.repository]
    why = (
        f"{spec.quant} was asked for" if spec.quant else "the first in the order of preference that there is"
    )
    size = byte_size(sum(listing.file(part).size for part in text.files.parts))
    yield f"text model: {text.files.first} of {text.repository}: {text.kind}, {size}: {why}"
    beside = "beside it" if projector.repository == text.repository else f"of {projector.repository}"
    size = byte_size(asked.listings[projector.repository].file(projector.name).size)
    yield f"projector: {projector.name} {beside}: {projector.kind or 'a type not in its name'}, {size}"
    for repository, found in asked.listings.items():
        there = ", ".join(sorted({t.label or t.first for t in names.text_models(found.names())}))
        yield f"asked: {repository}: {there or 'no text model'}; {_projectors_of(found) or 'no projector'}"
        for name in sorted(found.names()):
            what = names.helper(name) if names.is_gguf(name) else None
            if what is not None:
                yield f"left out: {name} of {repository}: a {what} by its name"
    for repository, error in asked.refusals.items():
        yield f"asked: {repository}: {str(error).removeprefix(f'{repository}: ')}"


def _projectors_of(listing: Listing) -> str:
    found = sorted(name for name in listing.names() if names.is_mmproj(name) and names.is_gguf(name))
    return ", ".join(found)


def _nothing(asked: _Asked) -> str:
    """What a listing has in place of text models."""
    others = sorted(
        name for listing in asked.listings.values() for name in listing.names() if names.helper(name)
    )
    return "no text model in GGUF" + (f", only {names.listed(others)}" if others else "")


def _silent(asked: _Asked) -> str:
    """Sources that might have had what lacks."""
    found = [str(error) for error in asked.refusals.values() if not _is_missing(error)]
    return f" (not looked at: {'; '.join(found)})" if found else ""


def _is_missing(error: ModelDownloadError) -> bool:
    """Is it only that there is no such repository?"""
    return isinstance(error, hub.NotThereError)
