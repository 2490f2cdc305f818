"""An engine closed at a bad moment, used in two threads, or after a fork: an error, never a hang."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from gemma_audio_cli import Engine, errors
from gemma_audio_cli.engine import _native
from gemma_audio_cli.engine.structs import EngineOptions, Generation, Input, SessionOptions

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@pytest.fixture
def engine(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=2, device="CPU")) as opened:
        yield opened


def hear(engine: Engine) -> int:
    """A clip and a token."""
    audio = engine.audio()
    audio.push(np.zeros(8000, dtype=np.float32))
    audio.finish()
    session = engine.session(SessionOptions(n_ctx=64))
    session.forward([Input(audio=audio, n_logits=1)])
    return session.sample()[0]


def interrupted_at(step: int, call: Callable[[], None]) -> bool:
    """Runs `call` with a KeyboardInterrupt before the step-th line it executes; was there such a line?"""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        if event in ("line", "return"):
            lines += 1
            if lines == step:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_an_interrupt_anywhere_in_close_never_frees_twice(tiny_model, monkeypatch):
    """Each native handle is freed at most once, wherever in close() the interrupt strikes."""
    freed: list[Any] = []
    real = _native.Handle._free

    def counted(self: _native.Handle, n: Any, close: Callable[[Any], int]) -> None:
        def once(handle: Any) -> int:
            assert handle not in freed
            freed.append(handle)
            return close(handle)

        real(self, n, once)

    monkeypatch.setattr(_native.Handle, "_free", counted)
    step, struck = 0, True
    gc.collect()
    gc.freeze()  # what is there already need not be looked through each time
    while struck:
        step += 1
        freed.clear()
        engine = Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1, device="CPU"))
        audio, session = engine.audio(), engine.session(SessionOptions(n_ctx=64))
        struck = interrupted_at(step, engine.close)
        engine.close()
        session.close()
        audio.close()
        del engine, audio, session
        gc.collect()
    gc.unfreeze()
    assert step > 10


def test_an_engine_may_go_before_what_was_opened_from_it(tiny_model):
    """As the garbage collector may do it, in any order."""
    engine = Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1, device="CPU"))
    audio, session = engine.audio(), engine.session(SessionOptions(n_ctx=64))
    n = engine._n
    handle, engine._handle = engine._handle, None
    assert n.lib.ga_engine_close(handle) == n.lib.GA_OK
    audio.close()
    session.close()


def test_two_threads_at_once(engine):
    """Whoever comes second gets an error; the first one's work is done as if nobody had come."""
    expected = hear(engine)
    session = engine.session(SessionOptions(n_ctx=256))
    session.forward([Input(tokens=engine.tokenize("what?"), n_logits=1)])
    inside, tried = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def beside() -> None:
        inside.wait(10)
        for call in (lambda: hear(engine), lambda: engine.tokenize("a"), session.close, engine.close):
            try:
                call()
            except errors.UsageError as error:
                problems.append(error)
        tried.set()

    def on_token(_index: int, _token: int, _logprob: float) -> bool:
        inside.set()
        tried.wait(10)
        return True

    other = threading.Thread(target=beside)
    other.start()
    session.generate([Generation(0, session.sample()[0], 5, ignore_end=True)], on_token)
    other.join()
    assert [("in use" in str(error)) for error in problems] == [True] * 4
    assert hear(engine) == expected
    done = []
    later = threading.Thread(target=lambda: done.append(hear(engine)))  # one after the other is allowed
    later.start()
    later.join()
    assert done == [expected]


def test_a_callback_reads_and_does_not_change(engine):
    session = engine.session(SessionOptions(n_ctx=64))
    session.forward([Input(tokens=engine.tokenize("what?"), n_logits=1)])
    reported = []

    def on_token(_index: int, token: int, _logprob: float) -> bool:
        reported.append(engine.token_bytes(token))
        for call in (session.rewind, session.close, engine.close, engine.audio):
            with pytest.raises(errors.UsageError):
                call()
        return True

    session.generate([Generation(0, session.sample()[0], 3, ignore_end=True)], on_token)
    assert len(reported) == 3
    session.rewind()


def forked(work: Callable[[], str]) -> str:
    """What `work` returned in a forked process, or how that ended."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            os.write(write, work().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else text


@needs_fork
def test_a_fork_with_a_live_engine(engine, tiny_model):
    expected = hear(engine)
    session = engine.session(SessionOptions(n_ctx=64))

    def in_the_child() -> str:
        said = []
        calls: list[Callable[[], object]] = [
            lambda: engine.tokenize("a"),
            lambda: hear(engine),
            lambda: session.forward([Input(tokens=[1], n_logits=1)]),
            lambda: hear(Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=2, device="CPU"))),
        ]
        for call in calls:
            try:
                call()
                said.append("nothing")
            except (errors.UsageError, errors.BackendError) as error:
                said.append("forked" if "forked" in str(error) else str(error))
        # A thread of its own is all that one needs.
        said.append(
            str(hear(Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1, device="CPU"))))
        )
        session.close()
        engine.close()
        return " ".join(said)

    assert forked(in_the_child) == f"forked forked forked forked {expected}"
    assert hear(engine) == expected


def _spawned(text: str, mmproj: str) -> int:
    with Engine(text, mmproj, EngineOptions(threads=2, device="CPU")) as engine:
        return hear(engine)


def test_a_process_started_anew_computes(engine, tiny_model):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_spawned, (str(tiny_model.text), str(tiny_model.mmproj))) == hear(engine)
