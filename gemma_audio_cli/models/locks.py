"""Who works on a repository of the cache: pulls may run side by side, a removal runs alone.

    .locks/models--OWNER--NAME/BLOB.lock              while a blob comes: huggingface_hub takes it too
                               gemma-audio-PID.lock   while a pull of ours runs, between its files too
                               gemma-audio.lock       while a removal runs

Where a disk has no locks (some networks), everybody goes on: hashes have to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gemma_audio_cli.errors import ModelError

_REMOVAL = "gemma-audio.lock"


def of_blob(folder: Path, blob: str) -> Path:
    """The lock of a blob; `folder` is the repository's place for locks."""
    return folder / f"{blob}.lock"


@contextmanager
def held(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Nobody else has this lock meanwhile; `waiting` is called where somebody has it now."""
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    guard = FileLock(lock)
    try:
        guard.acquire(timeout=0)
    except NotImplementedError:
        yield
        return
    except Timeout:
        waiting()
        guard.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        guard.release()


@contextmanager
def free(lock: Path) -> Iterator[bool]:
    """Was this lock free? It is held meanwhile where it was."""
    from filelock import FileLock, Timeout

    guard = FileLock(lock)
    try:
        guard.acquire(timeout=0)
    except NotImplementedError:
        yield True
        return
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        guard.release()


@contextmanager
def pulling(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """A pull from a repository: no removal runs meanwhile."""
    own = folder / f"gemma-audio-{os.getpid()}.lock"
    with held(own, waiting):
        try:
            # Whoever comes second sees the other: first the own lock, then a look at the other one.
            with held(folder / _REMOVAL, waiting):
                pass
            yield
        finally:
            with suppress(OSError):
                own.unlink()


@contextmanager
def removing(folder: Path, what: str) -> Iterator[None]:
    """A removal from a repository. Raises ModelError where somebody works there."""
    busy = ModelError(
        f"{what}: somebody is fetching from there now; wait for the end, or stop it, and try again"
    )
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if not stack.enter_context(free(folder / _REMOVAL)):
            raise busy
        for lock in folder.glob("*.lock"):
            if lock.name != _REMOVAL:
                with free(lock) as nobody:
                    if not nobody:
                        raise busy
                    if lock.name.startswith("gemma-audio-"):  # of a pull that was killed
                        lock.unlink(missing_ok=True)
        yield
