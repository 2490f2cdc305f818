"""The level: what is heard, and how it is drawn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.output.meter import FLOOR, Level, bar


def full(db: float) -> np.ndarray:
    """A square wave of that loudness."""
    return np.full(800, 10 ** (db / 20), dtype=np.float32)


@pytest.mark.parametrize("db", [0.0, -6.0, -23.0, -59.0])
def test_loudness_is_that_of_the_last_block(db):
    level = Level()
    level.hear(full(-1.0))
    level.hear(full(db))
    assert level.db == pytest.approx(db, abs=0.01)
    assert level.peak == pytest.approx(max(-1.0, db), abs=0.1)


def test_silence_and_nonsense_are_the_floor():
    level = Level()
    for block in (np.zeros(10), np.full(10, np.nan), np.full(10, np.inf), np.empty(0)):
        level.hear(block.astype(np.float32))
        assert level.db == FLOOR


def test_the_peak_holds_and_falls(monkeypatch):
    level, now = Level(), time.monotonic()
    level.hear(full(-3.0))
    level.hear(full(-40.0))
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.0)
    assert level.peak == pytest.approx(-3.0, abs=0.01)
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.5)
    assert -30.0 < level.peak < -10.0
    monkeypatch.setattr(time, "monotonic", lambda: now + 60.0)
    assert level.peak == pytest.approx(-40.0, abs=0.01)


@given(db=st.floats(-80, 10), width=st.integers(-2, 200), plain=st.booleans())
def test_the_bar_is_as_wide_as_asked_and_as_full_as_it_is_loud(db, width, plain):
    level = Level()
    level.hear(full(db))
    drawn = bar(level, width, plain=plain)
    assert len(drawn) == max(0, width)
    assert not plain or drawn.isascii()
    share = (min(0.0, max(FLOOR, db)) - FLOOR) / -FLOOR
    if width > 0:
        assert drawn.count("#" if plain else "█") == pytest.approx(share * width, abs=1.01)
