"""What the names of model files say, on a disk as on a hub.

    "google_gemma-4-E2B-it-UD-Q4_K_XL-00001-of-00002.gguf"
       base "gemma-4-e2b-it"    label "UD-Q4_K_XL"    part 1 of 2
    "gemma-4-E2B_q4_0-it.gguf"
       base "gemma-4-e2b-it"    label "Q4_0"

Everybody who uploads models has names of their own; upper and lower case mean the same. Names from a network
are hostile: `is_safe` tells which may become a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gemma_audio_cli.errors import UsageError

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
_LABEL = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:BF16|F16|F32|MXFP4(?:_MOE)?|NVFP4|TQ\d_\d|IQ\d_[A-Z]+(?:_[A-Z]+)?|Q\d+_(?:\d|K(?:_[A-Z]+)?)))"
    r"(?=$|[-._])",
    re.I,
)
_HELPERS = (
    ("drafter", r"mtp|dflash|eagle|dspark|medusa|draft|drafter|speculator|assistant"),
    ("adapter", r"q?lora|adapters?"),
    ("statistics file", r"imatrix"),
    ("vocabulary", r"vocab"),
)
"""What lies beside models and is none, and the words that say so."""
_GENERIC = ("mmproj", "text", "model", "ud", "qat", "gguf")
"""Words that do not say which model it is."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.A)
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.I)
_MAX_PARTS = 1000


@dataclass(frozen=True)
class Spec:
    """A model by name: an alias or a repository of the hub, perhaps with a weight type or a file's name."""

    name: str
    quant: str | None = None

    @property
    def is_repository(self) -> bool:
        """Is the name "owner/repository"?"""
        return "/" in self.name

    def __str__(self) -> str:
        return f"{self.name}:{self.quant}" if self.quant else self.name


@dataclass(frozen=True)
class TextFiles:
    """The files of one text model, its parts in order."""

    parts: tuple[str, ...]
    label: str
    """Weight type as the name has it, in capitals; "" where it has none."""

    @property
    def first(self) -> str:
        """The file that names the model."""
        return self.parts[0]


def parse_spec(text: str) -> Spec:
    """ "e2b", "e2b:Q8_0", "owner/repository", "owner/repository:Q4_0". Raises UsageError."""
    name, colon, quant = text.partition(":")
    if not is_spec(text):
        raise UsageError(f"{text!r} names no model; give an alias (e2b, e4b, 12b) or OWNER/REPOSITORY[:TYPE]")
    return Spec(name if "/" in name else name.lower(), quant if colon else None)


def is_spec(text: str) -> bool:
    """Could this be the name of a model rather than of a file?"""
    name, colon, quant = text.partition(":")
    if colon and not (is_safe(quant) and len(quant) < 200):
        return False
    if "/" not in name:
        return re.fullmatch(r"[A-Za-z0-9][\w.-]{0,40}", name, re.A) is not None and not name.endswith(".gguf")
    return _REPOSITORY.fullmatch(name) is not None and not re.search(r"--|\.\.|\.gguf$|\.git$", name)


def is_safe(name: str) -> bool:
    """May this name of a network, with / between folders, become a path on any system?"""
    if not 0 < len(name) <= 255 or not name.isprintable() or re.search(r'[\\:<>"|?*]', name):
        return False
    parts = name.split("/")
    return not any(
        part in ("", ".", "..") or part[-1] in " ." or part[0] == " " or _RESERVED.match(part)
        for part in parts
    )


def is_gguf(name: str) -> bool:
    """Does it end as GGUF files do?"""
    return name.lower().endswith(".gguf")


def is_mmproj(name: str) -> bool:
    """Is this an audio (or vision) projector?"""
    return "mmproj" in PurePosixPath(name).name.lower()


def helper(name: str) -> str | None:
    """What a file that lies beside models is by its name or its folder's: "drafter"; None: no such thing."""
    words = re.split(r"[-._/\s]+", name.lower())
    for kind, pattern in _HELPERS:
        if any(re.fullmatch(rf"(?:{pattern})\d*", word) for word in words):
            return kind
    return None


def is_text_model(name: str) -> bool:
    """A GGUF that is no projector, and nothing else that lies beside models (drafters, adapters)."""
    return is_gguf(name) and not is_mmproj(name) and helper(name) is None


def is_qat(*names: str) -> bool:
    """Does a name (of a file, a folder, a repository) say that a model was trained for its weight type?"""
    return any("qat" in re.split(r"[-._/\s]+", name.lower()) for name in names)


def split_part(name: str) -> tuple[int, int] | None:
    """(number from 1, count) of a file that is part of a set."""
    match = _PART.match(PurePosixPath(name).stem)
    if not match:
        return None
    number, count = int(match["number"]), int(match["count"])
    return (number, count) if 1 <= number <= count <= _MAX_PARTS else None


def split_names(name: str) -> list[str]:
    """All names of the set that a name is part of; only the name itself where it is whole."""
    place = split_part(name)
    match = _PART.match(PurePosixPath(name).stem)
    if not place or not match:
        return [name]
    folder, suffix = name[: len(name) - len(PurePosixPath(name).name)], PurePosixPath(name).suffix
    return [f"{folder}{match['stem']}-{i:05d}-of-{place[1]:05d}{suffix}" for i in range(1, place[1] + 1)]


def label(name: str) -> str:
    """The weight type in a name, in capitals: "Q4_0", "UD-Q4_K_XL"; "" where there is none."""
    found = _LABEL.findall(_stem(name))
    return str(found[-1]).upper() if found else ""


def base(name: str) -> str:
    """The model a file name speaks of, in lower case: without maker, "mmproj", weight types, part numbers."""
    words = [word for word in re.split(r"[-._\s]+", _LABEL.sub("", _stem(name)).lower()) if word]
    if words[:2] == ["google", "gemma"]:
        del words[0]
    return "-".join(word for word in words if word not in _GENERIC)


def text_models(names: Iterable[str]) -> list[TextFiles]:
    """The whole text models among the names; a set that lacks parts is none."""
    known = [name for name in names if is_text_model(name)]
    sets = {tuple(split_names(name)) for name in known}
    present = set(known)
    return [TextFiles(parts, label(parts[0])) for parts in sorted(sets) if present.issuperset(parts)]


def listed(names: Iterable[str]) -> str:
    """Some names, for a message."""
    plain = [PurePosixPath(name).name for name in names]
    return ", ".join(plain[:4]) + (", ..." if len(plain) > 4 else "")


def part_paths(first: Path) -> list[Path]:
    """The files of a text model, by any of its parts."""
    return [first.with_name(name) for name in split_names(first.name)]


def _stem(name: str) -> str:
    stem = PurePosixPath(name).stem
    match = _PART.match(stem)
    return match["stem"] if match else stem
