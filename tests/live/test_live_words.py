"""Words of a live stream: finals have them, with times in the stream."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
DIGITS = "417392"
TRUTH = [200, 663, 783, 1314, 1464, 1848, 1948, 2461, 2641, 3223, 3343, 3841]
"""Milliseconds: the edges of the digits in the sample."""


@pytest.fixture
def twice(tmp_path: Path) -> tuple[Path, list[float]]:
    """Silence, the digits, silence, the digits again; and where the digits begin."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    silence = np.zeros(rate, dtype=np.float32)
    parts = [silence, silence, samples, silence, silence[: rate // 2], samples, silence]
    path = tmp_path / "twice.wav"
    soundfile.write(path, np.concatenate(parts), rate)
    seconds = [len(part) / rate for part in parts]
    return path, [sum(seconds[:2]), sum(seconds[:5])]


def test_finals_have_words_with_times_of_the_stream(cli, twice):
    path, starts = twice
    done = cli("live", "-q", "-m", "demo", "--jsonl", "--word-times", path)
    assert (done.code, done.err) == (0, "")
    events = [json.loads(line) for line in done.out.splitlines()]
    finals = [event for event in events if event["type"] == "final"]
    assert len(finals) == 2
    assert not any("words" in event for event in events if event["type"] != "final")
    for start, final in zip(starts, finals, strict=True):
        assert "".join(word["word"] for word in final["words"]) == DIGITS
        assert {word["source"] for word in final["words"]} == {"attention"}
        edges = [word[edge] * 1000 for word in final["words"] for edge in ("start", "end")]
        truth = [start * 1000 + edge for edge in TRUTH]
        assert max(abs(a - b) for a, b in zip(edges, truth, strict=True)) <= 120
        assert all(a["end"] <= b["start"] for a, b in pairwise(final["words"]))
        assert final["start"] <= final["words"][0]["start"]
        assert final["words"][-1]["end"] <= final["end"]
    plain = cli("live", "-q", "-m", "demo", "--jsonl", path)
    events = [json.loads(line) for line in plain.out.splitlines()]
    assert [event["text"] for event in events if event["type"] == "final"] == [f["text"] for f in finals]
    assert not any("words" in event for event in events)


def test_words_are_those_of_transcribe(cli):
    live = cli("live", "-q", "-m", "demo", "--jsonl", "--word-times", SAMPLE)
    (final,) = [event for line in live.out.splitlines() if (event := json.loads(line))["type"] == "final"]
    done = cli("transcribe", "-q", "-m", "demo", "--vad", "--word-times", "-f", "json", SAMPLE)
    assert final["words"] == json.loads(done.out)["segments"][0]["words"]


def test_files_of_a_stream_have_words_too(cli, twice, tmp_path):
    path, starts = twice
    done = cli(
        "live", "-q", "-m", "demo", "--karaoke", "--max-words", 3, "-f", "vtt,words", "-o", "out/", path
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    rows = [line.split("\t") for line in (tmp_path / "out" / "twice.words.tsv").read_text().splitlines()[1:]]
    assert "".join(row[2] for row in rows) == DIGITS * 2
    vtt = (tmp_path / "out" / "twice.vtt").read_text()
    assert len(re.findall(r" --> ", vtt)) == 4
    inner = re.findall(r"<00:00:(\d\d\.\d{3})>", vtt)
    assert len(inner) == 2 * 4
    assert float(inner[4]) > starts[1]


def test_an_answer_was_not_said(cli):
    for options in (("--word-times",), ("--karaoke", "-f", "vtt")):
        done = cli("live", "-q", "-m", "demo", "--ask", "How many?", *options, SAMPLE)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "leave out --ask" in done.err


def test_unsure_words_of_a_stream_are_marked(cli):
    done = cli("live", "-q", "-m", "demo", "--unsure-below", 1, SAMPLE)
    assert done.code == 0
    assert "[?4]" in done.out
    assert cli("live", "-q", "-m", "demo", "--mark-unsure", SAMPLE).out == "4 1 7 3 9 2\n"
