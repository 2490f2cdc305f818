"""What the pages show is what the program writes."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gemma_audio_cli.output import EXTENSIONS, Recording, Segment, Style, open_writer
from gemma_audio_cli.output.unsure import BELOW, Unsure
from gemma_audio_cli.transcript import (
    FLAG_NO_SPEECH,
    FLAG_OVERLAP,
    FLAG_SPLIT,
    FLAG_UNRELIABLE,
    TROUBLE,
    Written,
)
from tests.docs.pages import PAGES, ROOT, blocks, prose, read, section

OUTPUT = read("docs/OUTPUT.md")
DEMO = ("-q", "-m", "demo")


@pytest.fixture
def sample(tmp_path: Path) -> str:
    """The bundled recording, where the commands run."""
    shutil.copy(ROOT / "gemma_audio_cli" / "demo" / "sample.wav", tmp_path)
    return "sample.wav"


def example(heading: str) -> str:
    """The code block that follows the heading."""
    (first, *_) = re.findall(r"^```\w*\n(.*?)^```$", section(OUTPUT, heading), re.M | re.S)
    return str(first)


def test_every_format_has_its_row_and_its_example():
    assert re.findall(r"^\| `(\w+)` \| `\.([\w.]+)` \|", OUTPUT, re.M) == list(EXTENSIONS.items())
    for kind in EXTENSIONS:
        assert example(f"### {kind}")


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_the_example_of_a_format_is_what_a_run_writes(cli, sample, kind):
    result = cli("transcribe", *DEMO, "-f", kind, *(["--timestamps"] if kind == "text" else []), sample)
    assert result.code == 0, result.err
    (*_, shown) = re.findall(r"^```\w*\n(.*?)^```$", section(OUTPUT, f"### {kind}"), re.M | re.S)
    if kind == "ass":  # its head is left out
        assert result.out.endswith(shown)
    elif kind == "html":
        assert f"\n{shown}" in result.out
    else:
        assert result.out.rstrip("\n") == shown.rstrip("\n")


@pytest.mark.parametrize(("kind", "number"), [("vtt", 0), ("ass", 1), ("lrc", 2)])
def test_karaoke_is_what_a_run_writes(cli, sample, kind, number):
    shown = blocks(section(OUTPUT, "### Karaoke"), "text")
    result = cli("transcribe", *DEMO, "--karaoke", "--max-words", 3, "-f", kind, sample)
    assert result.code == 0, result.err
    assert result.out.rstrip("\n").endswith(shown[number].rstrip("\n"))
    assert len(shown) == 3


def test_several_formats_at_once(cli, sample, tmp_path):
    assert cli("transcribe", *DEMO, "-f", "srt,vtt", "-o", "subs/", sample).code == 0
    assert sorted(path.name for path in (tmp_path / "subs").iterdir()) == ["sample.srt", "sample.vtt"]


def test_console_examples_are_what_a_run_prints(cli, sample, tmp_path):
    """Of the commands that need nothing but the bundled recording."""
    folder = tmp_path / "gemma_audio_cli" / "demo"
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / sample, folder)
    ran = 0
    for page in ("README.md", "docs/OUTPUT.md"):
        for block in blocks(read(page), "console"):
            line, _, shown = block.partition("\n")
            words = re.findall(r'"[^"]*"|\S+', line.removeprefix("$ gemma-audio "))
            if words[-1].endswith("sample.wav"):
                result = cli(*(word.strip('"') for word in words))
                assert (result.code, result.out) == (0, shown), line
                ran += 1
    assert ran >= 3


def test_the_python_example_runs(environment, sample, tmp_path):
    """With the demo model, and the bundled recording in place of a talk."""
    (code,) = blocks(read("README.md"), "python")
    code = code.replace('"talk.wav"', repr(sample)).replace('"e2b"', '"demo"')
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "0.0 4 1 7 3 9 2"


def test_events_of_a_live_stream_have_the_fields_that_are_shown(cli, sample):
    """Times and the number of partial texts are those of another machine."""
    result = cli("live", *DEMO, "--jsonl", "--realtime", sample)
    assert result.code == 0, result.err
    lines = example("## Events of a live stream").splitlines()
    shown = {event["type"]: event for event in map(json.loads, lines)}
    real = {event["type"]: event for event in map(json.loads, result.out.splitlines())}
    assert list(shown) == list(real) == ["begin", "partial", "final", "end"]
    for kind, event in shown.items():
        assert list(event) == list(real[kind])
    varies = ("time", "delay")
    for kind in ("begin", "final", "end"):
        assert {k: v for k, v in shown[kind].items() if k not in varies} == {
            k: v for k, v in real[kind].items() if k not in varies
        }


def written(kind: str, segment: Segment, **style: Any) -> str:
    """What a format makes of one segment, without what is around it."""
    out = io.StringIO()
    writer = open_writer(kind, out, style=Style(**style))
    writer.begin(Recording("rede.wav", "German", "gemma-4-E2B-it-Q4_0.gguf"))
    writer.segment(segment)
    return out.getvalue()


def test_translations_look_as_shown():
    """The demo model cannot translate, so these come from the writers."""
    segment = Segment(0.0, 1.9, "Guten Morgen.", logprob=-0.21, translation="Good morning.")
    text = section(OUTPUT, "## Translation")
    (event,) = blocks(text, "json")
    assert written("jsonl", segment) == event
    translated, both, plain = blocks(text, "text")
    assert written("srt", segment).rstrip("\n") == translated.rstrip("\n")
    assert written("srt", segment, bilingual=True).rstrip("\n") == both.rstrip("\n")
    assert written("text", segment) == plain
    assert "Good morning." not in written("tsv", segment)


def test_unsure_words_look_as_shown():
    """The demo model is sure of digits, so these come from the writers."""
    text = "see you on Thursday then"
    words = tuple(Written(word, 0.3 if word == "Thursday" else 0.9) for word in text.split())
    segment = Segment(0.0, 1.9, text, written=words)
    (shown,) = blocks(section(OUTPUT, "### Unsure words"), "text")
    assert written("text", segment, unsure=Unsure()) == shown
    assert "(?Thursday)" in written("lrc", segment, unsure=Unsure())
    assert f"below {BELOW:g}," in section(OUTPUT, "### Unsure words")


def test_fields_and_flags_are_all_described(cli, sample):
    fields = set(re.findall(r"`([\w\[\].]+)`", section(OUTPUT, "### json").split("| field |")[1]))
    transcript = json.loads(cli("transcribe", *DEMO, "-f", "json", sample).out)
    segment = transcript["segments"][0]
    assert set(transcript) <= fields
    assert {f"segments[].{name}" for name in segment} - {"segments[].end"} <= fields
    flags = set(re.findall(r"^\| `(\w+)` \|", section(OUTPUT, "### Flags"), re.M))
    assert flags == {FLAG_UNRELIABLE, FLAG_SPLIT, FLAG_NO_SPEECH, FLAG_OVERLAP, *TROUBLE}


# ---- form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short(page):
    """At most 100 columns; what a program wrote is shown as it is."""
    text = re.sub(r'^\{".*$', "", read(page), flags=re.M)
    assert [line for line in text.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("page", PAGES)
def test_one_word_for_one_thing(page):
    text = prose(read(page)).lower()
    assert text
    for avoided in ("back end", "back-end", "to be had", "goes on where it stopped", "chatter"):
        assert avoided not in text, avoided


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\((?:docs/)?([A-Z]+\.md)", read("README.md")))
    pages = {Path(page).name for page in PAGES if page.startswith("docs/")}
    assert pages - linked == set()
