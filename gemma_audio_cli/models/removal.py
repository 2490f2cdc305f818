"""Removing a pulled model: what only it needs, and nothing of others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models import locks, names, store


def remove(pulled: store.Pulled) -> int:
    """Removes a text model, and its projector with the last one; bytes that are free now.

    Raises ModelError where somebody is fetching from its repository, or where a folder on the way is a link:
    what lies there belongs to others too.
    """
    folder = store.repository_folder(pulled.repository)
    for path in (folder, folder / "snapshots", folder / "blobs", *store.snapshots(pulled.repository)):
        if path.is_symlink():
            raise ModelError(
                f"{pulled.spec}: {path} is a link to {os.readlink(path)}, where files of others may lie; "
                "remove the files there by hand"
            )
    store.check_links(store.lock_folder(pulled.repository), str(pulled.spec))
    try:
        with locks.removing(store.lock_folder(pulled.repository), str(pulled.spec)):
            return _remove(pulled, folder)
    except OSError as error:
        raise ModelError(
            f"{pulled.spec}: {error.filename or folder} cannot be removed: {error.strerror or error}; "
            "check whose folder it is"
        ) from None


def _remove(pulled: store.Pulled, folder: Path) -> int:
    before = _disk_bytes(folder)
    gone = [path.name for path in pulled.parts]
    for snapshot in store.snapshots(pulled.repository):
        for name in store.files_of(snapshot):
            if Path(name).name in gone:
                (snapshot / name).unlink()
        left = [name for name in store.files_of(snapshot) if names.is_gguf(name)]
        if not any(names.is_text_model(name) for name in left):
            for name in left:
                (snapshot / name).unlink()
    _sweep(folder)
    if not any(store.files_of(snapshot) for snapshot in store.snapshots(pulled.repository)):
        shutil.rmtree(folder, ignore_errors=True)
    return before - _disk_bytes(folder)


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
