"""What Engine, AudioStream and Session share: errors from statuses, structs, callbacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gemma_audio_cli import errors
from gemma_audio_cli.engine._binding import Native, native

Cancel = Callable[[], bool]
Progress = Callable[[float], None]

_ERRORS: dict[str, type[errors.GemmaAudioError]] = {
    "GA_ERROR_INVALID_ARGUMENT": errors.UsageError,
    "GA_ERROR_IO": errors.ModelFileError,
    "GA_ERROR_FORMAT": errors.ModelFormatError,
    "GA_ERROR_UNSUPPORTED": errors.UnsupportedModelError,
    "GA_ERROR_WIDTH_MISMATCH": errors.WidthMismatchError,
    "GA_ERROR_OUT_OF_MEMORY": errors.OutOfMemoryError,
    "GA_ERROR_BACKEND": errors.BackendError,
    "GA_ERROR_CONTEXT_FULL": errors.TooLongError,
    "GA_ERROR_CANCELLED": errors.CancelledError,
    "GA_ERROR_INTERNAL": errors.InternalError,
}


class Handle:
    """Something native that is open until `close`, or until nobody has it any more."""

    _what = "this"
    _handle: Any = None

    @property
    def handle(self) -> Any:
        """The native handle; an error once closed."""
        if self._handle is None:
            raise errors.UsageError(f"{self._what} is closed")
        return self._handle

    def close(self) -> None:
        """Free it. Closing twice is allowed. Raises UsageError while a call is going on."""
        raise NotImplementedError

    def _free(self, n: Native, close: Callable[[Any], int]) -> None:
        """Closes the handle, which is given up before, so that an interrupt cannot close it twice. One that a
        call is using stays open.
        """
        handle, self._handle = self._handle, None
        if handle is not None and close(handle) != n.lib.GA_OK:
            self._handle = handle
            raise errors.UsageError("the engine is in use; close it when its call has ended")

    def __del__(self) -> None:
        if self._handle is not None:
            self.close()


def error_for(n: Native, status: int, message: str) -> errors.GemmaAudioError:
    """The exception of a status that is not GA_OK."""
    for name, kind in _ERRORS.items():
        if getattr(n.lib, name) == status:
            text = message or n.ffi.string(n.lib.ga_status_name(status)).decode()
            return kind(" ".join(text.split()))
    return errors.InternalError(f"status {status}: {message}")


def new_struct(n: Native, name: str) -> Any:
    """A zeroed struct with its size field set."""
    value = n.ffi.new(f"{name} *")
    value.size = n.ffi.sizeof(name)
    return value


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """A path as the library opens it: the bytes of the file system, UTF-8 on Windows.

    Raises ModelFileError.
    """
    data = os.fspath(path).encode() if sys.platform == "win32" else os.fsencode(path)
    if b"\0" in data:
        raise errors.ModelFileError(f"{path!r}: no file has a NUL in its name; check the path")
    return data


def int32(value: int) -> int:
    """The value as C's int32_t takes it: one beyond its range is the nearest one within, which the library
    refuses with a message where it is too large.
    """
    return max(-(1 << 31), min(value, (1 << 31) - 1))


def check_model(text: str | os.PathLike[str], mmproj: str | os.PathLike[str] | None) -> None:
    """What opening the files checks, without reading their weights. Raises ModelError and its like."""
    n = native()
    message = n.ffi.new("char[]", 2048)
    second = n.ffi.NULL if mmproj is None else n.ffi.new("char[]", path_bytes(mmproj))
    status = n.lib.ga_model_check(path_bytes(text), second, message, 2048)
    if status:
        raise error_for(n, status, n.ffi.string(message).decode("utf-8", "replace"))


def cpu_products() -> str:
    """The library's own products for this processor, and what was left out, as `ga_cpu_products` says."""
    n = native()
    text = n.ffi.new("char[]", 2048)
    n.lib.ga_cpu_products(text, 2048)
    return str(n.ffi.string(text).decode("utf-8", "replace"))


class Callbacks:
    """Python functions called from native code. What they raise is kept and raised again after the native
    call.
    """

    def __init__(self, n: Native, cancel: Cancel | None, progress: Progress | None) -> None:
        self._user_cancel = cancel
        self._user_progress = progress
        self.raised: BaseException | None = None
        # A KeyboardInterrupt may strike before the first line of a callback: only onerror sees it surely.
        keep: dict[str, Any] = {"onerror": self.keep}
        self.cancel = n.ffi.callback("int32_t(void *)", self._cancel, error=1, **keep)
        self.progress = n.ffi.callback("void(float, void *)", self._progress, **keep)

    def keep(self, _kind: object, value: BaseException, _traceback: TracebackType | None) -> None:
        """Remember the first exception of a callback."""
        if self.raised is None:
            self.raised = value

    def take(self) -> BaseException | None:
        """The exception kept, forgotten here."""
        raised, self.raised = self.raised, None
        return raised

    def _cancel(self, _user_data: object) -> int:
        if self.raised is not None:
            return 1
        return int(bool(self._user_cancel())) if self._user_cancel else 0

    def _progress(self, fraction: float, _user_data: object) -> None:
        if self._user_progress:
            self._user_progress(fraction)
