"""Words in what people read: cues with their times, karaoke, marks on words that are unsure."""

from __future__ import annotations

import html
import io
import itertools
import json
import re
from dataclasses import replace

import av
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.output import EXTENSIONS, OutputPlan, Recording, Segment, Style, open_writer
from gemma_audio_cli.output.cues import Cue, Timed, make_cues
from gemma_audio_cli.output.lines import display_width
from gemma_audio_cli.output.subtitles import KARAOKE
from gemma_audio_cli.output.unsure import BELOW, Unsure, bracketed, underlined
from gemma_audio_cli.transcript import Word, Written

PIECES = [
    "a", "of", "seven", "42,", "talk.", "internationalisation;", "e\u0301", "👩\u200d👧", "สวัสดี",
    "今日は", "天気」が、", "コーヒー", "a" * 90,
    "-->", "<b>", "</b>", r"{\k50}", r"\N", "[00:01.00]", "<00:01.00>", "<00:00:01.000>", "&lt;", "NOTE",
    "[?x]", "x\x1b[31m", "a\tb", "\u202eabc", "WEBVTT",
]  # fmt: skip
"""Words that models write, and such that look like markup of some format."""


@st.composite
def spoken(draw: st.DrawFn) -> Segment:
    """A segment whose words have times; some touch, some are of no length, a few have no space before."""
    start = now = draw(st.floats(0, 400_000))
    text, words = "", []
    for piece in draw(st.lists(st.sampled_from(PIECES), max_size=30)):
        now += draw(st.sampled_from([0.0, 0.0, 0.004, 0.3, 2.0]))
        end = now + draw(st.sampled_from([0.0, 0.003, 0.02, 0.41, 1.7]))
        words.append(Word(piece, now, end, draw(st.floats(0, 1))))
        text += (draw(st.sampled_from(["", " ", " ", "\n"])) if text else "") + piece
        now = end
    return Segment(start, now + draw(st.floats(0, 3)), text, words=tuple(words))


labelled = st.booleans()
limits = st.none() | st.integers(1, 4)


def written(kind: str, *segments: Segment, recording: Recording = Recording("a.wav"), **style: object) -> str:
    out = io.StringIO()
    writer = open_writer(kind, out, style=Style(**style))  # type: ignore[arg-type]
    writer.begin(recording)
    for segment in segments:
        writer.segment(segment)
    writer.end()
    return out.getvalue()


def timed(segment: Segment) -> list[Timed]:
    return [
        Timed(one_line(word.text), round(word.start * 1000), round(word.end * 1000)) for word in segment.words
    ]


def cues_of(segment: Segment, max_words: int | None = None, *, label: str = "") -> list[Cue]:
    start, end = round(segment.start * 1000), round(segment.end * 1000)
    text, words = one_line(segment.text), timed(segment)
    return make_cues(text, start, end, label=label, max_words=max_words, words=words)


# ---- cues ------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(spoken(), labelled, limits)
def test_cues_have_the_times_of_their_words(segment, with_label, max_words):
    label = "Channel 1: " if with_label else ""
    cues = cues_of(segment, max_words, label=label)
    words = timed(segment)
    letters = [(word, k) for word in words for k in range(len(word.text.replace(" ", "")))]
    at = 0
    for cue, following in itertools.zip_longest(cues, cues[1:]):
        assert all(display_width(line) <= 42 for line in cue.lines)
        shown = "".join(cue.lines)[len(label) :].replace(" ", "")
        (first, k), (last, n) = letters[at], letters[at + len(shown) - 1]
        at += len(shown)
        # A word that is cut shares its time out; else the cue begins with its first word, ends with its last.
        assert first.start <= cue.start <= first.end
        assert k > 0 or cue.start == first.start
        limit = following.start if following else max(round(segment.end * 1000), cue.end)
        assert cue.start <= cue.end <= limit
        whole = n == len(last.text.replace(" ", "")) - 1
        if cue.end - cue.start != 1000 and cue.end != limit and whole:
            assert cue.end == last.end
        assert cue.end >= min(limit, cue.start + 1000)
    assert at == len(letters)


