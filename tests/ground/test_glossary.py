"""Glossaries: whatever is in a file, it is terms or one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import is_printable
from gemma_audio_cli.glossary import MAX_TERM, MAX_TERMS, context_text, read_glossary, terms_of


def test_a_term_a_line_without_comments(tmp_path):
    (tmp_path / "names.txt").write_bytes(
        b"\xef\xbb\xbf# who\r\n  K\xc3\xa4the  M\xc3\xbcller \r\n\r\nC# (language)  # twice\n"
        b"Smith, John\nC# (language)\n"
    )
    terms = ("Käthe Müller", "C# (language)", "Smith, John")
    assert read_glossary(tmp_path / "names.txt") == terms
    assert terms_of(context_text("@names.txt", tmp_path)) == terms


def test_one_term_with_a_comma_stays_one(tmp_path):
    (tmp_path / "names.txt").write_text("Smith, John")
    assert terms_of(context_text("@names.txt", tmp_path)) == ("Smith, John",)


def test_plain_text_stays_as_it_is():
    text = " Käthe, Umspannwerk;  Kilo @home "
    assert context_text(text) == text
    assert terms_of(text) == ("Käthe", "Umspannwerk", "Kilo @home")


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "no term in this glossary"),
        (b"# nothing\n\n", "no term in this glossary"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b"x\n" + b"y" * (MAX_TERM + 1), "line 2 has 201 characters"),
        (b"\n".join(b"%d" % n for n in range(MAX_TERMS + 1)), "10001 terms"),
        (b"x" * ((4 << 20) + 1), "more than 4 MB"),
    ],
)
def test_what_is_no_glossary_is_one_line_that_names_it(tmp_path, data, part):
    (tmp_path / "names.txt").write_bytes(data)
    with pytest.raises(UsageError) as caught:
        context_text("@names.txt", tmp_path)
    assert part in str(caught.value)
    assert str(tmp_path / "names.txt") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "device", "loop"])
def test_what_cannot_be_read_is_named(tmp_path, kind):
    path = tmp_path / "names.txt"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(UsageError) as caught:
        read_glossary(path)
    assert str(path) in str(caught.value)


def test_an_at_sign_alone_is_told():
    with pytest.raises(UsageError, match=r"@names\.txt"):
        context_text("@")
    with pytest.raises(UsageError, match="glossary"):
        context_text("@a\0b")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_terms_or_one_line(tmp_path_factory, data):
    path: Path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(data)
    try:
        terms: tuple[str, ...] = read_glossary(path)
        told = ""
    except UsageError as error:
        terms, told = (), str(error)
    assert bool(terms) != bool(told)
    assert "\n" not in told
    if terms:
        assert terms == tuple(dict.fromkeys(terms))
        assert all(term.strip() == term and is_printable(term) for term in terms if "\u200e" not in term)
        assert terms_of("".join(f"{term}\n" for term in terms)) == terms
