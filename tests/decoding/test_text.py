"""The text filter: only words reach the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.decoding.text import TextFilter
from gemma_audio_cli.formatting import Cleaner


class Pieces:
    """Tokens that are their own bytes; "<...>" are control tokens."""

    def __init__(self) -> None:
        self.known: list[bytes] = []

    def id(self, data: bytes) -> int:
        self.known.append(data)
        return len(self.known) - 1

    def token_bytes(self, token: int) -> bytes:
        return self.known[token]

    def is_control(self, token: int) -> bool:
        return self.known[token].startswith(b"<") and self.known[token].endswith(b">")


def run(*pieces: bytes) -> str:
    tokens = Pieces()
    text = TextFilter(tokens)
    return "".join(text.feed(tokens.id(piece)) for piece in pieces) + text.finish()


def test_words_pass():
    assert run(b"one", b" two", b"\n", b"three") == "one two\nthree"


def test_control_tokens_do_not():
    assert run(b"<bos>", b"one", b"<turn|>") == "one"


def test_thoughts_are_dropped():
    assert run(b"<|channel>", b"thought\n", b"I hear ", b"digits", b"<channel|>", b"4 2") == "4 2"


def test_a_thought_that_never_ends_is_no_answer():
    assert run(b"<|channel>", b"thought\n", b"so many words") == ""


def test_characters_are_whole():
    data = "naïve – 日本 🙂".encode()
    tokens = Pieces()
    text = TextFilter(tokens)
    deltas = [text.feed(tokens.id(data[i : i + 1])) for i in range(len(data))]
    assert "".join(deltas) == "naïve – 日本 🙂"
    assert all("\ufffd" not in delta for delta in deltas)


def test_bytes_that_are_no_text_become_a_mark():
    assert run(b"a", b"\xff", b"b") == "a\ufffdb"
    assert run(b"a", b"\xe6\x97") == "a\ufffd"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\six", "six"),
        ("a\x1b(Bb", "ab"),
        ("a\x9b2Jb", "ab"),
        ("a\x9d0;t\x9cb", "ab"),
        ("bell\x07, back\x08, return\r, delete\x7f", "bell, back, return, delete"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\x1b[31\nnew line ends it", "new line ends it"),
        ("\x1b]" + "x" * 600 + "y", "x" * 88 + "y"),
    ],
)
def test_terminal_control_is_removed(raw, clean):
    assert Cleaner().feed(raw) == clean
    pieces = Cleaner()
    assert "".join(pieces.feed(character) for character in raw) == clean


@given(st.text(alphabet=st.sampled_from("ab\x1b[]0;m\x07\x9b\x9c\\\n\t\r\x00\x7f P")))
def test_nothing_dangerous_is_left(raw):
    clean = Cleaner().feed(raw)
    assert not set(clean) & set("\x1b\x07\x9b\x9c\r\x00\x7f")