@settings(max_examples=150, deadline=None)
@given(spoken(), labelled, limits)
def test_a_cue_is_its_words_in_order_of_time(segment, with_label, max_words):
    label = "Channel 1: " if with_label else ""
    for cue in cues_of(segment, max_words, label=label):
        assert cue.lines == tuple("".join(piece.text for piece in line) for line in cue.said)
        now = cue.start
        for piece in itertools.chain(*cue.said):
            assert now <= piece.start <= piece.end
            now = piece.end
        assert now <= cue.end


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["one", "two,", "three.", "fourteen"]), min_size=1), st.integers(1, 6),
       st.integers(0, 90_000))  # fmt: skip
def test_cues_have_at_most_so_many_words(tokens, most, length):
    """With the times of words and without."""
    text = " ".join(tokens)
    words = [Timed(token, i * 100, i * 100 + 90) for i, token in enumerate(tokens)]
    for said in ((), words):
        cues = make_cues(text, 0, length, max_words=most, words=said)
        found = [" ".join(cue.lines).split() for cue in cues]
        assert [word for cue in found for word in cue] == tokens
        assert max(map(len, found)) <= most
    free = make_cues(text, 0, length)
    assert make_cues(text, 0, length, max_words=len(tokens)) == free


def test_one_word_at_a_time_has_the_words_times():
    words = [Timed("one", 100, 400), Timed("two", 500, 2000), Timed("three", 2000, 2200)]
    cues = make_cues("one two three", 0, 2500, max_words=1, words=words)
    assert [(cue.lines, cue.start, cue.end) for cue in cues] == [
        (("one",), 100, 500), (("two",), 500, 2000), (("three",), 2000, 2500),
    ]  # fmt: skip
    # Without times they share the segment's, by their length.
    assert [(cue.start, cue.end) for cue in make_cues("one two three", 0, 13_000, max_words=1)] == [
        (0, 3545), (3545, 7091), (7091, 13_000),
    ]  # fmt: skip


def test_scripts_without_spaces_are_counted_by_their_words():
    words = [Timed("今天", 0, 400), Timed("天气", 400, 900), Timed("很好。", 900, 1500)]
    cues = make_cues("今天天气很好。", 0, 1500, max_words=2, words=words)
    assert ["".join(cue.lines) for cue in cues] == ["今天天气", "很好。"]
    assert ["".join(c.lines) for c in make_cues("今天很好。", 0, 900, max_words=2)] == ["今天", "很好。"]
    thai = [Timed("สวัส", 0, 400), Timed("ดี", 400, 900)]
    assert [c.lines for c in make_cues("สวัสดี", 0, 900, max_words=1, words=thai)] == [("สวัส",), ("ดี",)]


def test_words_that_are_not_the_text_count_for_nothing():
    words = [Timed("one", 100, 400)]
    assert make_cues("one two", 0, 900, words=words) == make_cues("one two", 0, 900)


# ---- karaoke ---------------------------------------------------------------------------------------------


def ms(time: str) -> int:
    """H:MM:SS.mmm, MM:SS.cc and the like."""
    *larger, seconds = time.split(":")
    whole, fraction = seconds.split(".")
    total = 0
    for part in (*larger, whole):
        total = total * 60 + int(part)
    return total * 1000 + int(fraction.ljust(3, "0"))


def read_vtt(text: str) -> list[tuple[int, int, str, list[int]]]:
    """Strictly: (start, end, text without tags, the times in it) of each cue."""
    head, *blocks = text.removesuffix("\n\n").split("\n\n")
    assert head == "WEBVTT"
    found = []
    for number, block in enumerate(filter(None, blocks), 1):
        index, times, *lines = block.split("\n")
        assert int(index) == number
        match = re.fullmatch(r"(\d\d+:[0-5]\d:[0-5]\d\.\d{3}) --> (\d\d+:[0-5]\d:[0-5]\d\.\d{3})", times)
        assert match
        payload = "\n".join(lines)
        assert "-->" not in payload
        inner = re.findall(r"<(\d\d+:[0-5]\d:[0-5]\d\.\d{3})>", payload)
        bare = re.sub(r"<\d\d+:[0-5]\d:[0-5]\d\.\d{3}>", "", payload)
        assert not re.search(r"[<>]", bare)
        assert not re.search(r"&(?!lt;|gt;|amp;)", bare)
        found.append((ms(match[1]), ms(match[2]), html.unescape(bare), [*map(ms, inner)]))
    return found


