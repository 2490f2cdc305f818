"""Lengths of recordings: looked up beside the work, and never at its cost."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.lengths import Lengths, length
from gemma_audio_cli.audio.read.source import SourceOptions


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_the_length_is_that_of_the_part_that_is_heard(tmp_path, kind):
    path = str(tmp_path / f"a.{kind}")
    soundfile.write(path, np.zeros(16_000 * 5, np.float32), 16_000)
    assert length(path) == pytest.approx(5.0, abs=0.1)
    assert length(path, SourceOptions(start=1.0, end=3.0)) == pytest.approx(2.0, abs=0.1)
    assert length(path, SourceOptions(start=4.5, end=99.0)) == pytest.approx(0.5, abs=0.1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_cannot_be_opened_twice_or_at_all_has_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "words.mp3").write_text("words")
    (tmp_path / "folder.wav").mkdir()
    for name in ("pipe.wav", "words.mp3", "folder.wav", "nothing.wav"):
        assert length(str(tmp_path / name)) is None
    assert length("-") is None


def test_the_work_does_not_wait_for_lengths():
    asked, known, reported = threading.Event(), threading.Event(), []

    def slow(_path: str, _options: SourceOptions | None) -> float:
        asked.set()
        known.wait(60)
        return 1.0

    names = [f"{i}.wav" for i in range(10_000)]
    with Lengths(names, None, lambda *found: reported.append(found), slow):
        assert asked.wait(60)
        assert reported == []  # the work goes on while the first one is looked up
        threading.Timer(0.2, known.set).start()
    assert len(reported) < 100  # the end does not wait for all of them either


def test_they_come_in_order_and_a_file_without_one_is_passed_over():
    reported, last = [], threading.Event()

    def found(path: str, seconds: float) -> None:
        reported.append((path, seconds))
        if path == "d":
            last.set()

    with Lengths("abcd", None, found, lambda path, _options: {"a": 1.0, "c": 3.0, "d": 4.0}.get(path)):
        assert last.wait(60)
    assert reported == [("a", 1.0), ("c", 3.0), ("d", 4.0)]
