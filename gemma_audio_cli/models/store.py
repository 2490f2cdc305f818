"""Where pulled models lie: the hub's own cache, in the layout that all tools of the hub share.

    HF_HUB_CACHE/models--OWNER--NAME/refs/main               commit
                                    /snapshots/COMMIT/FILE   link ──► ../../blobs/SHA256
                                    /blobs/SHA256            contents; SHA256.incomplete while it comes
                                    /sha256/COMMIT/FILE      the hash as text, only where links cannot be made

Why not a folder of our own: a model that another program of the hub has fetched is found here and not fetched
twice, HF_HOME and HF_HUB_CACHE move everything at once, and the name of a blob is the hash that it must have.
What is pulled is what lies here whole: there is no list beside it that could disagree.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.errors import ModelDownloadError
from gemma_audio_cli.models import names
from gemma_audio_cli.models.catalogue import KnownModel, catalogue, known
from gemma_audio_cli.models.names import Spec

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pulled:
    """A text model and its projector that lie here whole."""

    repository: str
    label: str
    """Weight type as the file's name has it."""
    parts: tuple[Path, ...]
    mmproj: Path
    alias: str | None = None

    @property
    def text(self) -> Path:
        """The file that stands for the text model."""
        return self.parts[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.parts, self.mmproj)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def spec(self) -> Spec:
        """What to call it after -m."""
        return Spec(self.alias or self.repository, self.label or None)


def cache_folder() -> Path:
    """The hub's cache, by the hub's usual settings."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repository_folder(repository: str) -> Path:
    """Where a repository's files lie."""
    return cache_folder() / f"models--{repository.replace('/', '--')}"


def repositories_of(spec: Spec) -> tuple[str, ...]:
    """The repositories that a name stands for, the first one first; none where it is no known alias."""
    if spec.is_repository:
        return (spec.name,)
    model = known(spec.name)
    return model.repositories if model else ()


def find(spec: Spec) -> Pulled | None:
    """The pulled model of that name; None where there is none."""
    for repository in repositories_of(spec):
        pulled = _in_repository(repository, spec.quant)
        if pulled is not None:
            return pulled
    return None


def pulled_models() -> Iterator[Pulled]:
    """All that can be used, those of the catalogue first, and of each weight type the newest."""
    for repository in _repositories():
        seen: set[str] = set()
        for folder in snapshots(repository):
            found = files_of(folder)
            for text in names.text_models(found):
                if text.first not in seen:
                    pulled = _pair(repository, folder, found, text)
                    if pulled is not None and (pulled.alias or _is_ours(pulled.text)):
                        seen.add(text.first)
                        yield pulled


def best() -> Pulled | None:
    """The largest model of the catalogue that was pulled and fits into memory, else any that was pulled."""
    from gemma_audio_cli.memory import memory

    total = memory().total
    found = list(pulled_models())

    def rank(pulled: Pulled) -> tuple[bool, int, int]:
        model = known(pulled.alias or "")
        if model is None:
            return False, 0, 0
        size = catalogue().index(model)
        fits = total is None or needed_memory(pulled, model) <= total
        types = model.prefer.index(pulled.label) if pulled.label in model.prefer else len(model.prefer)
        # Where none fits, the smallest comes nearest.
        return fits, size if fits else -size, -types

    return max(found, key=rank, default=None)


def needed_memory(pulled: Pulled, model: KnownModel | None = None) -> int:
    """Bytes of memory that transcribing takes at most: by the catalogue, else about the size of the files."""
    model = model or known(pulled.alias or "")
    return (model.memory(pulled.label) if model else None) or pulled.bytes


def recorded_sha256(path: Path) -> str | None:
    """The hash that a pulled file must have, as the hub said when it came; None for other files."""
    with suppress(OSError, ValueError):
        if path.is_symlink():
            name = Path(os.readlink(path)).name
            return name if _SHA256.fullmatch(name) else None
        folder = _snapshot_of(path)
        if folder is not None:
            note = folder.parent.parent / "sha256" / folder.name / path.relative_to(folder)
            text = note.read_text(encoding="ascii").strip()
            return text if _SHA256.fullmatch(text) else None
    return None