def neutral(kind: str, text: str) -> str:
    pairs = {"vtt": ("\\", "⧵"), "ass": ("{}\\", "()⧵"), "lrc": ("[]<>", "()‹›")}
    return one_line(text).translate(str.maketrans(*pairs[kind]))


def bare(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=100, deadline=None)
@given(st.lists(spoken(), max_size=3), limits)
def test_vtt_karaoke_is_the_plain_text_with_times(segments, max_words):
    segments = in_order(segments)
    plain = read_vtt(written("vtt", *segments, max_words=max_words))
    sung = read_vtt(written("vtt", *segments, karaoke=True, max_words=max_words))
    assert [cue[:3] for cue in sung] == [cue[:3] for cue in plain]
    assert bare("".join(cue[2] for cue in sung)) == bare("".join(neutral("vtt", s.text) for s in segments))
    for start, end, _, times in sung:
        edges = [start, *times, end]
        assert not times or all(a < b for a, b in itertools.pairwise(edges))


@settings(max_examples=100, deadline=None)
@given(st.lists(spoken(), max_size=3), limits)
def test_ass_karaoke_takes_as_long_as_its_line(segments, max_words):
    segments = in_order(segments)
    plain = pysubs2.SSAFile.from_string(written("ass", *segments, max_words=max_words)).events
    sung = pysubs2.SSAFile.from_string(written("ass", *segments, karaoke=True, max_words=max_words)).events
    assert [(e.start, e.end) for e in sung] == [(e.start, e.end) for e in plain]
    for before, event in zip(plain, sung, strict=True):
        pieces = re.findall(r"\{\\k(\d+)\}([^{}]*)", event.text)
        assert "".join(f"{{\\k{k}}}{text}" for k, text in pieces).replace(r"\N", "") == event.text.replace(
            r"\N", ""
        )
        assert re.sub(r"\{\\k\d+\}", "", event.text) == before.text
        assert sum(int(k) for k, _ in pieces) * 10 == event.end - event.start
    assert bare("".join(e.text.replace(r"\N", "") for e in plain)) == bare(
        "".join(neutral("ass", s.text) for s in segments)
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(spoken(), max_size=3), limits)
def test_lrc_karaoke_has_a_time_before_each_word(segments, max_words):
    segments = in_order(segments)
    plain = written("lrc", *segments, max_words=max_words).splitlines()
    sung = written("lrc", *segments, karaoke=True, max_words=max_words).splitlines()
    time = r"\d{2,}:[0-5]\d\.\d\d"
    assert [re.sub(rf"<{time}>", "", line) for line in sung] == plain
    said = ""
    for line, following in itertools.zip_longest(sung[1:], sung[2:]):
        match = re.fullmatch(rf"\[({time})\]((?:<{time}>[^<>\[\]]*)*)", line)
        assert match
        times = [*map(ms, re.findall(rf"<({time})>", line))]
        after = re.match(rf"\[({time})\]", following or "")
        edges = [ms(match[1]), *times, *([ms(after[1])] if after else [])]
        assert edges == sorted(edges)
        assert not times or line.endswith(">")
        said += re.sub(rf"<{time}>", "", match[2])
    assert bare(said) == bare("".join(neutral("lrc", s.text) for s in segments))


def in_order(segments: list[Segment]) -> list[Segment]:
    """One after the other."""
    found, now = [], 0.0
    for segment in segments:
        late = now - segment.start
        words = tuple(replace(word, start=word.start + late, end=word.end + late) for word in segment.words)
        found.append(replace(segment, start=now, end=segment.end + late, words=words))
        now = segment.end + late
    return found


DIGITS = Segment(
    0.0,
    4.141,
    "4 1 <b>",
    words=(
        Word("4", 0.24, 0.62, 0.9),
        Word("1", 0.62, 1.28, BELOW - 0.01),
        Word("<b>", 1.46, 1.84, BELOW),
    ),
)


