"""Opens a model on the backend that was chosen, or on the CPU where that one fails.

choose() ──► library ──► its devices ──► Engine
   └─ does not load, no such device, no memory ──one notice──► Engine on the CPU
"""

from __future__ import annotations

import os
from dataclasses import replace

from gemma_audio_cli.backends.choose import AUTO, Choice, choose
from gemma_audio_cli.backends.table import CPU, find_backend
from gemma_audio_cli.engine._binding import use_library
from gemma_audio_cli.engine.devices import devices
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.errors import DEVICE_FAILURES, BackendError, LibraryError, Notice

Path = str | os.PathLike[str]
CPU_DEVICE = "CPU"


class EngineFactory:
    """Opens one model, and opens it again on the CPU when its device fails while computing."""

    def __init__(self, text: Path, mmproj: Path, options: EngineOptions, notice: Notice) -> None:
        """`options.device` is what a person asked for; `notice` hears of a fall back to the CPU."""
        self._text, self._mmproj, self._options, self._notice = text, mmproj, options, notice

    def open(self, backend: str | None) -> Engine:
        """The model on this backend (None: the best that is built)."""
        choice = choose(backend, self._options.device)
        if choice.notice is not None:
            self._notice(choice.notice)
        use_library(choice.library)
        try:
            return self._engine(device_of(choice))
        except (LibraryError, *DEVICE_FAILURES) as error:
            if choice.device == CPU_DEVICE or (choice.library is None and choice.device is None):
                raise
            if isinstance(error, NoSuchDevice):
                raise BackendError(str(error)) from None
            self._say(choice.backend, error)
            if isinstance(error, LibraryError):
                use_library(None)
            return self._engine(CPU_DEVICE)

    def fall_back(self, engine: Engine, error: Exception) -> Engine | None:
        """The same model on the CPU, in place of an engine whose device failed; None where it ran there."""
        if engine.info.device == CPU_DEVICE:
            return None
        self._say(engine.info.device, error)
        engine.close()
        return self._engine(CPU_DEVICE)

    def _engine(self, device: str | None) -> Engine:
        engine = Engine(self._text, self._mmproj, replace(self._options, device=device))
        info, wanted = engine.info, self._options.gpu_layers
        if wanted is None and info.n_gpu_layers <= info.n_layer:
            self._notice(
                f"{info.device} has room for {info.n_gpu_layers} of the model's {info.n_layer + 1} layers; "
                "the CPU computes the others"
            )
        return engine

    def _say(self, where: str, error: Exception) -> None:
        self._notice(f"{where} failed ({error}); going on with the CPU")


def device_of(choice: Choice) -> str | None:
    """The device's name in ggml, in the open library; None: the best there is. Raises BackendError where it
    has none of the kind that was asked for.
    """
    known = [device.name for device in devices()]
    if choice.device is not None:
        if choice.device not in known:
            raise NoSuchDevice(f"no device {choice.device}; this build has {', '.join(known)}")
        return choice.device
    if choice.backend in (AUTO, CPU):
        return None
    prefix = find_backend(choice.backend).device
    found = next((name for name in known if name.startswith(prefix)), None)
    if found is None:
        raise BackendError(f"it sees no device on this machine; it has {', '.join(known)}")
    return found


class NoSuchDevice(BackendError):
    """A person named a device that is not there."""
