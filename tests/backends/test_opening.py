"""A backend that cannot be used gives way to the CPU, with one notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from gemma_audio_cli.backends.store import Build, Record, write_record
from gemma_audio_cli.engine._binding import ABI_VERSION, find_library
from gemma_audio_cli.models.resolve import demo_sample


@pytest.fixture
def built(tmp_path, environment):
    """Puts something in the place of a built `cuda`; the environment that finds it."""

    def put(library: Path | str) -> dict[str, str]:
        prefix = tmp_path / "built" / "cuda" / "0.1.0-llama0.3.36-20260101T000000Z"
        build = Build(prefix, Record("cuda", "0.1.0", "0.3.36", ABI_VERSION, (), "2026-01-01T00:00:00+00:00"))
        build.library.parent.mkdir(parents=True)
        if isinstance(library, str):
            build.library.write_text(library)
        else:
            build.library.symlink_to(library)
        write_record(prefix, build.record)
        return {"GEMMA_AUDIO_BACKENDS_DIR": str(tmp_path / "built"), "GEMMA_AUDIO_LIBRARY": ""}

    return put


@pytest.mark.parametrize("how", [[], ["--backend", "cuda"]])
def test_a_library_that_does_not_load(cli, built, how):
    result = cli("transcribe", "-m", "demo", *how, demo_sample(), env=built("no library"))
    assert result.code == 0
    assert result.out.split() == ["4", "1", "7", "3", "9", "2"]
    assert result.err.count("going on with the CPU") == 1
    assert result.err.count("\n") == 1


def test_a_library_without_such_a_device(cli, built):
    result = cli("transcribe", "-m", "demo", "--backend", "cuda", demo_sample(), env=built(find_library()))
    assert result.code == 0
    assert result.out.strip()
    assert result.err.count("\n") == 1
    assert "sees no device" in result.err


def test_a_device_that_is_not_there_is_a_mistake(cli, built):
    result = cli("transcribe", "-m", "demo", "--device", "CUDA7", demo_sample(), env=built(find_library()))
    assert result.code == 3
    assert result.out == ""
    assert "no device CUDA7; this build has CPU" in result.err