def test_karaoke_as_it_looks():
    assert written("vtt", DIGITS, karaoke=True) == (
        "WEBVTT\n\n1\n00:00:00.240 --> 00:00:01.840\n4 <00:00:00.620>1 <00:00:01.460>&lt;b&gt;\n\n"
    )
    ass = written("ass", DIGITS, karaoke=True)
    assert ass.endswith(r"0:00:00.24,0:00:01.84,Default,,0,0,0,,{\k38}4{\k66} 1{\k18} {\k38}<b>" + "\n")
    assert written("lrc", DIGITS, karaoke=True) == (
        "[re:gemma-audio]\n[00:00.24]<00:00.24>4 <00:00.62>1 <00:01.46>‹b›<00:01.84>\n[00:01.84]\n"
    )


@pytest.mark.parametrize("kind", KARAOKE)
def test_ffmpeg_reads_karaoke(kind, tmp_path):
    path = tmp_path / f"talk.{kind}"
    path.write_text(written(kind, *in_order([DIGITS, DIGITS]), karaoke=True), encoding="utf-8")
    found = []
    with av.open(str(path)) as container:
        (stream,) = container.streams.subtitles
        for packet in container.demux(stream):
            text = "".join(s.dialogue.decode() for s in packet.decode()) if packet.size else ""
            if text:
                start, length = packet.pts * packet.time_base, packet.duration * packet.time_base
                found.append((float(start), float(start + length), text))
    edges = [edge for start, end, _ in found for edge in (start, end)]
    assert edges == pytest.approx([0.24, 1.84, 4.381, 5.981], abs=0.005)  # or in hundredths
    # FFmpeg knows the tags of WebVTT; those of the others are for players.
    shown = {
        "vtt": ["4 1 <b>"] * 2,
        "ass": [r"{\k38}4{\k66} 1{\k18} {\k38}<b>"] * 2,
        "lrc": [
            "<00:00.24>4 <00:00.62>1 <00:01.46>‹b›<00:01.84>",
            "<00:04.38>4 <00:04.76>1 <00:05.60>‹b›<00:05.98>",
        ],
    }
    assert [text for _, _, text in found] == shown[kind]


def test_channels_are_named_in_karaoke_too():
    recording = Recording("call.wav", split_channels=True)
    segment = replace(DIGITS, channel=2)
    assert "\nChannel 2: 4 <00:00:00.620>1" in written("vtt", segment, recording=recording, karaoke=True)
    assert r",{\k38}Channel 2: 4{\k66} 1" in written("ass", segment, recording=recording, karaoke=True)
    assert "]<00:00.24>Channel 2: 4 <" in written("lrc", segment, recording=recording, karaoke=True)


@pytest.mark.parametrize("kind", KARAOKE)
def test_a_segment_without_word_times_is_plain(kind):
    silent = replace(DIGITS, words=())
    head = "[Events]" if kind == "ass" else ""
    plain, sung = (written(kind, silent, karaoke=wanted).partition(head or " ")[2] for wanted in (0, 1))
    assert plain == sung != ""
    # Nor has a translation: its words were not said.
    other = replace(DIGITS, translation="vier eins")
    assert "<00:" not in written("vtt", other, karaoke=True)


def test_formats_that_cannot_sing_say_which_can():
    for kinds in (["srt"], ["text", "json"], ["tsv"], [], ["words"]):
        with pytest.raises(UsageError, match="choose from vtt, ass, lrc with -f"):
            OutputPlan(["a.wav"], "out/", kinds, style=Style(karaoke=True))
    for kinds in (["vtt"], ["srt", "ass"], ["all"]):
        assert OutputPlan(["a.wav"], "out/", kinds, style=Style(karaoke=True)).formats
    assert set(KARAOKE) < set(EXTENSIONS)


def test_cues_without_words_are_refused():
    for wrong in (0, -3):
        with pytest.raises(UsageError, match="--max-words must be 1 or more"):
            Style(max_words=wrong)


# ---- marks -----------------------------------------------------------------------------------------------

