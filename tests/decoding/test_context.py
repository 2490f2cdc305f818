"""Which terms of a glossary fit, which go first, and what counts as nothing but terms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.decoding.context import Terms, alike, budget, listed, only_terms

terms = st.lists(st.text("abcdef gé", min_size=1, max_size=12).map(str.strip).filter(bool), unique=True)


def count(text: str) -> int:
    return len(text)


@given(terms, st.integers(0, 120), st.lists(st.text("abcdef gé", max_size=30), max_size=5))
def test_what_fits_is_whole_terms_in_their_order(glossary, room, texts):
    known = Terms(glossary)
    for text in texts:
        known.saw(text)
    kept = known.fit(count, room)
    assert list(kept) == [term for term in glossary if term in kept]
    assert count(listed(kept)) <= room
    sizes = sum(count(f", {term}") for term in glossary)
    assert sizes > room or list(kept) == glossary


def test_the_ones_not_seen_for_longest_go_first():
    known = Terms(["Anna", "Berta", "Clara", "Dora"])
    size = count(", Clara") * 2
    assert known.fit(count, size) == ("Anna", "Berta"), "none was seen: the order of the file"
    known.saw("Then Dora said")
    assert known.fit(count, size) == ("Anna", "Dora")
    known.saw("and clara?")
    assert known.fit(count, size) == ("Clara", "Dora")
    known.saw("Bertas Dora")  # not Berta
    known.saw("Anna")
    assert known.fit(count, size) == ("Anna", "Dora")


def test_a_term_that_cannot_fit_keeps_no_other_out():
    assert Terms(["x" * 50, "Anna"]).fit(count, 20) == ("Anna",)


def test_scripts_without_spaces_are_seen_too():
    known = Terms(["大阪", "東京"])
    known.saw("私は東京に行く")
    assert known.fit(count, 4) == ("東京",)


def test_the_budget_is_a_share_of_small_models():
    assert (budget(131_072), budget(4096), budget(1024)) == (512, 512, 128)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Anna Müller.", True), ("ANNA MÜLLER, Kilo", True), ("Kilo Kilo Kilo", True), ("Ki-lo", True),
        ("Anna", False), ("Kilo and Anna Müller", False), ("", False), ("...", False), ("Kilos", False),
    ],
)  # fmt: skip
def test_nothing_but_terms(text, found):
    assert only_terms(text, ["Anna Müller", "Kilo", ""]) is found


@given(terms, st.data())
def test_any_row_of_terms_is_nothing_but_terms(glossary, data):
    some = data.draw(st.lists(st.sampled_from(glossary), max_size=6)) if glossary else []
    assert only_terms(" ".join(some), glossary) is bool(some)


def test_other_spellings_sound_alike():
    assert alike("Zbigniew Brzezinski", "Zbignjev Bshesinski")
    assert not alike("Umspannwerk", "He said nothing of that")
    assert not alike("Kilo", "")
