"""From what a person names to a pair of files: text model and audio projector.

    alias, path or nothing ──► ModelPair(text, mmproj)

`-m` takes the alias `demo`, a text GGUF, or a folder with one pair. The projector is found beside the text
model by its name (`mmproj` somewhere in it); the one whose name agrees with the model's wins, and what is not
clear is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.errors import ModelNotFoundError

DEMO = "demo"
_LATER = ("e2b", "e4b", "12b")
_DEMO_FOLDER = Path(__file__).resolve().parent.parent / "demo"
_TYPE = re.compile(r"^(f32|f16|bf16|q\d+(_[0k1])?(_[sml])?|q\d+_k(_\w+)?|iq\d\w*|mxfp4|ud|qat|gguf)$", re.I)
_BEST_TYPES = ("bf16", "f32", "f16", "q8_0")
"""bf16 projectors are reported to transcribe best."""


@dataclass(frozen=True)
class ModelPair:
    """The files of one model."""

    text: Path
    mmproj: Path
    is_demo: bool = False


def resolve(
    model: str | os.PathLike[str] | None = None, mmproj: str | os.PathLike[str] | None = None
) -> ModelPair:
    """The files that `model` (alias, path, or None for the demo model) and `mmproj` (path or None) name."""
    if model is None or os.fspath(model) == DEMO:
        pair = _demo()
        return ModelPair(pair.text, _existing(mmproj, "--mmproj")) if mmproj is not None else pair
    name = os.fspath(model)
    path = Path(name).expanduser()
    if not path.exists() and name.lower() in _LATER:
        raise ModelNotFoundError(f"model {name} is not on this machine; name its GGUF file with -m FILE")
    if path.is_dir():
        path = _only_text_model(path)
    path = _existing(path, "-m")
    if _is_mmproj(path) and mmproj is None:
        raise ModelNotFoundError(f"{path} is an audio projector; name the text model with -m instead")
    return ModelPair(path, _existing(mmproj, "--mmproj") if mmproj is not None else find_mmproj(path))


def find_mmproj(text: Path) -> Path:
    """The projector that lies beside a text model."""
    found = [path for path in _ggufs(text.parent) if _is_mmproj(path)]
    wanted = _base(text)
    matching = [path for path in found if _base(path) == wanted]
    # `mmproj-BF16.gguf` names no model: it belongs to whatever it lies beside.
    candidates = matching or [path for path in found if not _base(path)] or found
    if not candidates:
        raise ModelNotFoundError(
            f"no audio projector (mmproj-*.gguf) beside {text}; put it there or name it with --mmproj FILE"
        )
    if len({_base(path) for path in candidates}) > 1:
        raise ModelNotFoundError(
            f"several audio projectors beside {text} ({_names(candidates)}); choose one with --mmproj FILE"
        )
    return min(candidates, key=_type_rank)


def demo_sample() -> Path | None:
    """The recording that ships with the demo model."""
    return next(iter(sorted(_DEMO_FOLDER.glob("*.wav"))), None)


def _demo() -> ModelPair:
    files = list(_ggufs(_DEMO_FOLDER))
    text = [path for path in files if not _is_mmproj(path)]
    mmproj = [path for path in files if _is_mmproj(path)]
    if len(text) != 1 or len(mmproj) != 1:
        raise ModelNotFoundError("the demo model is missing here; install the package again or use -m")
    return ModelPair(text[0], mmproj[0], is_demo=True)


def _only_text_model(folder: Path) -> Path:
    found = [path for path in _ggufs(folder) if not _is_mmproj(path)]
    if len(found) != 1:
        what = f"several text models ({_names(found)})" if found else "no text model (*.gguf)"
        raise ModelNotFoundError(f"{what} in {folder}; name one file with -m FILE")
    return found[0]


def _existing(path: str | os.PathLike[str], flag: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise ModelNotFoundError(f"no model file {found}; check the path given with {flag}")
    return found


def _ggufs(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".gguf" and path.is_file())
    except OSError:
        return []


def _is_mmproj(path: Path) -> bool:
    return "mmproj" in path.name.lower()


def _words(path: Path) -> list[str]:
    return [word for word in re.split(r"[-.\s]+", path.stem.lower()) if word]


def _base(path: Path) -> str:
    """The model a file name speaks of: without "mmproj", "text", weight types and part numbers."""
    generic = ("mmproj", "text", "model")
    words = [word for word in _words(path) if word not in generic and not _TYPE.match(word)]
    return "-".join(word.removeprefix("mmproj_").removesuffix("_mmproj") for word in words)


def _type_rank(path: Path) -> tuple[int, str]:
    words = _words(path)
    rank = next((i for i, kind in enumerate(_BEST_TYPES) if kind in words), len(_BEST_TYPES))
    return rank, path.name


def _names(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
