"""Who speaks, in every format; and names that would break one."""

from __future__ import annotations

import io
import json

import pytest

from gemma_audio_cli.output.records import JsonlWriter, TranscriptWriter, TsvWriter, WordsWriter
from gemma_audio_cli.output.subtitles import SubtitleWriter
from gemma_audio_cli.output.writers import TextWriter
from gemma_audio_cli.transcript import Recording, Segment, Word

TALK = Recording("talk.wav", speakers=True)
HOSTILE = "Al <b>{\\k1}[00:01.00]-->\t\n& Bo"


def segments(*names: str | None) -> list[Segment]:
    return [
        Segment(
            float(i),
            i + 0.9,
            f"word{i}",
            speaker=name,
            words=(Word(f"word{i}", i, i + 0.9, 1.0, speaker=name),),
        )
        for i, name in enumerate(names)
    ]


def written(make, *names: str | None) -> str:
    out = io.StringIO()
    writer = make(out)
    writer.begin(TALK)
    for segment in segments(*names):
        writer.delta(segment.text)
        writer.segment(segment)
    writer.end()
    return out.getvalue()


def test_text():
    assert written(TextWriter, "Anna", "Ben", None) == "Anna: word0\nBen: word1\nword2\n"


def test_tables():
    assert written(TsvWriter, "Anna", None).splitlines() == [
        "start_ms\tend_ms\ttext\tspeaker",
        "0\t900\tword0\tAnna",
        "1000\t1900\tword1\t",
    ]
    assert written(WordsWriter, "Anna").splitlines()[1] == "0\t900\tword0\t1.00\tattention\tAnna"


def test_json():
    value = json.loads(written(TranscriptWriter, "Anna", None))
    assert value["segments"][0]["speaker"] == value["segments"][0]["words"][0]["speaker"] == "Anna"
    assert "speaker" not in value["segments"][1]
    first = json.loads(written(JsonlWriter, "Anna").splitlines()[0])
    assert first["speaker"] == "Anna"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("srt", "Anna: word0"),
        ("vtt", "<v Anna>word0"),
        ("ass", "Dialogue: 0,0:00:00.00,0:00:00.90,Default,,0,0,0,,Anna: word0"),
        ("lrc", "[00:00.00]Anna: word0"),
    ],
)
def test_subtitles(kind, line):
    lines = written(lambda out: SubtitleWriter(out, kind), "Anna", None).splitlines()
    assert line in lines
    assert lines[next(i for i, text in enumerate(lines) if "word1" in text)].endswith("word1")
    assert sum("Anna" in text for text in lines) == 1


@pytest.mark.parametrize(
    ("kind", "tags"),
    [("srt", ("<b", "{", "\\")), ("vtt", ("<b",)), ("ass", ("{", "\\")), ("lrc", ("[00:01", "<"))],
)
def test_names_are_no_tags(kind, tags):
    text = written(lambda out: SubtitleWriter(out, kind), HOSTILE)
    plain = written(lambda out: SubtitleWriter(out, kind), "Al Bo")
    assert len(text.splitlines()) == len(plain.splitlines())
    if kind in ("srt", "vtt"):
        assert text.count("-->") == plain.count("-->") == 1
    for tag in tags:
        assert text.count(tag) == plain.count(tag), tag


def test_a_voice_is_no_part_of_the_line():
    # A long name takes no room from what was said.
    long = "N" * 40
    cue = written(lambda out: SubtitleWriter(out, "vtt"), long)
    assert f"<v {long}>word0\n" in cue
