"""Settings that lie beside recordings: a file .gemma-audio.toml in their folder, or in one above it.

    talks/.gemma-audio.toml        context = "@names.txt"        for talks/ and all folders in it
    talks/monday/.gemma-audio.toml language = "German"           nearest wins, key by key

Somebody else's file is told of and left alone: recordings come from archives and shared folders, and a model
is a file that gets opened. A file is followed if it is a regular one, belongs to this person or to root, and
nobody else may write to it. Where the system knows no owners (Windows), it has to lie in the person's home.
"""

from __future__ import annotations

from pathlib import Path

from gemma_audio_cli import config, ownership
from gemma_audio_cli.config import Loaded, Stored
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.small_files import read_small

NAME = ".gemma-audio.toml"
KEYS = ("context", "language", "model")
_LARGEST = 1 << 16


class FolderSettings:
    """The settings of recordings, each by its folder. A folder is looked at once."""

    def __init__(self) -> None:
        self._loaded: dict[Path | None, Loaded] = {}
        self._stored: dict[Path, tuple[Stored | None, tuple[str, ...]]] = {}

    def of(self, recording: str | None) -> Loaded:
        """The settings for a recording, a file or a folder; None and "-" lie in no folder. The warnings are
        also those about its folders. Raises UsageError for a file of this person's that makes no sense.
        """
        folder = None if recording in (None, "-") else _folder(Path(recording))
        if folder not in self._loaded:
            self._loaded[folder] = self._load(folder)
        return self._loaded[folder]

    def _load(self, folder: Path | None) -> Loaded:
        way = [] if folder is None else [folder, *folder.parents]
        found = [self._file(place / NAME) for place in way]
        loaded = config.load_all(folders=[stored for stored, _ in found if stored is not None])
        warnings = (*loaded.warnings, *(line for _, lines in found for line in lines))
        return Loaded(loaded.settings, loaded.sources, warnings)

    def _file(self, path: Path) -> tuple[Stored | None, tuple[str, ...]]:
        if path not in self._stored:
            self._stored[path] = _read(path)
        return self._stored[path]


def _folder(path: Path) -> Path | None:
    """Where a recording lies: its folder by the name it was given, so that a link belongs where it is."""
    try:
        return path.resolve() if path.is_dir() else path.absolute().parent.resolve()
    except (OSError, RuntimeError, ValueError):  # no such place
        return None


def _read(path: Path) -> tuple[Stored | None, tuple[str, ...]]:
    try:
        data, found = read_small(path, _LARGEST, follow=False)
        reason = ownership.foreign(path, found) if ownership.KNOWN else _elsewhere(path)
    except (FileNotFoundError, NotADirectoryError):
        return None, ()
    except UsageError as error:
        reason = str(error).partition(";")[0]
    except OSError as error:
        reason = f"{path} is a link" if path.is_symlink() else f"{path}: {error.strerror or error}"
    if reason is not None:
        return None, (f"{reason}; this {NAME} is left out",)
    values = config.parse(data, path)
    odd = tuple(f"{path}: {_unknown(key)}" for key in values if key not in KEYS)
    return Stored(path, {key: values[key] for key in KEYS if key in values}, anchored=True), odd


def _elsewhere(path: Path) -> str | None:
    """Where nobody knows whose a file is: why this one is not followed; None: it lies in the home folder."""
    try:
        inside = path.is_relative_to(Path.home().resolve())
    except RuntimeError:
        inside = False
    return None if inside else f"{path} is not in your home folder"


def _unknown(key: str) -> str:
    if key in config.NAMES:
        return f"{key} is no setting of a folder; those are {', '.join(KEYS)}"
    return config.unknown(key)
