"""Settings beside recordings: whose they are, which one wins, what is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gemma_audio_cli import config, ownership
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.folder_settings import NAME, FolderSettings


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder talks/ with a recording, and one below it."""
    for name in config.NAMES:
        monkeypatch.delenv(config.variable(name), raising=False)
    monkeypatch.setenv("GEMMA_AUDIO_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "talks" / "monday").mkdir(parents=True)
    for folder in ("talks", "talks/monday"):
        (tmp_path / folder / "a.wav").write_bytes(b"")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / NAME
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return path


def of(path: Path) -> config.Loaded:
    return FolderSettings().of(str(path))


def test_each_setting_has_its_order(place, monkeypatch):
    recording = place / "talks" / "a.wav"
    assert of(recording).settings.language is None
    (place / "config" / "config.toml").write_text('language = "French"\nmodel = "x"\nmmproj = "p"\n')
    assert (of(recording).settings.language, of(recording).settings.mmproj) == ("French", "p")
    path = write(place / "talks", 'language = "German"\nmodel = "demo"\n')
    loaded = of(recording)
    assert (loaded.settings.language, loaded.sources["language"]) == ("German", str(path))
    assert (loaded.settings.model, loaded.settings.mmproj) == ("demo", None), "that belongs to another model"
    monkeypatch.setenv("GEMMA_AUDIO_LANGUAGE", "Dutch")
    assert (of(recording).settings.language, of(recording).sources["language"]) == (
        "Dutch", "GEMMA_AUDIO_LANGUAGE",
    )  # fmt: skip
    assert FolderSettings().of(None).settings.language == FolderSettings().of("-").settings.language


def test_the_nearest_wins_key_by_key(place):
    write(place / "talks", 'language = "German"\ncontext = "@names.txt"\n')
    (place / "talks" / "names.txt").write_text("Kilo\n")
    inner = write(place / "talks" / "monday", 'language = "French"\n')
    upper, lower = of(place / "talks" / "a.wav"), of(place / "talks" / "monday" / "a.wav")
    assert (upper.settings.language, lower.settings.language) == ("German", "French")
    assert lower.sources["language"] == str(inner)
    assert lower.settings.context == upper.settings.context == f"@{place / 'talks' / 'names.txt'}"
    assert of(place / "talks" / "monday").settings == lower.settings, "a folder is asked about itself"


def test_names_of_files_begin_in_the_folder_and_links_belong_where_they_are(place):
    write(place / "talks", 'model = "own.gguf"\n')
    assert of(place / "talks" / "a.wav").settings.model == "own.gguf", "no such file there"
    (place / "talks" / "own.gguf").write_bytes(b"")
    assert of(place / "talks" / "a.wav").settings.model == str(place / "talks" / "own.gguf")
    (place / "link.wav").symlink_to(place / "talks" / "a.wav")
    assert of(place / "link.wav").settings.model is None


def test_a_context_may_be_a_list(place):
    write(place / "talks", 'context = ["Smith, John", "Kilo"]\n')
    assert of(place / "talks" / "a.wav").settings.context == "Smith, John\nKilo\n"


@pytest.mark.parametrize("kind", ["others", "group", "link", "fifo", "folder", "huge", "stranger"])
def test_what_somebody_else_may_have_written_is_left_out(place, monkeypatch, kind):
    if not ownership.KNOWN:
        pytest.skip("no owners here")
    path = write(place / "talks", 'language = "German"\n')
    if kind == "others":
        path.chmod(0o646)
    elif kind == "group":
        path.chmod(0o664)
        monkeypatch.setattr(ownership, "_is_private", lambda group: False)
    elif kind == "stranger":
        if os.geteuid() == 0:
            os.chown(path, 12345, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
    else:
        path.rename(place / "elsewhere")
        if kind == "link":
            path.symlink_to(place / "elsewhere")
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_text("#" * 70_000)
    loaded = of(place / "talks" / "a.wav")
    assert loaded.settings.language is None
    (warning,) = loaded.warnings
    assert str(path) in warning
    assert "left out" in warning


def test_without_owners_it_has_to_be_in_the_home_folder(place, monkeypatch):
    write(place / "talks", 'language = "German"\n')
    monkeypatch.setattr(ownership, "KNOWN", False)
    monkeypatch.setattr(Path, "home", lambda: place / "talks")
    assert of(place / "talks" / "monday" / "a.wav").settings.language == "German"
    monkeypatch.setattr(Path, "home", lambda: place / "config")
    loaded = of(place / "talks" / "a.wav")
    assert loaded.settings.language is None
    assert "home folder" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("text", "part"),
    [("language = ", "not valid TOML"), ("language = 'de\x00'", "not valid TOML"),
     ("context = 3", "must be text"), ("language = '12'", "no language"),
     ("context = ['a', 3]", "list of texts")],
)  # fmt: skip
def test_a_mistake_of_ones_own_is_one_line_that_names_the_file(place, text, part):
    path = write(place / "talks", text)
    with pytest.raises(UsageError, match=part) as caught:
        of(place / "talks" / "a.wav")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_settings_are_none_of_a_folders(place):
    write(place / "talks", 'threads = 3\nlangauge = "de"\nbackend = "x"\n')
    loaded = of(place / "talks" / "a.wav")
    assert loaded.settings == config.Settings()
    assert len(loaded.warnings) == 3
    assert any("did you mean language" in line for line in loaded.warnings)


def test_names_that_no_file_has_lie_in_no_folder(place):
    for name in ("a\0b", "x" * 5000, "http://example.org/a.wav"):
        assert FolderSettings().of(name).settings == config.Settings()
