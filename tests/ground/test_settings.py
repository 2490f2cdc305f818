"""Settings: environment over config.toml over defaults."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli import config
from gemma_audio_cli.config_file import set_value
from gemma_audio_cli.errors import UsageError


@pytest.fixture
def write(tmp_path, monkeypatch):
    for name in config.NAMES:
        monkeypatch.delenv(f"GEMMA_AUDIO_{name.upper()}", raising=False)
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


def test_a_key_nearly_right_is_a_warning_with_the_right_one(write):
    write("modle = 'x'\nthreads = 2\nnothing_like_it_at_all = 1\n")
    loaded = config.load_all()
    assert loaded.settings == config.Settings(threads=2)
    near, far = loaded.warnings
    assert "'modle'; did you mean model?" in near
    assert "config.toml" in near
    assert "there are audio_first, backend, cache, cache_mb, context, device" in far


def test_where_a_setting_comes_from(write, monkeypatch, tmp_path):
    write('model = "a.gguf"\n')
    monkeypatch.setenv("GEMMA_AUDIO_THREADS", "2")
    sources = config.load_all().sources
    assert sources == {"model": str(tmp_path / "config.toml"), "threads": "GEMMA_AUDIO_THREADS"}


@settings(deadline=None)
@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_that_is_set_is_read_again(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text("# mine\nthreads = 3 # few\n\n[other]\nmodel = 'theirs'\n")
    set_value(path, "model", value)
    set_value(path, "model", value)
    data = config.parse(config.read_file(path), path)
    assert (data["model"], data["threads"], data["other"]) == (value, 3, {"model": "theirs"})
    assert path.read_text().startswith("# mine\nthreads = 3 # few\n")
