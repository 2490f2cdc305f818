"""Transcripts in each format: whole, readable by others, and true to what was said."""

from __future__ import annotations

import html
import io
import itertools
import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.transcripts import segment_from_dict, transcript_from_json

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.output import (
    EXTENSIONS,
    SCHEMA,
    Recording,
    Segment,
    Style,
    check_format,
    open_writer,
)
from gemma_audio_cli.output.as_json import segment_as_dict
from gemma_audio_cli.output.cues import make_cues, spread
from gemma_audio_cli.output.formats import check_formats, format_of_file
from gemma_audio_cli.output.lines import display_width

HELLO = Segment(0.0, 2.5, "Hello there.", logprob=-0.25)
WORLD = Segment(3.0, 4.25, "How are you?", flags=("unreliable",))


def written(
    kind: str,
    *segments: Segment,
    recording: Recording = Recording("a.wav"),
    style: Style | None = None,
    **ending: object,
) -> str:
    out = io.StringIO()
    writer = open_writer(kind, out, style=style)
    writer.begin(recording)
    for segment in segments:
        writer.segment(segment)
    writer.end(**ending)  # type: ignore[arg-type]
    return out.getvalue()


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=24)
pieces = [
    "a",
    "of",
    "seven",
    "42,",
    "talk.",
    "internationalisation;",
    "今日は",
    "天気」が、",
    "e\u0301",
    "👩\u200d👧",
]
plain = st.lists(st.sampled_from(pieces), max_size=60).map(" ".join)
labels = st.sampled_from(["", "Channel 1: "])
texts = st.one_of(plain, st.lists(words, max_size=10).map(" ".join))


@st.composite
def sequences(draw: st.DrawFn) -> list[Segment]:
    """Segments in order of time."""
    now, found = 0.0, []
    for text in draw(st.lists(texts, max_size=5)):
        start = now + draw(st.floats(0, 5))
        now = start + draw(st.floats(0, 30))
        logprob = draw(st.none() | st.floats(-20, 0))
        flags = tuple(draw(st.lists(st.sampled_from(["truncated", "repetition", "unreliable"]), max_size=2)))
        channel = draw(st.none() | st.integers(0, 7))
        found.append(Segment(start, now, text, logprob=logprob, flags=flags, channel=channel))
    return found


# ---- cues ----------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(texts, st.integers(0, 10**7), st.integers(0, 60_000), st.integers(20, 60), labels)
def test_cues_hold_the_text_and_the_times(text, start, length, max_line, label):
    text = one_line(text)
    cues = make_cues(text, start, start + length, max_line=max_line, label=label)
    assert all(1 <= len(cue.lines) <= 2 for cue in cues)
    assert all(display_width(line) <= max_line for cue in cues for line in cue.lines)
    assert all(cue.lines[0].startswith(label) for cue in cues)
    joined = "".join(line for cue in cues for line in (cue.lines[0][len(label) :], *cue.lines[1:]))
    assert joined.replace(" ", "") == text.replace(" ", "")
    if cues:
        assert (cues[0].start, cues[-1].end) == (start, start + length)
    assert all(cue.start <= cue.end for cue in cues)
    assert all(before.end == after.start for before, after in itertools.pairwise(cues))
    if length >= 1000 * len(cues):
        # Rounding to whole milliseconds may take one.
        assert all(cue.end - cue.start >= 999 for cue in cues)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["one", "two,", "three.", "fourteen"]), min_size=1, max_size=24))
def test_words_stay_whole(tokens):
    cues = make_cues(" ".join(tokens), 0, 30_000)
    assert " ".join(line for cue in cues for line in cue.lines).split() == tokens


def test_cues_end_where_a_reader_pauses():
    text = (
        "And so, my fellow Americans, ask not what your country can do for you; "
        "ask what you can do for your country. This was said long ago."
    )
    first, second = make_cues(text, 0, 11_000)
    assert first.lines[-1].endswith("can do for you;")
    assert second.lines == ("ask what you can do for your country.", "This was said long ago.")


def test_wide_characters_count_twice_and_are_cut_between():
    cues = make_cues("今日は天気がいいですね。" * 6, 0, 30_000)
    lines = [line for cue in cues for line in cue.lines]
    assert max(map(display_width, lines)) <= 42
    assert not any(line.startswith("。") for line in lines)
    assert display_width("日本e\u0301") == 5


