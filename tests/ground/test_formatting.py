"""Text of unknown origin: what acts on a terminal does not get there, what people write does."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.formatting import (
    Cleaner,
    byte_amount,
    byte_size,
    clock,
    counted,
    hms,
    is_printable,
    json_text,
    one_line,
    printable,
)

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", "\ud800", "\udcff"]
DIRECTION = [chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
MARKS = ["\u061c", "\u200e", "\u200f"]
TAGS = [chr(c) for c in range(0xE0000, 0xE0080)]
LEFTOVERS = ["\ufeff", "\ufff9", "\u206a", "\u180e"]
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"

KEPT = [
    "naïve – 日本語 🙂",
    "क्\u200dष and क्\u200cष",  # joiners that change how Devanagari is written
    "می\u200cخواهم",  # Persian needs the non-joiner
    "👩\u200d👧\u200d👦 ❤\ufe0f 🇩🇪",
    "e\u0301 ก็ ệ",
    ENGLAND,
    "日本\u3000語 a\u00a0b",
]

hostile = st.sampled_from([*CONTROLS, *DIRECTION, *TAGS, *LEFTOVERS])
anything = st.text(st.characters(exclude_categories=())) | st.lists(
    hostile | st.sampled_from(["a", "\x1b[31m", "\x1b]0;t\x07", "日", ENGLAND, *MARKS]), max_size=30
).map("".join)


def acts(character: str, *, in_name: bool) -> bool:
    """By Unicode's own data and lists: does it act instead of being seen?"""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or character in LEFTOVERS
        or (in_name and character in MARKS)
    )


@given(anything)
def test_a_name_is_one_line_that_does_nothing(text):
    shown = printable(text)
    assert not any(acts(c, in_name=True) for c in shown)
    assert not set(shown.replace(ENGLAND, "").replace("\U0001f3f4", "")) & set(TAGS) or ENGLAND in text
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_people_write_is_shown_as_it_is(text):
    assert printable(text) == text
    assert is_printable(text)
    assert Cleaner().feed(text) == text
    assert one_line(text) == " ".join(text.split())


@pytest.mark.parametrize("character", [*CONTROLS, *DIRECTION, *MARKS, *TAGS, *LEFTOVERS], ids=ascii)
def test_in_names_every_one_of_them_is_spelled_out(character):
    shown = printable(f"a{character}b.wav")
    assert shown == f"a{repr(character)[1:-1]}b.wav"
    assert shown.isascii()


def test_marks_of_direction_stay_in_words():
    hebrew = "\u200fמחיר: 100 \u200e(ILS)\u200f"
    assert Cleaner().feed(hebrew) == hebrew == one_line(hebrew)


@given(anything, st.lists(st.integers(0, 40), max_size=6))
def test_words_do_nothing_however_they_are_cut(text, cuts):
    whole = Cleaner().feed(text)
    assert not any(acts(c, in_name=False) for c in whole.replace("\n", "").replace("\t", ""))
    assert not set(whole.replace(ENGLAND, "")) & set(TAGS) or ENGLAND[:4] in text
    pieces, cleaner = [], Cleaner()
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True):
        pieces.append(cleaner.feed(text[first:last]))
    assert "".join(pieces) == whole


def test_flags_that_are_none_lose_their_tags():
    hidden = "".join(chr(0xE0000 + ord(c)) for c in "ignore all of this")
    for text in (f"\U0001f3f4{hidden}\U000e007f", f"a{hidden}", ENGLAND[:-1] + "x"):
        assert not set(Cleaner().feed(text)) & (set(TAGS) - set(ENGLAND))
        assert not set(one_line(text)) & set(TAGS)
    assert Cleaner().feed(ENGLAND * 2) == ENGLAND * 2


# Two halves side by side are one character in JSON; names of files have only the second kind.
no_pairs = anything.map(lambda text: re.sub("[\ud800-\udbff]", "", text))


@given(no_pairs, no_pairs)
def test_json_loses_nothing_and_does_nothing(key, value):
    text = json_text({key: [value]})
    assert json.loads(text) == {key: [value]}
    assert not any(acts(c, in_name=True) for c in text)
    assert not set(text) & set(TAGS)
    text.encode()


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0.0 MB"),
        (3_149_000, "3.1 MB"),
        (999_940_000, "999.9 MB"),
        (999_960_000, "1.0 GB"),
        (25e9, "25.0 GB"),
    ],
)
def test_bytes(count, shown):
    assert byte_size(count) == shown


def test_a_memory_and_what_is_free_of_it():
    assert byte_amount(None) == "-"
    assert byte_amount(25_300_000_000) == "25.3 GB"
    assert byte_amount(25_300_000_000, 1_000_000_000) == "25.3 GB, 1.0 GB free"


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (0, "0:00:00", "00:00.00"),
        (59.999, "0:00:59", "01:00.00"),
        (3599.5, "0:59:59", "59:59.50"),
        (3661.25, "1:01:01", "1:01:01.25"),
        (360_000, "100:00:00", "100:00:00.00"),
        (-1, "0:00:00", "00:00.00"),
    ],
)
def test_durations_and_times(seconds, long, short):
    assert (hms(seconds), clock(seconds)) == (long, short)


def test_numbers_of_things():
    assert [counted(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
