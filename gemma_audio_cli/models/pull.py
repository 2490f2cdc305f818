"""A model by name, from the hub to this disk.

    "e2b:Q8_0" ──listing──► Plan(text parts, projector) ──room?──► fetch each ──► names in the snapshot

The catalogue says which repositories to ask; what is there, how large it is and what its hash must be says
the hub.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gemma_audio_cli.errors import (
    HubUnreachableError,
    ModelDownloadError,
    ModelNotFoundError,
    Notice,
    UsageError,
)
from gemma_audio_cli.formatting import byte_size
from gemma_audio_cli.models import locks, names, store
from gemma_audio_cli.models.catalogue import known
from gemma_audio_cli.models.fetch import Advance, disk_errors, fetch, unfinished
from gemma_audio_cli.models.hub import Listing, RemoteFile, listing
from gemma_audio_cli.models.names import Spec

_MARGIN = 64 << 20
"""Bytes of a disk that are left alone."""


@dataclass(frozen=True)
class Plan:
    """What a pull brings."""

    repository: str
    commit: str
    text: tuple[RemoteFile, ...]
    """The text model's parts, in order."""
    mmproj: RemoteFile

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files, the small one first."""
        return (self.mmproj, *self.text)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    def missing_bytes(self) -> int:
        """What is not here yet."""
        return sum(max(0, file.size - _present(file)) for file in self.files)


def plan(spec: Spec, projector: str | None = None) -> Plan:
    """Which files a name stands for on the hub; `projector`: its weight type.

    An alias stands for several repositories; the first one that has what is wanted gives it. Raises
    ModelDownloadError.
    """
    repositories = store.repositories_of(spec)
    if not repositories:
        raise UsageError(
            f"{spec.name!r} is no model; there are e2b, e4b, 12b, and OWNER/REPOSITORY[:TYPE] of the hub"
        )
    refusal: ModelDownloadError | None = None
    for repository in repositories:
        try:
            return _choose(listing(repository), spec, projector)
        except HubUnreachableError:
            raise
        except ModelDownloadError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def pull(wanted: Plan, advance: Advance, notice: Notice, begin: Callable[[str], None]) -> store.Pulled:
    """Fetches what is not here; `begin` gets each file's name. Raises ModelDownloadError."""
    check_room(wanted)
    places = store.lock_folder(wanted.repository)
    paths = {}

    def waiting() -> None:
        notice(f"{wanted.repository}: somebody is removing from it; waiting")

    with ExitStack() as stack:
        with disk_errors(wanted.mmproj, places / "lock"):
            store.check_links(places, wanted.mmproj.name)
            stack.enter_context(locks.pulling(places, waiting))
        for file in wanted.files:
            begin(file.name)
            blob = _blob(file)
            with disk_errors(file, blob):
                for path in (blob, _place(file)):
                    store.check_links(path.parent, file.name)
                present = _published(file)
                if present is not None and not blob.exists():
                    # Without links the blob lies under its name: back to where it can be checked.
                    blob.parent.mkdir(parents=True, exist_ok=True)
                    present.replace(blob)
            paths[file.name] = fetch(
                file,
                blob,
                locks.of_blob(places, file.blob_name),
                advance,
                notice,
                partial(store.publish, file.repository, file.commit, file.name, blob, file.sha256),
            )
        with disk_errors(wanted.mmproj, _blob(wanted.mmproj)):
            store.set_main(wanted.repository, wanted.commit)
    parts = tuple(paths[file.name] for file in wanted.text)
    return store.Pulled(
        wanted.repository, names.label(wanted.text[0].name), parts, paths[wanted.mmproj.name], None
    )


def check_room(wanted: Plan) -> None:
    """Raises ModelDownloadError where the disk cannot hold what is missing."""
    folder = store.cache_folder()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    need, free = wanted.missing_bytes(), shutil.disk_usage(there).free
    room = max(0, free - _MARGIN)
    if need > room:
        raise ModelDownloadError(
            f"{wanted.repository}: {byte_size(need)} are to come, "
            f"but {folder} has room for {byte_size(room)}; "
            "make room there, or set HF_HUB_CACHE to a folder on another disk"
        )


def _choose(found: Listing, spec: Spec, projector: str | None) -> Plan:
    """The text model and projector that are wanted, out of a repository's files."""
    model = known(spec.name)
    texts = names.text_models(found.names())
    text = names.choose_text(texts, spec.quant, model.prefer if model else ())
    if text is None:
        labels = ", ".join(sorted({t.label or t.first for t in texts})) or "no text model in GGUF"
        what = f"has no {spec.quant}" if spec.quant and texts else "has nothing to transcribe with"
        raise ModelDownloadError(f"{found.repository} {what}; there is: {labels}")
    try:
        mmproj = names.choose_projector(text.first, found.names(), projector)
    except ModelNotFoundError as error:
        raise ModelDownloadError(f"{found.repository}: {error}; pull another repository") from None
    if mmproj is None:
        kinds = ", ".join(sorted({names.label(n) for n in found.names() if names.is_mmproj(n)}))
        raise ModelDownloadError(
            f"{found.repository} has no audio projector (mmproj-*.gguf)"
            + (f" of type {projector}; there is: {kinds}" if kinds else "; pull another repository")
        )
    return Plan(
        found.repository, found.commit, tuple(found.file(part) for part in text.parts), found.file(mmproj)
    )


def _blob(file: RemoteFile) -> Path:
    return store.repository_folder(file.repository) / "blobs" / file.blob_name


def _place(file: RemoteFile) -> Path:
    return store.repository_folder(file.repository) / "snapshots" / file.commit / file.name


def _published(file: RemoteFile) -> Path | None:
    """The file itself under its name, where links cannot be made."""
    path = _place(file)
    return path if path.is_file() and not path.is_symlink() else None


def _present(file: RemoteFile) -> int:
    blob = _blob(file)
    if blob.exists() or _published(file) is not None:
        return file.size
    return min(file.size, unfinished(blob))
