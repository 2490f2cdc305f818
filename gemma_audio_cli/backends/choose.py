"""Which library and which device a run uses.

    --backend, GEMMA_AUDIO_BACKEND, config.toml ──► Choice(backend, library, device)

`auto` takes the first built backend in the order of the table that nobody else can have put there; the CPU
where there is none. OpenBLAS and
OpenVINO are never taken unasked: they are slower here than the engine's own products on the CPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.backends.store import find, folder
from gemma_audio_cli.backends.table import BACKENDS, CPU, find_backend
from gemma_audio_cli.backends.trust import distrusted
from gemma_audio_cli.errors import BackendError

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """What a run is going to use."""

    backend: str
    library: Path | None
    """None: the one inside the package."""
    device: str | None
    """ggml's name of the device; None: the best that the library has."""
    asked: bool
    """Did a person name this backend?"""
    notice: str | None = None
    """What a person should know of a backend that was passed over."""


def choose(backend: str | None = None, device: str | None = None) -> Choice:
    """The backend of that name, or the best for None and "auto".

    Raises UsageError for no such name, BackendError for one that is not built.
    """
    name = (backend or AUTO).lower()
    if name != AUTO:
        row = find_backend(name)
        if row.is_default:
            return Choice(CPU, None, device or row.device, asked=True)
        build = find(row.name)
        if build is None:
            raise BackendError(
                f"the backend {row.name} is not built; build it with: gemma-audio backends build {row.name}"
            )
        return Choice(row.name, build.library, device or (None if row.numbered else row.device), asked=True)
    if os.environ.get("GEMMA_AUDIO_LIBRARY"):
        return Choice(AUTO, None, device, asked=False)
    notice = None
    for row in BACKENDS:
        if not row.is_default and not row.on_cpu and (build := find(row.name)) is not None:
            why = distrusted(folder(), build.prefix)
            if why is None:
                return Choice(row.name, build.library, device, asked=False, notice=notice)
            notice = notice or (
                f"the backend {row.name} is not used unasked: {why}; "
                f"--backend {row.name} uses it all the same"
            )
    return Choice(CPU, None, device, asked=False, notice=notice)
