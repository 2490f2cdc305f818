"""Which recordings a command line means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.audio.read.discover import AUDIO_SUFFIXES, _natural, expand


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "part10.mp3",
        "part2.mp3",
        "a.txt",
        ".hidden.wav",
        "sub/a.WAV",
        "sub/deep/b.mkv",
        "z.flac",
    ):
        path = tmp_path / "talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "talks"


def names(found: list[str], folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in found]


def test_a_folder_in_a_stable_order(tree):
    found = names(list(expand([str(tree)], recursive=True)), tree)
    assert found == ["part2.mp3", "part10.mp3", "sub/a.WAV", "sub/deep/b.mkv", "z.flac"]


def test_without_r_all_is_given_on_as_it_is(tree):
    given_paths = ["-", str(tree), str(tree / "missing.wav"), str(tree / "a.txt")]
    assert list(expand(given_paths)) == given_paths


def test_the_same_recording_once(tree, monkeypatch):
    monkeypatch.chdir(tree)
    os.symlink("z.flac", "link.flac")
    os.link("z.flac", "other.flac")
    os.symlink(tree, "again")
    spelled = [
        "z.flac",
        "./z.flac",
        str(tree / "sub" / ".." / "z.flac"),
        "link.flac",
        "-",
        "-",
        "gone",
        "./gone",
    ]
    assert list(expand(spelled)) == ["z.flac", "-", "gone"]
    assert names(list(expand(["z.flac", "."], recursive=True)), tree).count("z.flac") == 1


def test_links_in_a_circle_end(tree):
    os.symlink(tree, tree / "sub" / "up")
    assert len(list(expand([str(tree)], recursive=True))) == 5


def test_a_folder_without_recordings_is_reported(tmp_path):
    notices: list[str] = []
    assert list(expand([str(tmp_path)], recursive=True, notice=notices.append)) == []
    assert notices == [f"{tmp_path}: no recordings in this folder"]


def test_a_folder_that_goes_away_is_reported(tree, monkeypatch):
    def denied(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    notices: list[str] = []
    assert list(expand([str(tree)], recursive=True, notice=notices.append)) == []
    assert "Permission denied" in notices[0]


def test_suffixes():
    assert {
        ".wav",
        ".m4a",
        ".mp4",
        ".mkv",
        ".webm",
        ".aac",
        ".wma",
        ".mp3",
        ".flac",
        ".opus",
    } <= AUDIO_SUFFIXES


@given(st.lists(st.text(max_size=6)))
def test_any_names_have_one_order(found):
    backwards = found[::-1]
    assert sorted(found, key=_natural) == sorted(backwards, key=_natural)
