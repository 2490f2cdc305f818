"""The planned files of a model, from the hub to this disk.

Plan(text parts, projector) ──room?──► fetch each ──► names in the snapshots of their repositories
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from gemma_audio_cli.errors import ModelDownloadError, Notice
from gemma_audio_cli.formatting import byte_size
from gemma_audio_cli.models import kinds, locks, names, store
from gemma_audio_cli.models.fetch import Advance, disk_errors, fetch, unfinished
from gemma_audio_cli.models.hub import RemoteFile
from gemma_audio_cli.models.plan import Plan

_MARGIN = 64 << 20
"""Bytes of a disk that are left alone."""


def missing_bytes(files: Iterable[RemoteFile]) -> int:
    """What is not here yet."""
    return sum(max(0, file.size - _present(file)) for file in files)


def pull(wanted: Plan, advance: Advance, notice: Notice, begin: Callable[[str], None]) -> store.Pulled:
    """Fetches what is not here; `begin` gets each file's name.

    Raises ModelDownloadError, also where what came is no text model, whatever its name says.
    """
    paths = bring(wanted.files, wanted.repository, advance, notice, begin)
    parts = tuple(paths[file] for file in wanted.text)
    kind = kinds.not_text(parts[0])
    if kind is not None:
        raise ModelDownloadError(
            f"{wanted.repository}: {wanted.text[0].name} is no text model: by its header it is a {kind}; "
            "pull another file, as OWNER/REPOSITORY:FILE"
        )
    return store.Pulled(wanted.repository, names.label(wanted.text[0].name), parts, paths[wanted.mmproj])


def bring(
    files: Sequence[RemoteFile],
    what: str,
    advance: Advance,
    notice: Notice,
    begin: Callable[[str], None],
) -> dict[RemoteFile, Path]:
    """Fetches the files that are not here; where each of them is. `what` they are, for messages.

    Raises ModelDownloadError.
    """
    check_room(files, what)
    paths = {}
    repositories = sorted({file.repository: file for file in files}.values(), key=_repository)
    with ExitStack() as stack:
        # In one order, so that no two pulls wait for each other.
        for file in repositories:
            places = store.lock_folder(file.repository)
            with disk_errors(file, places / "lock"):
                store.check_links(places, file.name)
                stack.enter_context(locks.pulling(places, partial(notice, _removing(file.repository))))
        for file in files:
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
            paths[file] = fetch(
                file,
                blob,
                locks.of_blob(store.lock_folder(file.repository), file.blob_name),
                advance,
                notice,
                partial(store.publish, file.repository, file.commit, file.name, blob, file.sha256),
            )
        for file in repositories:
            with disk_errors(file, _blob(file)):
                store.set_main(file.repository, file.commit)
    return paths


def check_room(files: Iterable[RemoteFile], what: str) -> None:
    """Raises ModelDownloadError where the disk cannot hold what is missing."""
    folder = store.cache_folder()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    need, free = missing_bytes(files), shutil.disk_usage(there).free
    room = max(0, free - _MARGIN)
    if need > room:
        raise ModelDownloadError(
            f"{what}: {byte_size(need)} are to come, "
            f"but {folder} has room for {byte_size(room)}; "
            "make room there, or set HF_HUB_CACHE to a folder on another disk"
        )


def _repository(file: RemoteFile) -> str:
    return file.repository


def _removing(repository: str) -> str:
    return f"{repository}: somebody is removing from it; waiting"


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