def publish(repository: str, commit: str, name: str, blob: Path, sha256: str | None) -> Path:
    """Gives a blob its name in the snapshot; that path.

    Where links cannot be made (Windows without developer mode) the blob itself moves there, as the hub's own
    library does it.
    """
    folder = repository_folder(repository)
    path = folder / "snapshots" / commit / name
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(blob, path.parent)
    with suppress(OSError):
        if os.readlink(path) == target:
            return path
    temporary = path.with_name(f".{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    try:
        os.symlink(target, temporary)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        if sha256 is not None:
            note = folder / "sha256" / commit / name
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(sha256 + "\n", encoding="ascii")
        os.replace(blob, path)
    return path


def set_main(repository: str, commit: str) -> None:
    """Remembers which commit `main` is."""
    from gemma_audio_cli.files import AtomicFile

    folder = repository_folder(repository) / "refs"
    folder.mkdir(parents=True, exist_ok=True)
    with AtomicFile(folder / "main") as file:
        file.write(commit)


def lock_folder(repository: str) -> Path:
    """Where the locks of a repository lie, ours and those of the hub's own programs."""
    return cache_folder() / ".locks" / repository_folder(repository).name


def check_links(folder: Path, what: str) -> None:
    """Raises ModelDownloadError where another user has put a link on the way to a folder of the cache:
    what is written there would go where that user likes.
    """
    cache = cache_folder()
    for path in (folder, *folder.parents):
        if path == cache or cache not in path.parents:
            return
        if path.is_symlink() and sys.platform != "win32" and path.lstat().st_uid not in (0, os.geteuid()):
            raise ModelDownloadError(
                f"{what}: {path} is a link of another user ({os.readlink(path)}); remove it, or set "
                "HF_HUB_CACHE to a folder of your own"
            )


def unfinished(repository: str) -> int:
    """Bytes of a repository that came before a pull was interrupted."""
    with suppress(OSError):
        blobs = repository_folder(repository) / "blobs"
        return sum(path.stat().st_size for path in blobs.iterdir() if path.name.endswith(".incomplete"))
    return 0


def _repositories() -> list[str]:
    """Repositories that lie here, those of the catalogue first."""
    mine = [name for model in catalogue() for name in model.repositories]
    here = []
    with suppress(OSError):
        for path in sorted(cache_folder().glob("models--*--*")):
            name = path.name.removeprefix("models--").replace("--", "/", 1)
            if names.is_spec(name):
                here.append(name)
    return [name for name in mine if name in here] + [name for name in here if name not in mine]


def snapshots(repository: str) -> list[Path]:
    """The snapshots of a repository: the one that `main` was last, then from new to old."""
    folder = repository_folder(repository)
    with suppress(OSError):
        found = [path for path in (folder / "snapshots").iterdir() if _COMMIT.fullmatch(path.name)]
        main = ""
        with suppress(OSError, UnicodeDecodeError):
            main = (folder / "refs" / "main").read_text(encoding="ascii").strip()
        return sorted(found, key=lambda path: (path.name == main, path.stat().st_mtime), reverse=True)
    return []


def files_of(snapshot: Path) -> list[str]:
    """The files of a snapshot whose contents are there, / between folders."""
    with suppress(OSError):
        return sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
    return []


def _in_repository(repository: str, quant: str | None) -> Pulled | None:
    model = next((m for m in catalogue() if repository in m.repositories), None)
    for folder in snapshots(repository):
        found = files_of(folder)
        text = names.choose_text(names.text_models(found), quant, model.prefer if model else ())
        pulled = _pair(repository, folder, found, text) if text else None
        if pulled is not None:
            return pulled
    return None


def _pair(repository: str, folder: Path, found: list[str], text: names.TextFiles) -> Pulled | None:
    from gemma_audio_cli.errors import ModelNotFoundError

    with suppress(ModelNotFoundError):
        mmproj = names.choose_projector(text.first, found)
        if mmproj is not None:
            alias = next((m.alias for m in catalogue() if repository in m.repositories), None)
            parts = tuple(folder / part for part in text.parts)
            return Pulled(repository, text.label, parts, folder / mmproj, alias)
    return None


def _is_ours(text: Path) -> bool:
    """Is this a Gemma 4 model? The cache holds what other programs have fetched too."""
    from gemma_audio_cli.errors import ModelError
    from gemma_audio_cli.models.gguf_header import architecture

    with suppress(ModelError):
        return architecture(text) == "gemma4"
    return False


def _snapshot_of(path: Path) -> Path | None:
    for parent in path.parents:
        if _COMMIT.fullmatch(parent.name) and parent.parent.name == "snapshots":
            return parent
    return None


def spec_of(path: Path) -> Spec | None:
    """What to pull to get a pulled file again; None for other files."""
    snapshot = _snapshot_of(path)
    if snapshot is None:
        return None
    repository = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    kind = None if names.is_mmproj(path.name) else names.label(path.name)
    return Spec(repository, kind or None) if names.is_spec(repository) else None
