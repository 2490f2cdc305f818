"""A recording is pulled by one thread first, and by another from then on: nothing in the package may mind."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.source import SourceOptions, open_source
from gemma_audio_cli.audio.segment.segmenter import channel_windows
from gemma_audio_cli.audio.segment.windows import windows

PACKAGE = Path(__file__).resolve().parents[2] / "gemma_audio_cli"
ALLOWED = {"open_source", "open", "suppress", "byte_bar", "Progress", "bar"}
"""What may be open across a yield: it holds nothing of the thread, nor of the context, that opened it."""


def opened_across_a_yield(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of each `with` around a yield of a generator that is no context manager itself."""

    def walk(node: ast.AST, around: list[ast.expr]) -> Iterator[tuple[int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if not any("contextmanager" in ast.unparse(mark) for mark in child.decorator_list):
                    yield from walk(child, [])
                continue
            if isinstance(child, (ast.Yield, ast.YieldFrom)):
                for opened in around:
                    yield child.lineno, ast.unparse(opened)
            inside = [item.context_expr for item in child.items] if isinstance(child, ast.With) else []
            yield from walk(child, around + inside)

    yield from walk(tree, [])


def test_nothing_that_belongs_to_a_thread_is_open_across_a_yield():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {what}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, what in opened_across_a_yield(ast.parse(path.read_text()))
        if what.partition("(")[0].rpartition(".")[2] not in ALLOWED
    ]
    assert found == []


def test_the_check_sees_what_it_is_for():
    code = "def f(xs):\n for x in xs:\n  with np.errstate(all='ignore'):\n   yield x.mean()"
    assert list(opened_across_a_yield(ast.parse(code))) == [(4, "np.errstate(all='ignore')")]
    code = "def f(self):\n with self._lock:\n  yield from self.items"
    assert list(opened_across_a_yield(ast.parse(code))) == [(3, "self._lock")]


def by_turns(items: Iterator[Any]) -> list[Any]:
    """All items, each asked for by another one of two threads that live as long as it takes."""
    found: list[Any] = []
    failures: list[BaseException] = []
    turns = [threading.Semaphore(1), threading.Semaphore(0)]
    over = threading.Event()

    def run(mine: int) -> None:
        while True:
            turns[mine].acquire()
            if not over.is_set():
                try:
                    found.append(next(items))
                except StopIteration:
                    over.set()
                except BaseException as error:
                    failures.append(error)
                    over.set()
            turns[1 - mine].release()
            if over.is_set():
                return

    threads = [threading.Thread(target=run, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]
    return found


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("wav", None), ("flac", None), ("ogg", None), ("aiff", None), ("m4a", "aac"), ("mkv", "flac"),
     ("joined.flac", None)],
)  # fmt: skip
def test_every_source_is_read_by_two_threads_in_turn(
    tmp_path, make_file, make_chirp, suffix, codec, channels
):
    path = tmp_path / f"a.{suffix}"
    sound = np.repeat(make_chirp(2.0, 44_100)[:, None], channels, axis=1)
    if codec:
        make_file(path, codec, sound, 44_100)
    else:
        soundfile.write(path, sound, 44_100)
    if suffix == "joined.flac":
        path.write_bytes(2 * path.read_bytes())
    for options in ({}, {"channel": 1}, {"split_channels": True}, {"start": 0.5}):
        with open_source(path, SourceOptions(**options)) as source:
            alone = np.concatenate(list(source.blocks()))
        with open_source(path, SourceOptions(**options)) as source:
            np.testing.assert_array_equal(np.concatenate(by_turns(source.blocks())), alone)


def test_windows_are_made_by_two_threads_in_turn(tmp_path, make_chirp):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([make_chirp(3.0, 44_100), -make_chirp(3.0, 44_100)], axis=1), 44_100)
    for make in (lambda blocks: windows(blocks), lambda blocks: channel_windows(blocks, ())):
        with open_source(path) as source:
            alone = list(make(source.blocks()))
        with open_source(path) as source:
            assert len(by_turns(make(source.blocks()))) == len(alone)
