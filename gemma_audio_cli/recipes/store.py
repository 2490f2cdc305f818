"""Where recipes are: a person's own in the folder of the settings, the package's in the package.

find("minutes") ──► recipes/minutes.toml beside config.toml, else the package's ──► Recipe
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli import config
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.recipes.recipe import Recipe, parse
from gemma_audio_cli.small_files import read_small

_PACKAGE = Path(__file__).parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LARGEST = 1 << 17


@dataclass(frozen=True)
class Known:
    """A recipe that can be named."""

    name: str
    path: Path
    own: bool
    """It is the person's."""


def own_folder() -> Path:
    """Where a person's own recipes are, or would be."""
    return config.config_path().parent / "recipes"


def known() -> list[Known]:
    """All recipes, by name. A person's own one hides the package's of the same name."""
    found: dict[str, Known] = {}
    for folder, own in ((_PACKAGE, False), (own_folder(), True)):
        try:
            paths = sorted(folder.glob("*.toml"))
        except OSError:
            continue
        for path in paths:
            if _NAME.fullmatch(path.stem):
                found[path.stem] = Known(path.stem, path, own)
    return [found[name] for name in sorted(found)]


def locate(name: str) -> Known:
    """The recipe of that name. Raises UsageError that lists those there are."""
    there = known()
    for recipe in there:
        if recipe.name == name:
            return recipe
    names = ", ".join(recipe.name for recipe in there)
    raise UsageError(
        f"no recipe is called {name!r}; there are {names}; write your own: {own_folder()}/NAME.toml"
    )


def text(recipe: Known) -> str:
    """What its file says. Raises UsageError that names it."""
    try:
        return read_small(recipe.path, _LARGEST)[0].decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{recipe.path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{recipe.path}: it is no UTF-8 text") from None


def find(name: str) -> Recipe:
    """The recipe of that name. Raises UsageError where there is none, or where its file makes no sense."""
    return read(locate(name))


def read(recipe: Known) -> Recipe:
    """The recipe. Raises UsageError that names its file."""
    data = config.parse(text(recipe).encode(), recipe.path)
    return parse(recipe.name, data, str(recipe.path))
