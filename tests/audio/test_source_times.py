"""Points in time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.audio.read.timecode import parse_time
from gemma_audio_cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("90.5", 90.5),
        (" 7. ", 7.0),
        ("1:30", 90.0),
        ("01:30.25", 90.25),
        ("90:00", 5400.0),
        ("1:02:03", 3723.0),
        ("00:01:02,500", 62.5),
        ("100:00:00.001", 360_000.001),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1:60", "1:60:00", "1::2", "1:2:3:4", "1e3", "nan", "inf", "١", "1:-2", "5s", ":30"],
)
def test_no_times(text):
    with pytest.raises(UsageError, match="--start"):
        parse_time(text, "--start")


@given(st.integers(0, 10**7))
def test_milliseconds_come_back(milliseconds):
    seconds, fraction = divmod(milliseconds, 1000)
    text = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:03}"
    assert parse_time(text) == pytest.approx(milliseconds / 1000, abs=1e-9)


@given(st.text(max_size=12))
def test_anything_else_is_a_clear_error(text):
    try:
        seconds = parse_time(text)
    except UsageError:
        return
    assert seconds >= 0
