"""Removing a pulled model: what only it needs, and nothing of others."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models import locks, names, store


def remove(pulled: store.Pulled) -> int:
    """Removes a text model, and its projector with the last one that uses it; bytes that are free now.

    Raises ModelError where somebody is fetching from its repository or its projector's, or where a folder on
    the way is a link: what lies there belongs to others too.
    """
    # In one order, so that no two removals refuse each other.
    repositories = sorted({pulled.repository, store.repository_of(pulled.mmproj) or pulled.repository})
    for repository in repositories:
        folder = store.repository_folder(repository)
        for path in (folder, folder / "snapshots", folder / "blobs", *store.snapshots(repository)):
            if path.is_symlink():
                raise ModelError(
                    f"{pulled.spec}: {path} is a link to {os.readlink(path)}, where files of others may lie; "
                    "remove the files there by hand"
                )
        store.check_links(store.lock_folder(repository), str(pulled.spec))
    try:
        with ExitStack() as stack:
            for repository in repositories:
                stack.enter_context(locks.removing(store.lock_folder(repository), str(pulled.spec)))
            return _remove(pulled, repositories)
    except OSError as error:
        raise ModelError(
            f"{pulled.spec}: {error.filename or pulled.text} cannot be removed: {error.strerror or error}; "
            "check whose folder it is"
        ) from None


def _remove(pulled: store.Pulled, repositories: list[str]) -> int:
    folders = [store.repository_folder(repository) for repository in repositories]
    before = sum(map(_disk_bytes, folders))
    gone = [path.name for path in pulled.parts]
    for snapshot in store.snapshots(pulled.repository):
        for name in store.files_of(snapshot):
            if Path(name).name in gone:
                (snapshot / name).unlink()
    in_use = {other.mmproj for other in store.pulled_models()}
    for repository, folder in zip(repositories, folders, strict=True):
        for snapshot in store.snapshots(repository):
            left = [name for name in store.files_of(snapshot) if names.is_gguf(name)]
            if any(names.is_text_model(name) for name in left):
                continue
            for path in (snapshot / name for name in left):
                # Of another repository only what this model took from there.
                if path not in in_use and (repository == pulled.repository or path == pulled.mmproj):
                    path.unlink()
        _sweep(folder)
        if not any(store.files_of(snapshot) for snapshot in store.snapshots(repository)):
            shutil.rmtree(folder, ignore_errors=True)
    return before - sum(map(_disk_bytes, folders))


def _sweep(folder: Path) -> None:
    """Removes blobs that no snapshot names, and what is left of interrupted pulls."""
    places = store.cache_folder() / ".locks" / folder.name
    for blob in list((folder / "blobs").glob("*")):
        # Another program of the hub may have begun to fetch meanwhile; a blob gets its name under its lock.
        with locks.free(locks.of_blob(places, blob.name.partition(".")[0])) as nobody:
            if nobody and blob.name not in _linked(folder):
                blob.unlink(missing_ok=True)


def _linked(folder: Path) -> set[str]:
    """The blobs that snapshots name."""
    return {Path(os.readlink(path)).name for path in (folder / "snapshots").rglob("*") if path.is_symlink()}


def _disk_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
