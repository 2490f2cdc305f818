"""Word times as a person gets them: in json, words and subtitles; and what is remembered of a model."""

from __future__ import annotations

import json
import os
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
