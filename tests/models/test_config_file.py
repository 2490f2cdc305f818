"""One setting is written, everything else in config.toml stays."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.config_file import set_value
from gemma_audio_cli.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
VALUES = TEXT | st.integers(-(2**40), 2**40) | st.booleans()
KEYS = st.sampled_from(["model", "mmproj", "language", "threads"])


def read(path):
    return tomllib.loads(path.read_bytes().decode("utf-8"))


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("", "model", "e2b", 'model = "e2b"\n'),
        ('model = "a" # why\n', "model", "b", 'model = "b" # why\n'),
        ("# top\n\nmodel='a#b'\nthreads = 3", "model", "b", '# top\n\nmodel="b"\nthreads = 3'),
        ("threads = 3", "model", "b", 'threads = 3\nmodel = "b"\n'),
        ("threads = 3 # three\r\n", "threads", 4, "threads = 4 # three\r\n"),
        ('"model" = "a"\n', "model", "b", '"model" = "b"\n'),
        ('x = 1\n[table]\nmodel = "mine"\n', "model", "b", 'x = 1\nmodel = "b"\n[table]\nmodel = "mine"\n'),
        ('a = 1\nmodel = "x"\nb = 2\n', "model", None, "a = 1\nb = 2\n"),
        ("a = 1\n", "model", None, "a = 1\n"),
    ],
)
def test_only_its_line_changes(tmp_path, before, key, value, after):
    path = tmp_path / "config.toml"
    path.write_bytes(before.encode())
    set_value(path, key, value)
    assert path.read_bytes().decode() == after


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(KEYS, VALUES | st.none()), max_size=6))
def test_what_is_set_reads_back(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("config") / "new" / "config.toml"
    expected = {}
    for key, value in steps:
        set_value(path, key, value)
        expected.pop(key, None)
        if value is not None:
            expected[key] = value
        if path.exists():
            assert repr(sorted(read(path).items())) == repr(sorted(expected.items()))
    assert path.exists() or not expected


@pytest.mark.parametrize(
    "before", ["model = \n", "model = '''\na\n'''\n", b"\xff\xfe", 'model = ["a",\n"b"]\n', 'model.x = "a"\n']
)
def test_what_cannot_be_edited_is_left_as_it_is(tmp_path, before):
    path = tmp_path / "config.toml"
    path.write_bytes(before.encode() if isinstance(before, str) else before)
    kept = path.read_bytes()
    with pytest.raises(UsageError, match=r"config\.toml") as caught:
        set_value(path, "model", "b")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == kept
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


def test_a_value_that_is_no_unicode_is_refused(tmp_path):
    with pytest.raises(UsageError):
        set_value(tmp_path / "config.toml", "model", "\udcff")
