"""From what a person names to a pair of files: text model and audio projector.

    alias, repository, path or nothing ──► ModelPair(text, mmproj)

`-m` takes an alias (`demo`, or `e2b`, `e4b`, `12b` once pulled), `owner/repository[:TYPE]` of the hub once
pulled, a text GGUF, or a folder with one pair. Nothing named is the best model that was pulled, else the demo
model. The projector is found beside the text model by its name (`mmproj` somewhere in it); the one whose name
agrees with the model's wins, and what is not clear is an error. Of a text model in parts (-00001-of-00003)
the first part stands for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.models import names

DEMO = "demo"
_DEMO_FOLDER = Path(__file__).resolve().parent.parent / "demo"


@dataclass(frozen=True)
class ModelPair:
    """The files of one model."""

    text: Path
    """The text model, or the first of its parts."""
    mmproj: Path
    is_demo: bool = False


def resolve(
    model: str | os.PathLike[str] | None = None, mmproj: str | os.PathLike[str] | None = None
) -> ModelPair:
    """The files that `model` (alias, repository, path, or None for the best there is) and `mmproj` (path or
    None) name.
    """
    name = DEMO if model is None else os.fspath(model)
    for given in (name, mmproj):
        if given is not None and "\0" in os.fspath(given):
            raise ModelNotFoundError(f"{os.fspath(given)!r}: no file has a NUL in its name; check the path")
    path = Path(name).expanduser()
    if model is None or name == DEMO or not path.exists():
        pair = _by_name(None if model is None else name)
        if pair is not None:
            return pair if mmproj is None else ModelPair(pair.text, _existing(mmproj, "mmproj"))
    if path.is_dir():
        path = _only_text_model(path)
    path = _existing(path, "model")
    if names.is_mmproj(path.name) and mmproj is None:
        raise ModelNotFoundError(f"{path} is an audio projector; name the text model with -m instead")
    path = _first_part(path)
    return ModelPair(path, _existing(mmproj, "mmproj") if mmproj is not None else find_mmproj(path))


def find_mmproj(text: Path) -> Path:
    """The projector that lies beside a text model."""
    found = {path.name: path for path in _ggufs(text.parent)}
    try:
        name = names.choose_projector(text.name, found)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"{str(error).replace(text.name, str(text), 1)}; choose one with --mmproj FILE"
        ) from None
    if name is None:
        raise ModelNotFoundError(
            f"no audio projector (mmproj-*.gguf) beside {text}; put it there or name it with --mmproj FILE"
        )
    return found[name]


def is_demo(text: Path) -> bool:
    """Is this the text model that ships with the package?"""
    return text.resolve().parent == _DEMO_FOLDER


def demo_sample() -> Path | None:
    """The recording that ships with the demo model."""
    return next(iter(sorted(_DEMO_FOLDER.glob("*.wav"))), None)


def _by_name(name: str | None) -> ModelPair | None:
    """The model of an alias or a repository; of None the best there is. None where it can only be a path."""
    from gemma_audio_cli.models import store

    if name == DEMO:
        return _demo()
    if name is None:
        best = store.best()
        return _demo() if best is None else ModelPair(best.text, best.mmproj)
    if not names.is_spec(name):
        return None
    spec = names.parse_spec(name)
    if not spec.is_repository and not store.repositories_of(spec):
        return None
    pulled = store.find(spec)
    if pulled is None:
        what = (
            f"there is no file {name}, and no such model was pulled"
            if spec.is_repository
            else (f"model {spec} is not on this machine")
        )
        raise ModelNotFoundError(f"{what}; gemma-audio models pull {spec} gets it")
    return ModelPair(pulled.text, pulled.mmproj)


def _demo() -> ModelPair:
    files = list(_ggufs(_DEMO_FOLDER))
    text = [path for path in files if not names.is_mmproj(path.name)]
    mmproj = [path for path in files if names.is_mmproj(path.name)]
    if len(text) != 1 or len(mmproj) != 1:
        raise ModelNotFoundError("the demo model is missing here; install the package again or use -m")
    return ModelPair(text[0], mmproj[0], is_demo=True)


def _only_text_model(folder: Path) -> Path:
    found = [path for path in _ggufs(folder) if not names.is_mmproj(path.name)]
    # The parts of one model count once.
    found = [path for path in found if (names.split_part(path.name) or (1, 1))[0] == 1] or found[:1]
    if len(found) != 1:
        several = names.listed(path.name for path in found)
        what = f"several text models ({several})" if found else "no text model (*.gguf)"
        raise ModelNotFoundError(f"{what} in {folder}; name one file with -m FILE")
    return found[0]


def _first_part(path: Path) -> Path:
    """The part that stands for all of them, which have to be there."""
    parts = names.part_paths(path)
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise ModelNotFoundError(
            f"{path} is one of {len(parts)} parts, and {names.listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not beside it; get the missing parts"
        )
    return parts[0]


def _existing(path: str | os.PathLike[str], option: str) -> Path:
    found = Path(path).expanduser()
    if found.exists() and not found.is_file():
        what = "a folder" if found.is_dir() else "no regular file"
        raise ModelNotFoundError(f"{found} is {what}; name a GGUF file with --{option}")
    if not found.is_file():
        raise ModelNotFoundError(f"no model file {found}; check --{option}, or {option} in the settings")
    return found


def _ggufs(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if names.is_gguf(path.name) and path.is_file())
    except OSError:
        return []
