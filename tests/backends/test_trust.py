"""Code that somebody else may have put where backends lie is not loaded unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gemma_audio_cli.backends.choose import choose
from gemma_audio_cli.backends.store import Build, Record, write_record
from gemma_audio_cli.backends.trust import close, distrusted
from gemma_audio_cli.engine._binding import ABI_VERSION
from gemma_audio_cli.models.resolve import demo_sample

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no owners of this kind there")


@pytest.fixture
def build(tmp_path, monkeypatch) -> Build:
    """A built `cuda` whose library is none."""
    folder = tmp_path / "built"
    prefix = folder / "cuda" / "0.1.0-llama0.3.36-20260101T000000Z"
    made = Build(prefix, Record("cuda", "0.1.0", "0.3.36", ABI_VERSION, (), "2026-01-01T00:00:00+00:00"))
    for path in (made.library, prefix / "llama_cpp" / "lib" / "libggml.so"):
        path.parent.mkdir(parents=True)
        path.write_text("no library")
    write_record(prefix, made.record)
    close(folder)
    monkeypatch.setenv("GEMMA_AUDIO_BACKENDS_DIR", str(folder))
    monkeypatch.delenv("GEMMA_AUDIO_LIBRARY", raising=False)
    return made


def places(build: Build) -> dict[str, Path]:
    return {
        "the folder": build.prefix.parents[1],
        "the kind": build.prefix.parent,
        "the prefix": build.prefix,
        "the library": build.library,
        "a library beside it": build.prefix / "llama_cpp" / "lib" / "libggml.so",
    }


PLACES = ["the folder", "the kind", "the prefix", "the library", "a library beside it"]


def test_a_build_of_ones_own_is_used(build):
    found = choose()
    assert (found.backend, found.library, found.notice) == ("cuda", build.library, None)


@pytest.mark.parametrize("place", PLACES)
def test_what_others_may_write_is_not_used_unasked(build, place):
    path = places(build)[place]
    path.chmod(path.stat().st_mode | 0o002)
    found = choose()
    assert (found.backend, found.library) == ("cpu", None)
    assert found.notice is not None
    assert str(path) in found.notice
    assert "others may write" in found.notice
    asked = choose("cuda")
    assert (asked.library, asked.notice) == (build.library, None)
    close(build.prefix.parents[1])
    assert choose().library == build.library


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", PLACES)
def test_what_belongs_to_others_is_not_used_unasked(build, place):
    os.chown(places(build)[place], 12345, 12345)
    found = choose()
    assert found.library is None
    assert "belongs to another user (12345)" in str(found.notice)


def test_a_link_to_what_others_may_write(build, tmp_path):
    target = tmp_path / "elsewhere.so"
    target.write_text("no library")
    build.library.unlink()
    build.library.symlink_to(target)
    assert distrusted(build.prefix.parents[1], build.prefix) is None
    target.chmod(0o666)
    assert str(target) in str(distrusted(build.prefix.parents[1], build.prefix))


def test_the_command_says_so_once_and_goes_on(cli, build):
    build.library.chmod(0o777)
    env = {"GEMMA_AUDIO_BACKENDS_DIR": str(build.prefix.parents[1]), "GEMMA_AUDIO_LIBRARY": ""}
    done = cli("transcribe", "-m", "demo", demo_sample(), env=env)
    assert done.code == 0
    assert done.out.split() == ["4", "1", "7", "3", "9", "2"]
    assert done.err.count("\n") == 1
    assert "is not used unasked" in done.err
