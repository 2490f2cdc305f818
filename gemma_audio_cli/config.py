"""Settings: flag > environment (GEMMA_AUDIO_*) > the recording's folder > config.toml > default.

config.toml lies in the platform's configuration folder (Linux: ~/.config/gemma-audio) and has plain keys:

    model = "/models/gemma-4-E2B-it-Q4_0.gguf"
    threads = 4

folder_settings.py reads the files that lie in folders of recordings.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.languages import language_name
from gemma_audio_cli.small_files import read_small

Value = str | int | float | bool
_LARGEST = 1 << 20
"""Bytes of a file of settings; people write some hundred."""
_SWITCH = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
"""What an environment variable may say, as Typer reads it too."""


# -- how the value of a setting is read: (value, where it stands) -> value; each raises UsageError --


def whole_number(text: str) -> int | None:
    """A number of at most six plain digits; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None


def threshold(value: object, source: str) -> float:
    """A probability of speech that makes sense as a threshold."""
    number = math.nan
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if not 0.05 <= number <= 0.95:
        raise UsageError(f"{source} must be a number from 0.05 to 0.95, not {value!r}")
    return number


def layers(value: object, source: str) -> int | None:
    """How many layers of the text model lie on the device; None for "auto"."""
    text = str(value)
    if text.lower() == "auto":
        return None
    number = None if isinstance(value, (bool, float)) else whole_number(text)
    if number is None:
        raise UsageError(f"{source} takes auto or a number of layers, not {value!r}")
    return number


def _layers_text(value: object, source: str) -> str:
    layers(value, source)
    return str(value)


def _text(value: object, source: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{source} must be text, not {value!r}")
    return value


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Says where a value stands that makes no sense."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def _language(value: object, source: str) -> str:
    text = _text(value, source)
    with _named(source):
        language_name(text)
    return text


def _threads(value: object, source: str) -> int:
    number = None if isinstance(value, bool) else whole_number(str(value))
    if number is None:
        raise UsageError(f"{source} must be a whole number, not {value!r}")
    from gemma_audio_cli.engine.structs import check_threads  # not needed for --help

    with _named(source):
        check_threads(number)
    return number


def _context(value: object, source: str) -> str:
    """Text, @FILE, or in a file a list of terms, which becomes a line each."""
    if isinstance(value, list) and all(isinstance(term, str) for term in value):
        return "".join(f"{one_line(term)}\n" for term in value)
    if not isinstance(value, str):
        raise UsageError(f"{source} must be text, @FILE or a list of texts, not {value!r}")
    return value.strip()


def _seconds(value: object, source: str) -> float:
    number = math.nan
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if not 1 <= number <= 3600:
        raise UsageError(f"{source} must be a number from 1 to 3600, not {value!r}")
    return number


def _megabytes(value: object, source: str) -> int:
    number = None if isinstance(value, bool) else whole_number(str(value))
    if number is None:
        raise UsageError(f"{source} must be a whole number of megabytes, not {value!r}")
    return number


def _switch(value: object, source: str) -> bool:
    on = value if isinstance(value, bool) else _SWITCH.get(str(value).strip().lower())
    if on is None:
        raise UsageError(f"{source} must be true or false, not {value!r}")
    return on


def _setting(default: Any, help: str, read: Callable[[object, str], Value] = _text) -> Any:
    return field(default=default, metadata={"help": help, "read": read})


@dataclass(frozen=True)
class Settings:
    """What environment and config.toml may set."""

    model: str | None = _setting(None, "The model, as after -m.")
    mmproj: str | None = _setting(None, "Its audio projector, if not found beside it.")
    language: str | None = _setting(None, "The language spoken.", _language)
    context: str | None = _setting(
        None, "Names and terms that may occur, or @FILE with one a line.", _context
    )
    microphone: str | None = _setting(None, "The microphone: its number or part of its name.")
    threads: int = _setting(0, "CPU threads; 0: one per physical core.", _threads)
    backend: str | None = _setting(None, "auto, cpu, or one of `gemma-audio backends`.")
    device: str | None = _setting(None, "ggml's name of a device.")
    gpu_layers: str | None = _setting(
        None, "auto, or how many of the text model's layers lie on the device.", _layers_text
    )
    audio_first: bool = _setting(
        False, "Prompts give the recording before the instruction: true or false.", _switch
    )
    vad: bool = _setting(True, "Find speech first, and leave out silence: true or false.", _switch)
    recall_seconds: float | None = _setting(
        None, "Sound that a model recalls, in seconds; what is longer is asked in passes.", _seconds
    )
    cache: bool = _setting(True, "Keep on disk what ask heard in passes: true or false.", _switch)
    cache_mb: int = _setting(2000, "Megabytes that are kept of it, at most.", _megabytes)
    vad_threshold: float | None = _setting(
        None, "The probability from which on sound is speech, 0.05 to 0.95.", threshold
    )

    speaker_models: str | None = _setting(
        None, "Folder with segmentation.onnx and embedding.onnx for --speakers, if not pulled."
    )

    def having(self, name: str, value: Value) -> Settings:
        """These with one more, whose value was checked."""
        values: dict[str, Any] = {**asdict(self), name: value}
        return Settings(**values)


HELP: dict[str, str] = {field.name: field.metadata["help"] for field in fields(Settings)}
"""Every setting, and what it means."""
NAMES = tuple(HELP)
_READ: dict[str, Callable[[object, str], Value]] = {
    field.name: field.metadata["read"] for field in fields(Settings)
}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"GEMMA_AUDIO_{name.upper()}"


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
        return read_small(path, _LARGEST)[0]
    except (FileNotFoundError, NotADirectoryError):
        return b""


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


def check(name: str, value: object, source: str) -> Value:
    """The value of a setting in its type. Raises UsageError that names the source."""
    return _READ[name](value, source)


def unknown(key: str) -> str:
    """What to say of a key that is no setting: with the nearest one, where one is near."""
    from difflib import get_close_matches

    near = get_close_matches(key, NAMES, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(NAMES))}"
    return f"no setting is called {key!r}; {hint}"


