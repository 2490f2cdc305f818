"""Settings: flag > environment (GEMMA_AUDIO_*) > config.toml > default.

config.toml lies in the platform's configuration folder (Linux: ~/.config/gemma-audio) and has plain keys:

    model = "/models/gemma-4-E2B-it-Q4_0.gguf"
    threads = 4
"""

from __future__ import annotations

import math
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gemma_audio_cli.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """What environment and config.toml may set."""

    model: str | None = None
    mmproj: str | None = None
    language: str | None = None
    microphone: str | None = None
    threads: int = 0
    backend: str | None = None
    """auto, or a back end's name."""
    device: str | None = None
    """ggml's name of a device."""
    gpu_layers: str | None = None
    """auto, or how many of the text model's layers lie on the device."""
    vad_threshold: float | None = None
    """The probability from which on sound counts as speech, 0.05 to 0.95."""


NAMES = tuple(field.name for field in fields(Settings))
_NUMBERS = ("threads",)
_LARGEST = 1 << 20
"""Bytes of a file of settings; people write some hundred."""


@dataclass(frozen=True)
class Loaded:
    """The settings, where each came from, and what is odd in the file."""

    settings: Settings
    sources: dict[str, str]
    """Of the names that are set: the variable, or the file."""
    warnings: tuple[str, ...]


def config_path() -> Path:
    """Where config.toml is read from."""
    folder = os.environ.get("GEMMA_AUDIO_CONFIG_DIR")
    if folder:
        return Path(folder) / "config.toml"
    from platformdirs import user_config_path

    return user_config_path("gemma-audio", appauthor=False) / "config.toml"


def read_file(path: Path) -> bytes:
    """The bytes of config.toml, none where it is not there. Raises UsageError for what is no file of
    settings, such as a pipe or a device, OSError where it cannot be read.
    """
    try:
        # A pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return b""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{path}: this is no regular file; put the settings into one of that name")
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise UsageError(f"{path}: this is no file of settings: it has more than {_LARGEST} bytes")
    return data


def _read(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the file says, and a warning where it cannot be read: a person may run under another's home."""
    try:
        return parse(read_file(path), path), ()
    except OSError as error:
        return {}, (f"{path}: cannot be read: {error.strerror or error}; its settings are left out",)


def parse(data: bytes, path: Path) -> dict[str, Any]:
    """What a TOML file says. Raises UsageError that names it."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return dict(tomllib.loads(data.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}; correct it by hand") from None


def load_file() -> dict[str, Any]:
    """What config.toml says, unchecked."""
    return _read(config_path())[0]


def whole_number(text: str) -> int | None:
    """A number of at most six plain digits; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None


def threshold(value: object, source: str) -> float:
    """A probability of speech that makes sense as a threshold. Raises UsageError that names the source."""
    number = math.nan
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if not 0.05 <= number <= 0.95:
        raise UsageError(f"{source} must be a number from 0.05 to 0.95, not {value!r}")
    return number


def check(name: str, value: object, source: str) -> str | int | float:
    """The value of a setting in its type. Raises UsageError that names the source."""
    if name == "vad_threshold":
        return threshold(value, source)
    if name in _NUMBERS:
        number = None if isinstance(value, bool) else whole_number(str(value))
        if number is None:
            raise UsageError(f"{source} must be a whole number, not {value!r}")
        return number
    if name == "gpu_layers" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise UsageError(f"{source} must be text, not {value!r}")
    return value


def unknown(key: str) -> str:
    """What to say of a key that is no setting: with the nearest one, where one is near."""
    from difflib import get_close_matches

    near = get_close_matches(key, NAMES, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(NAMES))}"
    return f"no setting is called {key!r}; {hint}"


def load_all() -> Loaded:
    """The settings of this process, and where they came from."""
    path = config_path()
    stored, warnings = _read(path)
    warnings += tuple(f"{path}: {unknown(key)}" for key in stored if key not in NAMES)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in NAMES:
        variable = f"GEMMA_AUDIO_{name.upper()}"
        if os.environ.get(variable):
            values[name] = check(name, os.environ[variable], variable)
            sources[name] = variable
        elif name in stored:
            values[name] = check(name, stored[name], f"{path}: {name}")
            sources[name] = str(path)
    return Loaded(Settings(**values), sources, warnings)


def load() -> Settings:
    """The settings of this process."""
    return load_all().settings
