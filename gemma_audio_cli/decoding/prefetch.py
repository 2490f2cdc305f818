"""What comes next, made in a thread of its own while other work goes on.

A recording is decoded, and a live one waited for, beside the model's work: whoever has work asks for what is
ready and goes on without it where nothing is.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds that the thread is waited for; it looks up with every block of sound."""


@runtime_checkable
class Stoppable(Protocol):
    """Items that another thread can stop."""

    def stop(self) -> None:
        """The items end soon, also where they are waited for."""


@runtime_checkable
class Closable(Protocol):
    """Items that hold something open, as generators do."""

    def close(self) -> None:
        """Let go of it."""


class NotReady(Exception):
    """Nothing is ready; there may be more later."""


class Prefetcher(Generic[T]):
    """Runs through `items` in a thread, at most `size` ahead of the reader."""

    def __init__(self, items: Iterable[T], size: int) -> None:
        """Items that are Stoppable are stopped when no more is wanted; those that are Closable are closed, in
        the thread where they ran.
        """
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(size)
        self._closed = threading.Event()
        self._over: BaseException | None = None
        self._stop: Callable[[], None] | None = items.stop if isinstance(items, Stoppable) else None
        # A thread that waits for a silent stream must not keep the process alive.
        self._thread = threading.Thread(target=self._run, args=(iter(items),), daemon=True, name="windows")
        self._thread.start()

    def next(self, *, wait: bool) -> T:
        """The next item. Raises StopIteration at the end, what the items raised, NotReady unless `wait`."""
        if self._over is None:
            try:
                item, failure = self._queue.get(block=wait)
            except queue.Empty:
                raise NotReady from None
            if failure is None:
                return item  # type: ignore[return-value]
            self._over = failure
        raise self._over

    def ready(self) -> bool:
        """Would `next` have something at once?"""
        return self._over is None and not self._queue.empty()

    def close(self) -> None:
        """No more is wanted: the thread closes the items and ends. Waits for it, at most some seconds.

        A thread that is inside a library when the interpreter ends takes the process down with it; so Ctrl-C
        does not end the wait.
        """
        self._closed.set()
        if self._stop is not None:
            self._stop()
        last = time.monotonic() + _PATIENCE
        interrupted: KeyboardInterrupt | None = None
        while self._thread.is_alive() and time.monotonic() < last:
            try:
                self._thread.join(0.1)
            except KeyboardInterrupt as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted

    def _run(self, items: Iterator[T]) -> None:
        try:
            try:
                for item in items:
                    if not self._put((item, None)):
                        return
            finally:
                # Here, where they ran: what they hold open is not left to the end of the interpreter.
                if isinstance(items, Closable):
                    items.close()
            self._put((None, StopIteration()))
        except BaseException as failure:
            self._put((None, failure))

    def _put(self, entry: tuple[T | None, BaseException | None]) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