@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.integers(0, 40_000), st.integers(0, 2000))
def test_time_is_shared_out_completely(weights, total, minimum):
    borders = spread(5, 5 + total, weights, minimum)
    assert len(borders) == len(weights) + 1
    assert (borders[0], borders[-1]) == (5, 5 + total)
    assert borders == sorted(borders)


def test_time_goes_by_length():
    assert spread(0, 10_000, [1, 3], 1000) == [0, 2500, 10_000]
    assert spread(0, 10_000, [1, 99], 1000) == [0, 1000, 10_000]


# ---- subtitles -----------------------------------------------------------------------------------


def neutral(kind: str, text: str) -> str:
    """What is written instead of characters that could be taken for markup."""
    text = text.replace("\\", "⧵")
    if kind == "srt":
        for character, other in zip("<>{}", "‹›()", strict=True):
            text = text.replace(character, other)
    return text


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@settings(max_examples=25, deadline=None)
@given(sequences())
def test_subtitles_are_read_back(kind, segments):
    # pysubs2 takes a number on the very last line for that of the next cue.
    segments.append(Segment(200.0, 201.0, "end"))
    text = written(kind, *segments)
    events = pysubs2.SSAFile.from_string(text, kind, keep_html_tags=True).events
    assert [e.start for e in events] == sorted(e.start for e in events)
    assert all(e.start <= e.end for e in events)
    reported = "".join(e.text.replace(r"\N", "") for e in events)
    reported = html.unescape(reported) if kind == "vtt" else reported
    said = neutral(kind, "".join(one_line(s.text) for s in segments))
    assert reported.replace(" ", "").replace("\xa0", "") == said.replace(" ", "").replace("\xa0", "")


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_text_that_looks_like_markup_is_text(kind):
    evil = r"1 --> 00:00:02,000 <i>x</i> <c.red>&amp;{\an8}\N NOTE"
    text = written(kind, replace(HELLO, text=evil, end=9.0), WORLD)
    events = pysubs2.SSAFile.from_string(text, kind).events
    assert [(e.start, e.end) for e in events] == [(0, 9000), (3000, 4250)]
    assert text.count("-->") == 2
    assert "<i>" not in text
    assert "{\\" not in text


def test_srt_as_it_looks():
    assert written("srt", HELLO, WORLD) == (
        "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n2\n00:00:03,000 --> 00:00:04,250\nHow are you?\n\n"
    )


def test_vtt_without_speech_is_still_vtt():
    assert written("vtt", replace(HELLO, text="")) == "WEBVTT\n\n"


def test_cues_of_channels_are_merged_in_order_of_time():
    long = replace(HELLO, end=20.0, text="one two three four. " * 12, channel=1)
    short = replace(HELLO, start=4.0, end=5.0, text="yes", channel=2)
    text = written("srt", long, short, recording=Recording("call.wav", split_channels=True))
    events = pysubs2.SSAFile.from_string(text).events
    starts = [e.start for e in events]
    assert starts == sorted(starts)
    assert "Channel 2: yes" in [e.text for e in events][1:-1]
    assert sum(e.text.startswith("Channel 1: ") for e in events) == len(events) - 1
    assert "Channel" not in written("srt", long)


def test_subtitles_come_as_they_are_done():
    out = io.StringIO()
    writer = open_writer("srt", out)
    writer.begin(Recording("a.wav"))
    writer.segment(HELLO)
    assert "Hello there." in out.getvalue()


def test_subtitle_times_end_where_the_format_does():
    assert "99:59:59,999 --> 99:59:59,999" in written("srt", replace(HELLO, start=1e6, end=1e6 + 1))


# ---- text ----------------------------------------------------------------------------------------


def test_text_is_the_same_with_and_without_deltas():
    out = io.StringIO()
    writer = open_writer("text", out, with_names=True)
    writer.begin(Recording("a.wav"))
    for delta in ("Hello", " there.\n", "And you."):
        writer.delta(delta)
    said = replace(HELLO, text="Hello there.\nAnd you.")
    writer.segment(said)
    reported = out.getvalue()
    writer.segment(said)
    assert out.getvalue() == reported * 2 == "a.wav: Hello there.\na.wav: And you.\n" * 2


def test_timestamps():
    text = written("text", HELLO, replace(WORLD, start=3603.0, end=3604.256), style=Style(timestamps=True))
    assert text == (
        "[00:00.00 --> 00:02.50] Hello there.\n[1:00:03.00 --> 1:00:04.26] (unreliable) How are you?\n"
    )


