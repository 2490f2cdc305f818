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
        progress.skip(60.0)
        progress.start("talk\x1b[31m.mp3")
        progress.advance(30.0)
        progress.finish()
        progress.start("bad.mp3")
        progress.finish(failed=True)
    return progress.summary()


def test_without_a_terminal_it_only_counts():
    stream = io.StringIO()
    summary = walk(Progress(3, 120.0, stream=stream))
    assert stream.getvalue() == ""
    assert summary.startswith("1 file, 1 done before, 1 failed, 0:00:30 of sound in 0:00:0")
    assert summary.endswith("× real time")


@pytest.mark.parametrize("seconds", [120.0, None])
def test_on_a_terminal_there_is_a_bar(seconds, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    walk(Progress(3, seconds, stream=stream))
    shown = stream.getvalue()
    assert "/3" in shown
    assert "real time" in shown
    assert ("0:01:00" in shown) == (seconds is not None)
    assert "\x1b[31m" not in shown


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