MARKED = {"text": "4 [?1] <b>", "srt": "4 [?1] ‹b›", "vtt": "4 [?1] &lt;b&gt;", "ass": "4 [?1] <b>",
          "lrc": "4 (?1) ‹b›"}  # fmt: skip


@pytest.mark.parametrize("kind", MARKED)
@pytest.mark.parametrize("times", [True, False])
def test_unsure_words_are_marked(kind, times):
    """By the words with times, or by those without where times were not asked for."""
    bare_words = tuple(Written(word.text, word.probability) for word in DIGITS.words)
    segment = DIGITS if times else replace(DIGITS, words=(), written=bare_words)
    lines = written(kind, segment, unsure=Unsure()).splitlines()
    assert any(line.endswith(MARKED[kind]) for line in lines)
    assert not any("?" in line for line in written(kind, segment).splitlines())


@pytest.mark.parametrize("kind", sorted(set(EXTENSIONS) - set(MARKED)))
def test_formats_for_programs_have_no_marks(kind):
    assert written(kind, DIGITS, unsure=Unsure()) == written(kind, DIGITS)


def test_a_mark_belongs_to_its_word():
    assert r"{\k66} [?1]{\k18}" in written("ass", DIGITS, karaoke=True, unsure=Unsure())
    assert "<00:00:00.620>[?1] <" in written("vtt", DIGITS, karaoke=True, unsure=Unsure())
    ever = Unsure(1.0)
    assert written("text", DIGITS, unsure=ever) == "[?4] [?1] [?<b>]\n"
    assert written("text", DIGITS, unsure=ever, timestamps=True) == (
        "[00:00.00 --> 00:04.14] [?4] [?1] [?<b>]\n"
    )


def test_text_with_marks_waits_for_the_window():
    out = io.StringIO()
    writer = open_writer("text", out, style=Style(unsure=Unsure()))
    writer.begin(Recording("a.wav"))
    writer.delta("4 1")
    assert out.getvalue() == ""
    writer.segment(DIGITS)
    assert out.getvalue() == "4 [?1] <b>\n"


def test_translations_are_not_marked():
    both = replace(DIGITS, translation="vier 1")
    assert written("text", both, unsure=Unsure()) == "4 [?1] <b>\nvier 1\n"
    assert "[?" not in written("srt", both, unsure=Unsure())
    assert "4 [?1] ‹b› vier 1" in written("srt", both, unsure=Unsure(), bilingual=True)


def test_terminals_underline():
    text, _ = Unsure(mark=underlined).marked(DIGITS.text, DIGITS.words)
    assert text == "4 \x1b[2;4m1\x1b[0m <b>"


@settings(max_examples=150, deadline=None)
@given(spoken(), st.floats(0.01, 1))
def test_without_its_marks_a_text_is_what_was_said(segment, below):
    opened, closed = "\ue000", "\ue001"
    unsure = Unsure(below, lambda word: opened + word + closed)
    text, words = unsure.marked(segment.text, segment.words)
    assert text.replace(opened, "").replace(closed, "") == segment.text
    marked = re.findall(f"{opened}([^{closed}]*){closed}", text)
    assert marked == [word.text for word in segment.words if word.probability < below]
    assert bare(text) == bare("".join(word.text for word in words))
    assert [(a.start, a.end) for a in words] == [(b.start, b.end) for b in segment.words]


def test_words_that_the_text_has_not_are_left_alone():
    words = (Written("4", 0.1), Written("9", 0.1), Written("<b>", 0.1))
    assert Unsure().marked("4 1 <b>", words)[0] == "[?4] 1 <b>"
    assert Unsure().marked("", words)[0] == ""
    assert Unsure().marked("4 1", ())[0] == "4 1"


def test_json_tells_a_mark_from_the_models_own():
    own = Segment(0, 1, "[?x] y", words=(Word("[?x]", 0, 0.5, 0.9), Word("y", 0.5, 1, 0.1)))
    assert written("text", own, unsure=Unsure()) == "[?x] [?y]\n"
    value = json.loads(written("json", own, unsure=Unsure()))["segments"][0]
    assert (value["text"], [word["probability"] for word in value["words"]]) == ("[?x] y", [0.9, 0.1])
    assert bracketed("x") == "[?x]"
