"""Which library and which device a run uses.

    --backend, GEMMA_AUDIO_BACKEND, config.toml ──► Choice(back end, library, device)

`auto` takes the first built back end in the order of the table that nobody else can have put there; the CPU
where there is none. OpenBLAS and
OpenVINO are never taken unasked: they are slower here than the engine's own products on the CPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.backends.store import find, folder
from gemma_audio_cli.backends.table import BACK_ENDS, CPU, back_end
from gemma_audio_cli.backends.trust import distrusted
from gemma_audio_cli.config import whole_number
from gemma_audio_cli.errors import BackendError, UsageError

AUTO = "auto"
_NEVER_UNASKED = ("blas", "openvino")


@dataclass(frozen=True)
class Choice:
    """What a run is going to use."""

    backend: str
    library: Path | None
    """None: the one inside the package."""
    device: str | None
    """ggml's name of the device; None: the best that the library has."""
    asked: bool
    """Did a person name this back end?"""
    notice: str | None = None
    """What a person should know of a back end that was passed over."""


def layers(text: str | None) -> int | None:
    """What --gpu-layers says: a number of layers, or None for "auto". Raises UsageError."""
    if text is None or text.lower() == AUTO:
        return None
    number = whole_number(text)
    if number is None:
        raise UsageError(f"--gpu-layers takes auto or a number of layers, not {text!r}")
    return number


def choose(backend: str | None = None, device: str | None = None) -> Choice:
    """The back end of that name, or the best for None and "auto".

    Raises UsageError for no such name, BackendError for one that is not built.
    """
    name = (backend or AUTO).lower()
    if name != AUTO:
        row = back_end(name)
        if row.is_default:
            return Choice(CPU, None, device or row.device, asked=True)
        build = find(row.name)
        if build is None:
            raise BackendError(
                f"the back end {row.name} is not built; build it with: gemma-audio backends build {row.name}"
            )
        return Choice(row.name, build.library, device or (None if row.numbered else row.device), asked=True)
    if os.environ.get("GEMMA_AUDIO_LIBRARY"):
        return Choice(AUTO, None, device, asked=False)
    notice = None
    for row in BACK_ENDS:
        if not row.is_default and row.name not in _NEVER_UNASKED and (build := find(row.name)) is not None:
            why = distrusted(folder(), build.prefix)
            if why is None:
                return Choice(row.name, build.library, device, asked=False, notice=notice)
            notice = notice or (
                f"the back end {row.name} is not used unasked: {why}; "
                f"--backend {row.name} uses it all the same"
            )
    return Choice(CPU, None, device, asked=False, notice=notice)
