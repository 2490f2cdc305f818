"""Settings: environment over config.toml over defaults."""

from __future__ import annotations

import pytest

from gemma_audio_cli import config
from gemma_audio_cli.errors import UsageError


@pytest.fixture
def write(tmp_path, monkeypatch):
    for name in ("MODEL", "MMPROJ", "LANGUAGE", "THREADS"):
        monkeypatch.delenv(f"GEMMA_AUDIO_{name}", raising=False)
    monkeypatch.setenv("GEMMA_AUDIO_CONFIG_DIR", str(tmp_path))
    return (tmp_path / "config.toml").write_text


def test_nothing_is_set(write):
    assert config.load() == config.Settings()


def test_the_file(write):
    write('model = "/models/a.gguf"\nthreads = 3\n')
    assert config.load() == config.Settings(model="/models/a.gguf", threads=3)


def test_the_environment_wins(write, monkeypatch):
    write('model = "/models/a.gguf"\nlanguage = "German"\n')
    monkeypatch.setenv("GEMMA_AUDIO_MODEL", "demo")
    monkeypatch.setenv("GEMMA_AUDIO_THREADS", "2")
    assert config.load() == config.Settings(model="demo", language="German", threads=2)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("model = ", "not valid TOML"),
        ("modle = 'x'", "modle"),
        ("threads = 'many'", "whole number"),
        ("model = 3", "text"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(write, text, part):
    write(text)
    with pytest.raises(UsageError, match=part) as caught:
        config.load()
    assert "config.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
