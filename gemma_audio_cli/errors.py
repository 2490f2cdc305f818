"""Every exception this package raises on purpose.

    GemmaAudioError
    ├── UsageError                 the call or command line asks for something that makes no sense
    ├── InputError                 one recording cannot be used; the others can
    │   ├── AudioError             it cannot be read or decoded
    │   └── TooLongError           it does not fit into the model's context
    ├── ModelError                 no model to work with
    │   ├── ModelNotFoundError     no such file or alias, or its projector is not found or not clear
    │   ├── ModelDownloadError     the hub does not give it, or it cannot be stored
    │   │   └── HubUnreachableError    no network, or wanted offline
    │   ├── ModelFileError         the file cannot be opened or mapped
    │   ├── ModelFormatError       not a GGUF, truncated, or something in it has a wrong size, type or shape
    │   ├── UnsupportedModelError  a sound file of a kind this engine does not run
    │   └── WidthMismatchError     text model and projector do not belong together
    ├── DeviceError                no microphone, or nothing to reach one with
    ├── OutputError                results cannot be written there (output.atomic)
    └── EngineError                the native engine
        ├── LibraryError           libgemma_audio is missing or does not load
        ├── BackendError           no such device, or it failed while computing
        ├── OutOfMemoryError
        ├── CancelledError         a cancel callback said so
        └── InternalError          a mistake of ours: please report it

Messages are one line, made to be shown as they are: they name the file and, where there is one, the remedy.
`exit_code` is what the command line ends with.
"""

from __future__ import annotations

from collections.abc import Callable

Notice = Callable[[str], None]
"""Gets, in one line, what is odd but no reason to stop."""


def no_notice(_text: str) -> None:
    """A Notice that drops what it gets."""


class GemmaAudioError(Exception):
    """Base of all of them."""

    exit_code = 3


class UsageError(GemmaAudioError):
    """The call or command line asks for something that makes no sense."""

    exit_code = 2


class InputError(GemmaAudioError):
    """One recording cannot be used; the others can."""

    exit_code = 1


class AudioError(InputError):
    """A recording cannot be read or decoded."""


class TooLongError(InputError):
    """The recordings and the question do not fit into the model's context."""


class ModelError(GemmaAudioError):
    """No model to work with."""


class ModelNotFoundError(ModelError):
    """No such file or alias, or its projector is not found or not clear."""


class ModelDownloadError(ModelError):
    """The hub does not give a model's files, or they cannot be stored."""


class HubUnreachableError(ModelDownloadError):
    """The hub cannot be reached: no network, or offline mode is wanted."""


class ModelFileError(ModelError):
    """A model file cannot be opened or mapped."""


class ModelFormatError(ModelError):
    """Not a GGUF, truncated, or something in it has a wrong size, type or shape."""


class UnsupportedModelError(ModelError):
    """A sound file of an architecture or type this engine does not run."""


class WidthMismatchError(ModelError):
    """The projector's output width is not the text model's: the files do not belong together."""


class DeviceError(GemmaAudioError):
    """No microphone, or nothing to reach one with."""


class EngineError(GemmaAudioError):
    """Something in the native engine failed."""


class LibraryError(EngineError):
    """libgemma_audio is missing or does not load."""


class BackendError(EngineError):
    """No such device, or it failed while computing."""


class OutOfMemoryError(EngineError):
    """Not enough memory for the weights or the context."""


class CancelledError(EngineError):
    """A cancel callback ended the work."""

    exit_code = 130


class InternalError(EngineError):
    """A mistake of ours: please report it."""


DEVICE_FAILURES = (BackendError, OutOfMemoryError, InternalError)
"""What a device that fails while computing looks like; drivers throw things of their own, too."""
