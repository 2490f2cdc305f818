"""Word times as a person gets them: in json, words and subtitles; and what is remembered of a model."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
DIGITS = "417392"
HEADER = ["start_ms", "end_ms", "word", "probability", "source"]


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    return {"GEMMA_AUDIO_CACHE_DIR": str(tmp_path / "cache"), "GEMMA_AUDIO_VAD": ""}


def test_a_table_of_words(cli, kept):
    done = cli("transcribe", "-q", "-m", "demo", "-f", "words", SAMPLE, env=kept)
    assert (done.code, done.err) == (0, "")
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert header == HEADER
    assert "".join(row[2] for row in rows) == DIGITS
    times = [int(cell) for row in rows for cell in row[:2]]
    assert times == sorted(times)
    truth = [200, 663, 783, 1314, 1464, 1848, 1948, 2461, 2641, 3223, 3343, 3841]
    assert max(abs(a - b) for a, b in zip(times, truth, strict=True)) <= 120
    assert {row[4] for row in rows} == {"attention"}
    assert all(0 < float(row[3]) <= 1 for row in rows)


def test_json_has_words_where_they_are_asked_for(cli, kept):
    plain = json.loads(cli("transcribe", "-q", "-m", "demo", "-f", "json", SAMPLE, env=kept).out)
    assert "words" not in plain["segments"][0]
    asked = json.loads(
        cli("transcribe", "-q", "-m", "demo", "--word-times", "-f", "json", SAMPLE, env=kept).out
    )
    words = asked["segments"][0].pop("words")
    assert asked == plain
    assert [word["word"] for word in words] == list(DIGITS)
    assert all(set(word) == {"word", "start", "end", "probability", "source"} for word in words)
    assert all(a["end"] <= b["start"] for a, b in pairwise(words))


def test_subtitles_begin_and_end_with_words(cli, kept):
    done = cli("transcribe", "-q", "-m", "demo", "--word-times", "-f", "srt", SAMPLE, env=kept)
    first, last = done.out.splitlines()[1].split(" --> ")
    assert first > "00:00:00,150"
    assert last < "00:00:04,000"


def test_heads_are_looked_for_once_and_damage_is_no_error(cli, kept, tmp_path):
    command = ("transcribe", "-q", "-m", "demo", "-f", "words", SAMPLE)
    assert not any("word times" in line for line in cli("models", "show", "demo", env=kept).out.splitlines())
    truth = cli(*command, env=kept)
    (path,) = (tmp_path / "cache" / "heads").iterdir()
    whole = path.read_text()
    assert os.stat(path.parent).st_mode & 0o077 == 0
    value = json.loads(whole)
    # It is read: with one head alone other times may come out, never an error.
    path.write_text(json.dumps(value | {"places": value["places"][:1]}))
    assert cli(*command, env=kept).code == 0
    for damage in ("", "{", "[]", '{"places": 3}', json.dumps(value | {"places": [[99, 0]]}),
                   json.dumps(value | {"offset": 1e9}), "[" * 100_000):  # fmt: skip
        path.write_text(damage)
        done = cli(*command, env=kept)
        assert (done.code, done.out, done.err) == (0, truth.out, "")
        assert path.read_text() == whole
    note = cli("models", "show", "demo", env=kept).out
    assert "word times come from the attention heads (layer:head)" in note
    # Where nothing can be kept they are looked for again.
    blocked = kept | {"GEMMA_AUDIO_CACHE_DIR": str(path)}
    assert cli(*command, env=blocked).out == truth.out


def test_a_model_without_such_heads_says_so(cli, kept, tiny_model, recording):
    done = cli("transcribe", "-m", tiny_model.text, "--mmproj", tiny_model.mmproj, "-f", "words", recording,
               env=kept | {"GEMMA_AUDIO_VAD": "0"})  # fmt: skip
    assert done.code == 0
    assert "word times are estimated from the text" in done.err
    rows = [line.split("\t") for line in done.out.splitlines()[1:]]
    assert {row[4] for row in rows} <= {"estimated"}


# ---- what is made of them --------------------------------------------------------------------------------

TRUTH = [663, 783, 1314, 1464, 1848, 1948, 2461, 2641, 3223, 3343]
"""Milliseconds: the inner edges of the digits."""


def command(*options: object) -> tuple[object, ...]:
    return ("transcribe", "-q", "-m", "demo", *options, SAMPLE)


def test_karaoke_shows_words_when_they_are_said(cli, kept):
    done = cli(*command("--karaoke", "-f", "vtt"), env=kept)
    assert (done.code, done.err) == (0, "")
    inner = [round(float(seconds) * 1000) for seconds in re.findall(r"<00:00:(\d\d\.\d{3})>", done.out)]
    assert len(inner) == 5
    assert max(abs(a - b) for a, b in zip(inner, TRUTH[1::2], strict=True)) <= 120
    plain = cli(*command("--word-times", "-f", "vtt"), env=kept).out
    assert re.sub(r"<[\d:.]+>", "", done.out) == plain


def test_karaoke_in_a_format_that_cannot_is_one_clear_line(cli, kept):
    for options in (("-f", "srt"), (), ("-f", "json", "-o", "out.json"), ("-f", "srt,tsv", "-o", "subs/")):
        for begin in (("transcribe", "-q", "-m", "demo"), ("live", "-q", "-m", "demo")):
            done = cli(*begin, "--karaoke", *options, SAMPLE, env=kept)
            assert (done.code, done.out) == (2, "")
            assert done.err.count("\n") == 1
            assert "choose from vtt, ass, lrc with -f" in done.err
    done = cli(*command("--karaoke", "-f", "vtt", "--translate-to", "English"), env=kept)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "leave out --translate-to" in done.err


def test_all_formats_with_karaoke(cli, kept, tmp_path):
    assert cli(*command("--karaoke", "-f", "all", "-o", "subs/"), env=kept).code == 0
    found = {path.suffix: path.read_text() for path in (tmp_path / "subs").iterdir()}
    assert "<00:00:00.780>" in found[".vtt"]
    assert r"{\k" in found[".ass"]
    assert "<00:00.78>" in found[".lrc"]
    assert "<" not in found[".srt"]
    assert json.loads(found[".json"])["segments"][0]["words"]


@pytest.mark.parametrize("times", [(), ("--word-times",)])
def test_a_cue_has_so_many_words(cli, kept, times):
    done = cli(*command(*times, "-f", "srt", "--max-words", 2), env=kept)
    cues = [block.split("\n") for block in done.out.removesuffix("\n\n").split("\n\n")]
    assert [cue[2] for cue in cues] == ["4 1", "7 3", "9 2"]
    for wrong in (0, -1):
        done = cli(*command("-f", "srt", "--max-words", wrong), env=kept)
        assert (done.code, done.err.count("\n")) == (2, 1)


def test_estimated_times_are_told_of_once(cli, kept, tiny_model, recording):
    done = cli("transcribe", "-m", tiny_model.text, "--mmproj", tiny_model.mmproj, "--karaoke", "-f", "vtt",
               "--window", 1, recording, env=kept | {"GEMMA_AUDIO_VAD": "0"})  # fmt: skip
    assert done.code == 0
    assert done.err.count("word times are estimated from the text") == 1
    assert done.out.count(" --> ") >= 2


# ---- words that are unsure -------------------------------------------------------------------------------


def test_unsure_words_are_marked_with_and_without_times(cli, kept, tiny_model, recording):
    """Random weights are sure of nothing."""
    silent = kept | {"GEMMA_AUDIO_VAD": "0"}
    begin = ("transcribe", "-q", "-m", tiny_model.text, "--mmproj", tiny_model.mmproj)
    plain = cli(*begin, recording, env=silent)
    value = json.loads(cli(*begin, "--word-times", "-f", "json", recording, env=silent).out)
    words = [word for segment in value["segments"] for word in segment["words"]]
    assert any(word["probability"] < 0.45 for word in words)
    for options in (("--mark-unsure",), ("--mark-unsure", "--word-times")):
        marked = cli(*begin, *options, recording, env=silent)
        assert (marked.code, marked.err) == (0, "")
        assert marked.out.count("[?") >= sum(word["probability"] < 0.49 for word in words)
        assert "".join(marked.out.replace("[?", "").replace("]", "").split()) == "".join(
            plain.out.replace("[?", "").replace("]", "").split()
        )
        unchanged = [
            cli(*begin, *extra, "-f", "json", recording, env=silent).out for extra in (options, options[1:])
        ]
        assert unchanged[0] == unchanged[1]


def test_a_sure_model_marks_nothing_unless_it_is_asked_to(cli, kept):
    assert cli(*command("--mark-unsure"), env=kept).out == "4 1 7 3 9 2\n"
    marked = cli(*command("--unsure-below", 1), env=kept).out
    assert "[?4]" in marked
    assert "(?4)" in cli(*command("--unsure-below", 1, "-f", "lrc"), env=kept).out
    for wrong in (0, 1.5, -1, "nan"):
        done = cli(*command("--unsure-below", wrong), env=kept)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "--unsure-below" in done.err


def test_another_aligner(cli, kept):
    pytest.importorskip("pocketsphinx")
    done = cli("transcribe", "-m", "demo", "--aligner", "pocketsphinx", "-f", "words", SAMPLE, env=kept)
    assert done.code == 0, done.err
    rows = [line.split("\t") for line in done.out.splitlines()[1:]]
    assert "".join(row[2] for row in rows) == DIGITS
    assert {row[4] for row in rows} == {"pocketsphinx"}
    models = cli("transcribe", "-m", "demo", "-f", "words", SAMPLE, env=kept).out.splitlines()[1:]
    ours = [line.split("\t") for line in models]
    apart = sorted(abs(int(a[0]) - int(b[0])) for a, b in zip(rows, ours, strict=True))
    assert apart[len(apart) // 2] <= 150, apart


def test_an_aligner_that_is_none(cli):
    done = cli("transcribe", "--aligner", "magic", SAMPLE)
    assert (done.code, done.out) == (2, "")
    assert "--aligner must be model or pocketsphinx" in done.err
    done = cli("transcribe", "--aligner", "pocketsphinx", "--language", "de", SAMPLE)
    assert (done.code, done.out) == (2, "")
    assert "hears English only, not German" in done.err
