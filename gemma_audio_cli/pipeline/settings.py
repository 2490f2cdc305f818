"""Would a setting work? Each is tried with the code that will use it, before it is written down.

try_setting("device", "CUDA7", settings) ──► BackendError: no device CUDA7; this build has CPU
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gemma_audio_cli.config import Settings
from gemma_audio_cli.errors import BackendError, ModelError, Notice


def try_setting(settings: Settings, name: str, notice: Notice) -> None:
    """Tries the setting of that name with the others beside it. Raises a GemmaAudioError where a command that
    uses it would fail. `notice` hears of another setting that it does not go with.

    Only the kind of value is known to be right already.
    """
    attempt = _TRIALS.get(name)
    if attempt is not None:
        attempt(settings, notice)


def _model(settings: Settings, _notice: Notice) -> None:
    problems = _problems(settings)
    if problems:
        raise ModelError(problems[0])


def _mmproj(settings: Settings, notice: Notice) -> None:
    """Alone: whoever changes to another model sets one of the two first."""
    from gemma_audio_cli.models.inspect import projector_problems

    assert settings.mmproj is not None
    problems = projector_problems(Path(settings.mmproj).expanduser())
    if problems:
        raise ModelError(problems[0])
    if settings.model is not None:
        for problem in _problems(settings)[:1]:
            notice(f"warning: {problem}; set the model that goes with it")


def _problems(settings: Settings) -> list[str]:
    from gemma_audio_cli.models import resolve
    from gemma_audio_cli.models.inspect import inspect

    return inspect(resolve(settings.model, settings.mmproj)).problems


def _backend(settings: Settings, notice: Notice) -> None:
    from gemma_audio_cli.backends.choose import choose

    choose(settings.backend)
    if settings.device is not None:
        try:
            _device(settings, notice)
        except BackendError as error:
            notice(f"warning: {error}; set the device that goes with it")


def _device(settings: Settings, _notice: Notice) -> None:
    from gemma_audio_cli.backends.choose import choose
    from gemma_audio_cli.engine._binding import use_library
    from gemma_audio_cli.pipeline.engines import device_of

    choice = choose(settings.backend, settings.device)
    use_library(choice.library)
    device_of(choice)


def _microphone(settings: Settings, _notice: Notice) -> None:
    from gemma_audio_cli.audio.capture.devices import choose_device

    choose_device(settings.microphone)


def _context(settings: Settings, _notice: Notice) -> None:
    from gemma_audio_cli.glossary import context_text

    assert settings.context is not None
    context_text(settings.context)


_TRIALS: dict[str, Callable[[Settings, Notice], None]] = {
    "context": _context,
    "model": _model,
    "mmproj": _mmproj,
    "backend": _backend,
    "device": _device,
    "microphone": _microphone,
}
