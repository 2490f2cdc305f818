"""Progress: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from gemma_audio_cli.output import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def walk(progress: Progress) -> str:
    with progress:
        progress.skip("old.mp3")
        progress.start("talk\x1b[31m.mp3")
        progress.reach(30.0)
        progress.finish()
        progress.start("bad.mp3")
        progress.finish(failed=True)
    return progress.summary()


def test_without_a_terminal_it_only_counts():
    stream = io.StringIO()
    summary = walk(Progress(3, stream=stream))
    assert stream.getvalue() == ""
    assert summary.startswith("1 file, 1 done before, 1 failed, 0:00:30 of sound in 0:00:0")
    assert summary.endswith("× real time")


@pytest.mark.parametrize("known", [True, False])
def test_on_a_terminal_there_is_a_bar(known, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    progress = Progress(3, stream=stream)
    if known:
        progress.expect("talk\x1b[31m.mp3", 60.0)
    walk(progress)
    shown = stream.getvalue()
    assert "/3" in shown
    assert "real time" in shown
    assert ("left" in shown) == ("0:00:30/" in shown) == known
    assert "\x1b[31m" not in shown


def test_what_is_left_is_what_is_known_and_the_mean_for_the_rest():
    progress = Progress(4, enabled=False)
    assert progress.seconds_left is None
    progress.expect("a", 100.0)
    assert progress.seconds_left == 400.0
    progress.expect("b", 50.0)
    assert progress.seconds_left == 300.0  # 150 s, and two of 75 s
    progress.start("a")
    progress.reach(40.0)
    progress.reach(30.0)  # of another channel
    assert progress.seconds_left == 260.0
    progress.finish(failed=True)
    assert progress.seconds_done == 40.0
    assert progress.seconds_left == 200.0
    assert (progress.awaits("a"), progress.awaits("b")) == (False, True)
    progress.skip("b")
    assert not progress.awaits("b")
    progress.expect("c", 30.0)
    progress.start("c")
    progress.reach(31.0)  # longer than its header says
    progress.finish()
    assert progress.seconds_left == 60.0
    progress.start("d")
    progress.finish()
    progress.expect("d", 7.0)  # too late
    assert progress.seconds_left == 0.0


def test_not_where_text_is_in_the_way():
    stream = Terminal()
    walk(Progress(3, stream=stream, enabled=False))
    assert stream.getvalue() == ""


def test_lines_on_stderr_go_above_the_bar(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(1) as progress:
        progress.start("talk.mp3")
        print("a notice", file=sys.stderr)
    assert "a notice" in stream.getvalue()
    assert sys.stderr is stream
