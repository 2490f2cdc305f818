"""How results look on stdout."""

from __future__ import annotations

import io

from gemma_audio_cli.decoding.transcriber import Segment
from gemma_audio_cli.output import TextWriter
from gemma_audio_cli.transcript import Recording


def test_text_is_written_as_it_comes():
    out = io.StringIO()
    writer = TextWriter(out)
    writer.begin(Recording("a.wav"))
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
    writer.begin(Recording("a.wav"))
    writer.delta("one\ntw")
    writer.delta("o\n")
    writer.segment(Segment(0, 1, "one\ntwo"))
    writer.end()
    writer.begin(Recording("b.wav"))
    writer.segment(Segment(0, 1, ""))
    writer.end()
    assert out.getvalue() == "a.wav: one\na.wav: two\n"
