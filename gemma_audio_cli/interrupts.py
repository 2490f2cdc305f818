"""What Ctrl-C does, from the first line of the program to its last: one line on stderr and exit code 130.

    start, imports, options ──► the work of a command ──► flushing, the end
    ends the process at once    KeyboardInterrupt         ends the process at once

Only the work has something to put in order before it ends, so only there an exception is raised. An exception
cannot be raised everywhere: module initialisers written in C turn it into errors of their own, and what is
raised in a finaliser is printed and forgotten. There the signal is sent again a moment later.

Imported before anything else, so it imports next to nothing.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType
    from typing import Any, NoReturn, TypeVar

    from typing_extensions import Self

    Function = TypeVar("Function", bound=Callable[..., Any])

INTERRUPTED = 130
READER_GONE = 141
"""What a shell says of a program whose reader went away: 128 + SIGPIPE. `leave` ends the process that way."""

_LINE = b"gemma-audio: interrupted\n"
_AGAIN_S = 0.02


class _Interrupts:
    working = False
    announced = False
    takes: Callable[[], bool] | None = None
    called_from_c: set[CodeType] = set()  # noqa: RUF012 - there is one of this class


_now = _Interrupts()


def install() -> None:
    """From here on Ctrl-C is handled. What a shell or nohup had ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)
        sys.unraisablehook = _unraisable


def tell() -> None:
    """The line, once."""
    if not _now.announced:
        _now.announced = True
        try:  # noqa: SIM105 - contextlib would have to be imported
            os.write(2, _LINE)
        except OSError:
            pass


def end() -> NoReturn:
    """Ends the process: for moments in which nothing is left to put in order."""
    tell()
    os._exit(INTERRUPTED)


def leave(code: int) -> NoReturn:
    """Ends the process with this exit code, once everything has been flushed and closed.

    The interpreter is not taken down step by step: threads that still wait in native code would be cut off in
    the middle of it, and for as long as that takes Ctrl-C would kill.
    """
    import atexit
    from contextlib import suppress

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if code == READER_GONE and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(code)


class Working:
    """Inside, Ctrl-C raises KeyboardInterrupt."""

    def __enter__(self) -> Self:
        _now.working = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _now.working = False


class Taking:
    """Inside, Ctrl-C asks `taken` first; where that answers True, nothing is raised."""

    def __init__(self, taken: Callable[[], bool]) -> None:
        self._taken = taken

    def __enter__(self) -> Self:
        _now.takes = self._taken
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _now.takes = None


def called_from_c(function: Function) -> Function:
    """For a function that C code calls and that keeps what is raised in what it calls: nothing is raised in
    its own lines, from where it would get into the C code.
    """
    _now.called_from_c.add(function.__code__)
    return function


def _handle(_number: int, frame: FrameType | None) -> None:
    if not _now.working:
        end()
    if _is_importing(frame) or (frame is not None and frame.f_code in _now.called_from_c):
        _again()
        return
    if _now.takes is not None and _now.takes():
        return
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _again()
    else:
        sys.__unraisablehook__(unraisable)


def _again() -> None:
    """The same signal, a moment later."""
    main = _thread.get_ident()  # handlers run in the main thread

    def send() -> None:
        import time

        time.sleep(_AGAIN_S)
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, signal.SIGINT)  # also ends a wait, which interrupt_main does not
        else:
            _thread.interrupt_main()

    _thread.start_new_thread(send, ())
