"""From what a person names to a pair of files: text model and audio projector.

    alias, repository, path or nothing ──► ModelPair(text, mmproj)

`-m` takes an alias (`demo`, or `e2b`, `e4b`, `12b` once pulled), `owner/repository[:TYPE]` of the hub once
pulled, a text GGUF, or a folder with one pair. Nothing named is the best model that was pulled, else the demo
model. The projector is found beside the text model: of several the one that gives embeddings of the model's
width, whose name agrees with the model's, and whose type hears best; what is not clear is an error. Drafters,
adapters and the like in a folder are passed over. Of a text model in parts (-00001-of-00003) the first part
stands for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.models import kinds, names
from gemma_audio_cli.models.beside import best_beside

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
    path = _first_part(path)
    kind = kinds.kind(path)
    if (kind == kinds.PROJECTOR or names.is_mmproj(path.name)) and mmproj is None:
        raise ModelNotFoundError(f"{path} is an audio projector; name the text model with -m instead")
    if kind not in (kinds.TEXT, kinds.PROJECTOR, kinds.OTHER):
        raise ModelNotFoundError(f"{path} is {_a(kind)}; name the text model that it is for with -m instead")
    return ModelPair(path, _existing(mmproj, "mmproj") if mmproj is not None else find_mmproj(path))


def find_mmproj(text: Path) -> Path:
    """The projector that lies beside a text model; of a pulled one also that of another source."""
    from gemma_audio_cli.models import store

    others = [path for path in _ggufs(text.parent) if path != text]
    beside = [path for path in others if names.is_mmproj(path.name) or kinds.kind(path) == kinds.PROJECTOR]
    found = best_beside(text, beside) or store.projector_of(text)
    if found is None:
        raise ModelNotFoundError(
            f"no audio projector (mmproj-*.gguf) beside {text}; put it there or name it with --mmproj FILE"
        )
    return found


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
    # The parts of one model count once.
    paths = list(_ggufs(folder))
    firsts = [path for path in paths if (names.split_part(path.name) or (1, 1))[0] == 1] or paths[:1]
    kind = {path: kinds.not_text(path) or kinds.kind(path) for path in firsts}
    ours = [path for path in firsts if kind[path] == kinds.TEXT]
    found = ours or [path for path in firsts if kind[path] == kinds.OTHER]
    if len(found) == 1:
        return found[0]
    if found:
        what = f"several text models ({names.listed(path.name for path in found)})"
        raise ModelNotFoundError(f"{what} in {folder}; name one file with -m FILE")
    others = [f"{path.name} is {_a(kind[path])}" for path in firsts]
    what = f"no text model (*.gguf) in {folder}" + (f": {', '.join(others[:3])}" if others else "")
    raise ModelNotFoundError(f"{what}; name one file with -m FILE")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


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