@dataclass(frozen=True)
class Stored:
    """What one file says of settings."""

    path: Path
    values: dict[str, Any]
    anchored: bool = False
    """Relative names of models in it begin in its folder."""

    def value(self, name: str) -> object:
        """As it is meant here: relative names of files that lie beside this one become whole."""
        value = self.values[name]
        if name == "context" and isinstance(value, str) and value.startswith("@") and len(value) > 1:
            return f"@{self.path.parent / Path(value[1:]).expanduser()}"
        if name == "model" and self.anchored and isinstance(value, str):
            beside = self.path.parent / value
            return str(beside) if os.path.lexists(beside) else value
        return value


def load_all(*, leave_out_wrong: bool = False, folders: Sequence[Stored] = ()) -> Loaded:
    """The settings of this process, and where they came from; `folders` stand between the environment and
    config.toml, the nearest first. Raises UsageError for a value that makes no sense; with `leave_out_wrong`
    that is a warning, and the default counts.
    """
    path = config_path()
    stored, warnings = _read(path)
    warnings += tuple(f"{path}: {unknown(key)}" for key in stored if key not in NAMES)
    files = [*folders, Stored(path, stored)]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in NAMES:
        file = next((file for file in files if name in file.values), None)
        value: object
        if os.environ.get(variable(name)):
            value = os.environ[variable(name)]
            source = told = variable(name)
        elif file is None:
            continue
        else:
            value, source, told = file.value(name), str(file.path), f"{file.path}: {name}"
        try:
            values[name] = check(name, value, told)
        except UsageError as error:
            if not leave_out_wrong:
                raise
            warnings += (str(error),)
            continue
        sources[name] = source
    if sources.get("mmproj") == str(path) and sources.get("model") in [str(file.path) for file in folders]:
        del values["mmproj"], sources["mmproj"]  # it belongs to the model beside it
    return Loaded(Settings(**values), sources, warnings)


def load() -> Settings:
    """The settings of this process."""
    return load_all().settings
