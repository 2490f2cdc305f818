"""How results look on stdout."""

from __future__ import annotations

import io
import json

from gemma_audio_cli.engine.transcriber import Segment
from gemma_audio_cli.output import JsonWriter, TextWriter


def test_text_is_written_as_it_comes():
    out = io.StringIO()
    writer = TextWriter(out)
    writer.begin("a.wav")
    writer.delta("one")
    assert out.getvalue() == "one"
    writer.delta(" two")
    writer.segment(Segment(0, 1, "one two"))
    writer.delta("three")
    writer.end()
    assert out.getvalue() == "one two\nthree\n"


def test_with_names_every_line_has_one():
    out = io.StringIO()
    writer = TextWriter(out, with_names=True)
    writer.begin("a.wav")
    writer.delta("one\ntw")
    writer.delta("o\n")
    writer.segment(Segment(0, 1, "one\ntwo"))
    writer.end()
    writer.begin("b.wav")
    writer.segment(Segment(0, 1, ""))
    writer.end()
    assert out.getvalue() == "a.wav: one\na.wav: two\n"


def test_json_is_one_object_a_recording():
    out = io.StringIO()
    writer = JsonWriter(out)
    for name, text in (("a.wav", "one"), ("b.wav", "zwei – 二")):
        writer.begin(name)
        writer.segment(Segment(0.0, 1.23456, text, 3, float("-inf")))
        writer.segment(Segment(1.23456, 2.0, "", flags=("truncated",)))
        writer.end()
    decoder, text = json.JSONDecoder(), out.getvalue()
    first, end = decoder.raw_decode(text)
    second, _ = decoder.raw_decode(text[end:].lstrip())
    assert first == {
        "file": "a.wav",
        "text": "one",
        "segments": [
            {"start": 0.0, "end": 1.235, "text": "one", "tokens": 3, "logprob": None, "complete": True},
            {"start": 1.235, "end": 2.0, "text": "", "tokens": 0, "logprob": None, "complete": False},
        ],
    }
    assert second["text"] == "zwei – 二"


def test_json_tells_what_ended_it():
    out = io.StringIO()
    writer = JsonWriter(out)
    writer.begin("a.wav")
    writer.segment(Segment(0, 1, "one"))
    writer.end("damaged")
    assert json.loads(out.getvalue())["error"] == "damaged"
    writer.begin("b.wav")
    writer.end("no such file")
    assert json.loads(out.getvalue())["file"] == "a.wav"
