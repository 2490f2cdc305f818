"""Settings: flag > environment (GEMMA_AUDIO_*) > config.toml > default.

config.toml lies in the platform's configuration folder (Linux: ~/.config/gemma-audio) and has plain keys:

    model = "/models/gemma-4-E2B-it-Q4_0.gguf"
    threads = 4
"""

from __future__ import annotations

import os
import sys
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


def config_path() -> Path:
    """Where config.toml is read from."""
    folder = os.environ.get("GEMMA_AUDIO_CONFIG_DIR")
    if folder:
        return Path(folder) / "config.toml"
    from platformdirs import user_config_path

    return user_config_path("gemma-audio", appauthor=False) / "config.toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return dict(tomllib.loads(data.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def load_file() -> dict[str, Any]:
    """What config.toml says, unchecked."""
    return _read(config_path())


def load() -> Settings:
    """The settings of this process."""
    path = config_path()
    stored = _read(path)
    known = {field.name for field in fields(Settings)}
    for key in stored:
        if key not in known:
            raise UsageError(f"{path}: no setting is called {key!r}; there are {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name in known:
        source, value = f"{path}: {name}", stored.get(name)
        variable = f"GEMMA_AUDIO_{name.upper()}"
        if os.environ.get(variable):
            source, value = variable, os.environ[variable]
        if value is None:
            continue
        if name == "threads":
            if not str(value).isdecimal():
                raise UsageError(f"{source} must be a whole number, not {value!r}")
            value = int(value)
        elif not isinstance(value, str):
            raise UsageError(f"{source} must be text, not {value!r}")
        values[name] = value
    return Settings(**values)