def test_text_of_channels_is_labelled():
    recording = Recording("call.wav", split_channels=True)
    assert written("text", replace(HELLO, channel=2), recording=recording) == "Channel 2: Hello there.\n"


# ---- long recordings, ass, lrc --------------------------------------------------------------------


def test_times_have_as_many_hours_as_it_takes():
    """Only SubRip has a last moment; nothing is said on stderr of the others' times."""
    late = replace(HELLO, start=100 * 3600 + 2.192, end=100 * 3600 + 4.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "\n100:00:02.192 --> 100:00:04.500\n" in written("vtt", late)
        assert "\n99:59:59,999 --> 99:59:59,999\n" in written("srt", late)
        assert "Dialogue: 0,100:00:02.19,100:00:04.50,Default," in written("ass", late)
        assert "\n[6000:02.19]Hello there.\n[6000:04.50]\n" in written("lrc", late)


@settings(max_examples=40, deadline=None)
@given(sequences())
def test_ass_is_read_back_by_others(segments):
    events = pysubs2.SSAFile.from_string(written("ass", *segments), "ass").events
    said = "".join(one_line(s.text) for s in segments).translate(str.maketrans("{}\\", "()⧵"))
    assert "".join(e.text for e in events).replace(r"\N", "").replace(" ", "") == said.replace(" ", "")
    assert all(before.start <= after.start for before, after in itertools.pairwise(events))
    assert all(e.start <= e.end for e in events)


@settings(max_examples=40, deadline=None)
@given(sequences())
def test_lrc_is_a_time_and_a_line_each(segments):
    head, *lines = written("lrc", *segments).splitlines()
    assert head == "[re:gemma-audio]"
    found = [re.fullmatch(r"\[(\d{2,}):([0-5]\d)\.(\d\d)\]([^\[\]<>]*)", line) for line in lines]
    assert all(found)
    times = [int(m[1]) * 6000 + int(m[2]) * 100 + int(m[3]) for m in found if m]
    assert times == sorted(times)
    said = "".join(one_line(s.text) for s in segments).translate(str.maketrans("[]<>", "()‹›"))
    assert "".join(m[4] for m in found if m).replace(" ", "") == said.replace(" ", "")
    if lines:  # the last words do not stay for ever
        assert lines[-1].endswith("]")


def test_lrc_shows_nothing_in_a_pause():
    assert written("lrc", HELLO, WORLD) == (
        "[re:gemma-audio]\n[00:00.00]Hello there.\n[00:02.50]\n[00:03.00]How are you?\n[00:04.25]\n"
    )


# ---- json, jsonl, tsv ----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(sequences(), st.none() | st.floats(0, 1e6), st.sampled_from([None, "damaged"]))
def test_json_round_trip(segments, duration, error):
    about = Recording("a\udcff\n.wav", language="de", model="demo")
    text = written("json", *segments, recording=about, duration=duration, error=error)
    if error and not segments:
        assert text == ""
        return
    text.encode()
    found = transcript_from_json(text)
    assert (found.file, found.language, found.model, found.error) == (about.file, "de", "demo", error)
    assert found.duration == (None if duration is None else round(duration, 3))
    assert found.segments == tuple(segment_from_dict(segment_as_dict(s)) for s in segments)
    assert [s.text for s in found.segments] == [s.text for s in segments]
    assert json.loads(text)["schema"] == SCHEMA
    assert written("json", *found.segments, recording=about, duration=duration, error=error) == text


def test_json_of_another_schema_is_not_ours():
    for text in ("[]", "{}", '{"schema": "gemma-audio/transcript/2"}'):
        with pytest.raises(ValueError, match="schema"):
            transcript_from_json(text)


def test_numbers_that_json_has_not_are_null():
    value = json.loads(written("json", replace(HELLO, logprob=float("-inf"))))
    assert value["segments"][0]["avg_logprob"] is None


@settings(max_examples=15, deadline=None)
@given(sequences())
def test_jsonl_is_an_event_a_line(segments):
    lines = written("jsonl", *segments, duration=5.0).split("\n")
    assert lines.pop() == ""
    *events, last = map(json.loads, lines)
    assert [e["type"] for e in events] == ["segment"] * len(segments)
    assert [e["text"] for e in events] == [s.text for s in segments]
    assert (last["type"], last["schema"], last["segments"]) == ("file", SCHEMA, len(segments))


def test_jsonl_tells_what_ended_a_file():
    assert json.loads(written("jsonl", error="no such file"))["error"] == "no such file"


@settings(max_examples=15, deadline=None)
@given(sequences())
def test_tsv_has_a_row_a_segment(segments):
    header, *rows = written("tsv", *segments).removesuffix("\n").split("\n")
    assert header == "start_ms\tend_ms\ttext"
    cells = [row.split("\t") for row in rows]
    assert [(int(a), int(b), c) for a, b, c in cells] == [
        (round(s.start * 1000), round(s.end * 1000), one_line(s.text)) for s in segments
    ]


def test_tsv_of_several_files_and_channels():
    out = io.StringIO()
    writer = open_writer("tsv", out, with_names=True)
    for name in ("a\t.wav", "b.wav"):
        writer.begin(Recording(name, split_channels=True))
        writer.segment(replace(HELLO, channel=1))
        writer.end()
    assert out.getvalue() == (
        "file\tstart_ms\tend_ms\ttext\tchannel\n"
        "a\\t.wav\t0\t2500\tHello there.\t1\nb.wav\t0\t2500\tHello there.\t1\n"
    )


# ---- formats, segments ---------------------------------------------------------------------------


def test_a_segment_that_is_not_reliable_says_so_in_one_word_more():
    looping = Segment(1.0, 2.0, "x", logprob=-0.5, flags=("repetition",))
    assert segment_as_dict(looping)["flags"] == ["repetition", "unreliable"]
    assert segment_as_dict(HELLO)["flags"] == []


def test_a_translation_is_a_field_of_its_own_and_the_cue():
    both = Segment(0.0, 2.0, "Guten Tag.", translation="Good day.")
    assert segment_as_dict(both)["text"] == "Guten Tag."
    assert segment_as_dict(both)["translation"] == "Good day."
    assert "translation" not in segment_as_dict(HELLO)
    alone, two = written("srt", both), written("srt", both, style=Style(bilingual=True))
    assert "Good day." in alone
    assert "Guten" not in alone
    assert "Guten Tag. Good day." in two
    assert written("text", both) == "Guten Tag.\nGood day.\n"
    table = written("tsv", both, HELLO, style=Style(translated=True)).splitlines()
    assert [line.split("\t")[2:] for line in table] == [
        ["text", "translation"], ["Guten Tag.", "Good day."], [HELLO.text, ""],
    ]  # fmt: skip


def test_a_file_s_format_is_that_of_its_longest_extension():
    for kind, extension in EXTENSIONS.items():
        for name in (f"a.{extension}", f"A.{extension.upper()}", f"a.b.{extension}"):
            assert format_of_file(Path(name)) == kind, name
    assert format_of_file(Path("words.tsv")) == "tsv"
    assert format_of_file(None) == format_of_file(Path("a")) == "text"


def test_formats_by_name():
    assert [check_format(name) for name in EXTENSIONS] == list(EXTENSIONS)
    assert check_format("TXT") == "text"
    with pytest.raises(UsageError, match="choose from text, srt"):
        check_format("pdf")
    assert check_formats(["srt,vtt", "TXT", "srt"]) == ("srt", "vtt", "text")
    assert check_formats(["all"]) == tuple(EXTENSIONS)
    assert check_formats([]) == ()
    for wrong in ("srt;vtt", "srt,", ""):
        with pytest.raises(UsageError, match="several as srt,vtt"):
            check_formats([wrong])
    with pytest.raises(UsageError, match="too narrow"):
        Style(max_line=3)


def test_importing_output_loads_nothing_heavy():
    heavy = ("rich", "pysubs2", "numpy")
    code = f"import sys, gemma_audio_cli.output; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_documentation_shows_what_is_written():
    page = (Path(__file__).resolve().parents[2] / "docs" / "OUTPUT.md").read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    shown = transcript_from_json(example)
    about = Recording(shown.file, shown.language, shown.model)
    for kind in ("json", "jsonl", "srt", "ass", "lrc", "tsv"):
        text = written(kind, *shown.segments, recording=about, duration=shown.duration)
        assert text[text.find("[Events]") if kind == "ass" else 0 :].rstrip() in page
    assert written("text", *shown.segments, style=Style(timestamps=True)) in page
    assert all(f"| `{kind}` | `.{ending}` |" in page for kind, ending in EXTENSIONS.items())
