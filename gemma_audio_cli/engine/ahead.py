"""What comes next, made in a thread of its own while other work goes on.

A recording is decoded, and a live one waited for, beside the model's work: whoever has work asks for what is
ready and goes on without it where nothing is.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class NotYet(Exception):
    """Nothing is ready; there may be more later."""


class Ahead(Generic[T]):
    """Runs through `items` in a thread, at most `size` ahead of the reader."""

    def __init__(self, items: Iterable[T], size: int) -> None:
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(size)
        self._closed = threading.Event()
        self._over: BaseException | None = None
        # A thread that waits for a silent stream must not keep the process alive.
        threading.Thread(target=self._run, args=(iter(items),), daemon=True, name="windows").start()

    def next(self, *, wait: bool) -> T:
        """The next item. Raises StopIteration at the end, what the items raised, or NotYet unless `wait`."""
        if self._over is None:
            try:
                item, failure = self._queue.get(block=wait)
            except queue.Empty:
                raise NotYet from None
            if failure is None:
                return item  # type: ignore[return-value]
            self._over = failure
        raise self._over

    def ready(self) -> bool:
        """Would `next` have something at once?"""
        return self._over is None and not self._queue.empty()

    def close(self) -> None:
        """The thread ends with its present item."""
        self._closed.set()

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
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
