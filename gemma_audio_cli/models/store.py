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
from dataclasses import dataclass, replace
from pathlib import Path

from gemma_audio_cli.errors import ModelDownloadError, ModelError, ModelNotFoundError
from gemma_audio_cli.models import choice, kinds, names, worth
from gemma_audio_cli.models.catalogue import KnownModel, catalogue, known
from gemma_audio_cli.models.choice import Source, Text
from gemma_audio_cli.models.gguf_header import architecture
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
    """Perhaps of another repository, which has the same model."""
    alias: str | None = None
    shadowed: bool = False
    """Does its alias mean another one that is here, of the same weight type?"""

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
        alias = None if self.shadowed else self.alias
        return Spec(alias or self.repository, self.label or None)


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
    """The pulled model of that name, the first in the order of preference; None where there is none."""
    ranked = []
    places = [(name, folder) for name in repositories_of(spec) for folder in snapshots(name)]
    for at, (repository, folder) in enumerate(places):
        for text in choice.texts(Source(repository, tuple(files_of(folder)))):
            rank = choice.text_rank(text, spec.quant)
            if rank is not None:
                ranked.append(((rank, at, len(text.files.first), text.files.first), text, folder))
    for _, text, folder in sorted(ranked, key=lambda entry: entry[0]):
        pulled = _pair(text, folder)
        if pulled is not None:
            return pulled
    return None


def projector_of(text: Path) -> Path | None:
    """The projector of a pulled text model, by its path; None for other files."""
    folder = _snapshot_of(text)
    if folder is None:
        return None
    repository = _repository_of(folder)
    for found in choice.texts(Source(repository, tuple(files_of(folder)))):
        if folder / found.files.first == text:
            pulled = _pair(found, folder)
            return pulled.mmproj if pulled else None
    return None


def pulled_models() -> Iterator[Pulled]:
    """All that can be used, those of the catalogue first, and of each file the newest."""
    specs: set[Spec] = set()
    for repository in _repositories():
        seen: set[str] = set()
        for folder in snapshots(repository):
            for text in choice.texts(Source(repository, tuple(files_of(folder)))):
                if text.files.first not in seen:
                    pulled = _pair(text, folder)
                    if pulled is not None and (pulled.alias or _is_ours(pulled.text)):
                        seen.add(text.files.first)
                        pulled = replace(pulled, shadowed=pulled.spec in specs)
                        specs.add(pulled.spec)
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
        # Where none fits, the smallest comes nearest.
        return fits, size if fits else -size, -worth.rank(pulled.label)

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


def _pair(text: Text, folder: Path) -> Pulled | None:
    """A text model of a snapshot with the best projector here; None where it has none or is no text model."""
    parts = tuple(folder / part for part in text.files.parts)
    if kinds.not_text(parts[0]) is not None:
        return None
    model = choice.model_of(text.repository, text.files.first)
    others = choice.other_sources(text, model.repositories if model else ())
    places = {text.repository: [folder]} | {name: snapshots(name) for name in others}
    found: list[tuple[choice.Projector, Path]] = []
    with suppress(ModelNotFoundError):
        for repository, folders in places.items():
            for place in folders:
                source = Source(repository, tuple(files_of(place)))
                found += [(p, place / p.name) for p in choice.projectors(source, text)]
    own = [projector for projector, _ in found if projector.repository == text.repository]
    best = choice.best_projector(text, own, [p for p, _ in found if p.repository != text.repository])
    if best is None:
        return None
    mmproj = next(path for projector, path in found if projector == best)
    alias = next((m.alias for m in catalogue() if text.repository in m.repositories), None)
    return Pulled(text.repository, text.files.label, parts, mmproj, alias)


def _is_ours(text: Path) -> bool:
    """Is this a Gemma 4 model? The cache holds what other programs have fetched too."""
    with suppress(ModelError):
        return architecture(text) == kinds.ARCHITECTURE
    return False


def _snapshot_of(path: Path) -> Path | None:
    for parent in path.parents:
        if _COMMIT.fullmatch(parent.name) and parent.parent.name == "snapshots":
            return parent
    return None


def repository_of(path: Path) -> str | None:
    """The repository that a pulled file came from; None for other files."""
    snapshot = _snapshot_of(path)
    return _repository_of(snapshot) if snapshot else None


def _repository_of(snapshot: Path) -> str:
    return snapshot.parent.parent.name.removeprefix("models--").replace("--", "/", 1)


def spec_of(path: Path) -> Spec | None:
    """What to pull to get a pulled file again; None for other files."""
    snapshot = _snapshot_of(path)
    if snapshot is None:
        return None
    repository = _repository_of(snapshot)
    if names.is_mmproj(path.name):
        # Alone it cannot be pulled. A model that uses it can, by its repository: an alias may mean another.
        for pulled in pulled_models():
            if pulled.mmproj == path:
                return Spec(pulled.repository, pulled.label or None)
        return Spec(repository) if names.is_spec(repository) else None
    return Spec(repository, names.label(path.name) or None) if names.is_spec(repository) else None
