"""What the shell offers after an option: models, backends, devices, formats.

A completer gets what is typed so far. It must answer at once and never fail: what goes wrong offers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import typer


def models(incomplete: str) -> list[str]:
    """Aliases, GGUF files of text models, and folders on the way to them."""
    from gemma_audio_cli.models.catalogue import catalogue

    aliases = ("demo", *(model.alias for model in catalogue()))
    return [*_starting(aliases, incomplete), *_files(incomplete, projector=False)]


def projectors(incomplete: str) -> list[str]:
    """GGUF files with mmproj in their name, and folders."""
    return _files(incomplete, projector=True)


def backends(incomplete: str) -> list[str]:
    """auto and the names of the table."""
    from gemma_audio_cli.backends.table import NAMES

    return _starting(("auto", *NAMES), incomplete)


def devices(context: typer.Context, incomplete: str) -> list[str]:
    """The devices of the backend that was typed before, or that a run without options would use."""
    with suppress(Exception):
        from gemma_audio_cli import config
        from gemma_audio_cli.backends.choose import choose
        from gemma_audio_cli.engine._binding import use_library
        from gemma_audio_cli.engine.devices import devices as known

        use_library(choose(context.params.get("backend") or config.load().backend).library)
        return _starting((device.name for device in known()), incomplete)
    return []


def formats(incomplete: str) -> list[str]:
    """Names of output formats, also behind a comma."""
    from gemma_audio_cli.output.formats import ALL, EXTENSIONS

    before, comma, name = incomplete.rpartition(",")
    return [f"{before}{comma}{found}" for found in _starting((*EXTENSIONS, *([] if comma else [ALL])), name)]


def settings(incomplete: str) -> list[str]:
    """Keys of config.toml."""
    from gemma_audio_cli.config import NAMES

    return _starting(NAMES, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Names of recipes."""
    with suppress(Exception):
        from gemma_audio_cli.recipes.store import known

        return _starting((recipe.name for recipe in known()), incomplete)
    return []


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str, *, projector: bool) -> list[str]:
    from gemma_audio_cli.formatting import is_printable
    from gemma_audio_cli.models.names import is_gguf, is_mmproj, is_text_model

    folder, _, name = incomplete.rpartition("/")
    shown = f"{folder}/" if folder or incomplete.startswith("/") else ""
    found = []
    with suppress(OSError):
        for path in sorted(Path(shown or ".").expanduser().iterdir()):
            if not path.name.startswith(name) or path.name.startswith(".") or not is_printable(path.name):
                continue
            if path.is_dir():
                found.append(f"{shown}{path.name}/")
            elif (is_gguf(path.name) and is_mmproj(path.name)) if projector else is_text_model(path.name):
                found.append(f"{shown}{path.name}")
    return found
