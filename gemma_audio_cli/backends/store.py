"""Built backends: each in a prefix of its own, named after what it was built from.

    DATA/backends/vulkan/0.1.0-llama0.3.36-20260301T120000Z/
        build.json                                  what, when, from what
        gemma_audio_cli/lib/libgemma_audio.so       the engine
        llama_cpp/lib/                              ggml and libllama, found beside it

A prefix has its name only once it is complete; the newest whose interface is that of this package is used.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORD = "build.json"
_NAME = re.compile(r"[0-9][\w.+]*-llama[\w.+]+-\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Record:
    """What a build was made from."""

    backend: str
    version: str
    """Of this package."""
    llama: str
    """Of llama-cpp-python, which brings ggml."""
    abi: int
    flags: tuple[str, ...]
    built: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Build:
    """A built backend."""

    prefix: Path
    record: Record

    @property
    def library(self) -> Path:
        """The engine's shared library."""
        from gemma_audio_cli.engine._binding import library_name

        return self.prefix / "gemma_audio_cli" / "lib" / library_name()


def folder() -> Path:
    """Where built backends lie."""
    chosen = os.environ.get("GEMMA_AUDIO_BACKENDS_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("gemma-audio", appauthor=False) / "backends"


def find(name: str) -> Build | None:
    """The newest build of this backend that this package can open."""
    from gemma_audio_cli.engine._binding import ABI_VERSION

    usable = [build for build in builds(name) if build.record.abi == ABI_VERSION and build.library.is_file()]
    return max(usable, key=lambda build: build.record.built, default=None)


def builds(name: str) -> list[Build]:
    """All complete builds of this backend, of whatever version."""
    try:
        prefixes = sorted(path for path in (folder() / name).iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return []
    return [Build(prefix, record) for prefix in prefixes if (record := _read(prefix / RECORD)) is not None]


def write_record(prefix: Path, record: Record) -> None:
    """Say what lies there."""
    (prefix / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> Record | None:
    """A record; None for a file that is none."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            str(data["backend"]), str(data["version"]), str(data["llama"]), int(data["abi"]),
            tuple(map(str, data["flags"])), str(data["built"]),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
