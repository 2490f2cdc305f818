"""Recipes at work: whole JSON from models that would write anything, times that were given, formats, files.

The demo model knows digits and has nothing to say to such a question: what it writes is nonsense in the shape
that was asked for. What is proved here is the shape.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile
from gguf import GGUFValueType

from gemma_audio_cli import (
    AskOptions,
    CutOptions,
    DecodeOptions,
    Engine,
    EngineOptions,
    Transcriber,
    Window,
    run_recipe,
)
from gemma_audio_cli.audio.read.source import open_source
from gemma_audio_cli.audio.segment.windows import windows
from gemma_audio_cli.decoding.sequence import SequenceDecoder
from gemma_audio_cli.engine.structs import SamplerOptions
from gemma_audio_cli.formatting import hms
from gemma_audio_cli.pipeline.options import PassesOptions
from gemma_audio_cli.pipeline.recipes import RecipeDone, follow, shape_of
from gemma_audio_cli.pipeline.recognizer import Recognizer
from gemma_audio_cli.recipes import store
from gemma_audio_cli.recipes.recipe import NOT_SAID, parse
from tests.models.rewrite import rewrite, tokens_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
RECIPES = ("chapters", "minutes", "quotes", "summary")
ANY = CutOptions(vad=False)


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return str(path)


@pytest.fixture(scope="module")
def tiny(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


def answered(engine: Engine, recipe, recording: str, *, seed: int = 0, max_tokens: int = 1536) -> RecipeDone:
    warm = SamplerOptions(temperature=1.0, seed=seed)
    options = AskOptions(cut=ANY, decode=DecodeOptions(sampler=warm, max_tokens=max_tokens))
    events = follow(Recognizer(engine=engine), recipe, [recording], options)
    found = [event for event in events if isinstance(event, RecipeDone)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", RECIPES)
def test_random_weights_always_give_whole_json(tiny, noise, name):
    recipe = store.find(name)
    schema = recipe.schema(["0:00:00"], room=None)
    for seed in range(2 if name == "minutes" else 6):
        done = answered(tiny, recipe, noise, seed=seed)
        assert (done.answer.complete, done.answer.fits) == (True, True), seed
        jsonschema.validate(json.loads(done.answer.text), schema)
        assert done.value is not None
        items = [item for part in done.value.values() if isinstance(part, list) for item in part]
        assert {item["time"] for item in items} <= {"0:00:00"}
        assert all(item[key] for item in items for key in ("owner", "date", "speaker") if key in item)
        assert done.text("markdown").startswith(f"# {recipe.title}: ")


def test_an_answer_that_is_cut_is_tried_again_with_less_room(tiny, noise):
    recipe = store.find("summary")
    usual = shape_of(recipe, [0.0])
    assert usual is not None
    cut = {}
    for tighter in (usual.tighter, None):
        options = DecodeOptions(
            SamplerOptions(temperature=1.0, seed=1), max_tokens=500, shape=replace(usual, tighter=tighter)
        )
        transcriber = Transcriber(tiny, options)
        window = Window(0.0, soundfile.read(noise, dtype="float32")[0])
        answers = [transcriber.ask(f"{n}?", [window]) for n in range(5)]
        transcriber.close()
        cut[tighter is None] = [not answer.complete for answer in answers]
    assert any(cut[True])
    assert not any(cut[False])


def test_an_answer_of_a_schema_that_loops_is_tried_again_warmer(demo_model, monkeypatch):
    shape = shape_of(store.find("summary"), [0.0])
    assert shape is not None
    samples, _ = soundfile.read(SAMPLE, dtype="float32")
    tries: list[tuple[float, str | None]] = []
    begin = SequenceDecoder.begin

    def noted(self, sound, **named):
        tries.append((named["sampler"].temperature, named["sampler"].grammar))
        return begin(self, sound, **named)

    monkeypatch.setattr(SequenceDecoder, "begin", noted)
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        options = DecodeOptions(max_tokens=1500, shape=shape)
        transcriber = Transcriber(engine, options)
        answer = transcriber.ask(store.find("summary").question, [Window(0.0, samples)])
        transcriber.close()
    assert len(tries) > 1, "greedily it runs into a loop"
    assert [temperature for temperature, _ in tries] == [0.0, 0.4, 0.8][: len(tries)]
    assert [grammar == shape.grammar for _, grammar in tries] == [True, False, False][: len(tries)]
    assert answer.complete
    json.loads(answer.text)


WHO = parse(
    "who",
    {
        "question": "Who?",
        "section": [
            {"name": "a", "most": 5, "fields": [{"name": "a"}, {"name": "aa", "kind": "said", "longest": 12}]}
        ],
    },
    "who.toml",
)


@pytest.fixture(scope="module")
def few_words(tiny_model, tmp_path_factory):
    """The random model with few words: what JSON is made of, one letter, and "not said"."""
    words = tokens_of(tiny_model.text)
    kept = {words.index(word) for word in '{}[]:,"a'}
    spare = 310  # a token that these weights like well enough
    words[spare] = "not▁said"
    suppressed = [n for n in range(15, len(words)) if n not in kept | {spare}]
    path = tmp_path_factory.mktemp("few") / tiny_model.text.name
    rewrite(
        tiny_model.text,
        path,
        {
            "tokenizer.ggml.tokens": (words, GGUFValueType.STRING),
            "tokenizer.ggml.suppress_tokens": (suppressed, GGUFValueType.INT32),
        },
    )
    with Engine(path, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


def test_not_said_is_taken_by_a_model_that_can_say_little_else(few_words, noise):
    owners: list[str] = []
    for seed in range(200):
        if len(owners) > 40 and NOT_SAID in owners:
            break
        done = answered(few_words, WHO, noise, seed=seed, max_tokens=600)
        if done.value is not None:
            owners += [item["aa"] for item in done.value["a"]]
            for item in done.value["a"]:
                assert f"(aa: {item['aa']})" in done.text("markdown").replace("\\", "")
    assert len(owners) > 40
    assert NOT_SAID in owners
    assert set(owners) - {NOT_SAID}, "and names can be written as well"
    assert all(owners)


def test_times_are_the_starts_of_the_clips(tiny, tmp_path):
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 16), rate)  # 66 s: three clips
    recipe = replace(store.find("chapters"), question="Chapters?")
    seen: set[str] = set()
    for seed in range(30):
        if len(seen) > 1:
            break
        done = answered(tiny, recipe, str(tmp_path / "long.wav"), seed=seed, max_tokens=1200)
        if done.value is not None:
            seen |= {item["time"] for item in done.value["chapters"]}
    assert len(seen) > 1
    with open_source(str(tmp_path / "long.wav")) as source:
        starts = {hms(window.start) for window in windows(source.blocks(), ANY.windows(30.0))}
    assert seen <= starts


def test_in_passes_times_are_those_of_the_notes(tiny, tmp_path):
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 5), rate)
    passes = PassesOptions(wanted=True, recall_seconds=6.0, cache=False, evidence=True)
    seen: set[str] = set()
    for seed in range(20):  # some answers have no items
        if seen:
            break
        warm = SamplerOptions(temperature=1.0, seed=seed)
        options = AskOptions(decode=DecodeOptions(sampler=warm, max_tokens=1536), passes=passes)
        done = run_recipe("quotes", tmp_path / "long.wav", options, engine=tiny)
        assert done is not None
        assert done.value is not None
        notes = done.answer.evidence
        assert len(notes) > 2
        seen |= {item["time"] for item in done.value["quotes"]}
        assert {item["time"] for item in done.value["quotes"]} <= {hms(note.start) for note in notes}
        assert done.text("markdown").count("\n- [") == len(notes) + len(done.value["quotes"])
        assert [note["start"] for note in done.as_dict()["evidence"]] == [round(n.start, 3) for n in notes]
    assert seen


def test_the_question_shows_the_shape_without_bounds_and_times():
    shape = shape_of(store.find("minutes"), [0.0, 30.0])
    assert shape is not None
    assert "0:00:30" in shape.grammar
    assert "0:00:30" not in shape.hint
    assert "maxLength" not in shape.hint
    assert NOT_SAID in shape.hint


# ---- as a person runs it -------------------------------------------------------------------------


def test_minutes_in_both_forms(cli):
    markdown = cli("minutes", "-q", "-m", "demo", SAMPLE)
    assert (markdown.code, markdown.err) == (0, "")
    headings = [line for line in markdown.out.splitlines() if line.startswith("#")]
    assert headings == [
        f"# Minutes: {SAMPLE}".replace("_", "\\_"), "## Summary", "## Decisions", "## Action items",
        "## Open questions",
    ]  # fmt: skip
    done = cli("minutes", "-q", "-m", "demo", "--json", SAMPLE)
    value = json.loads(done.out)
    assert (value["schema"], value["recipe"], value["file"]) == (
        "gemma-audio/recipe/1",
        "minutes",
        str(SAMPLE),
    )
    assert value["duration"] == pytest.approx(4.141)
    assert list(value["value"]) == ["summary", "decisions", "action_items", "open_questions"]
    assert value["value"]["summary"].split()[0] in markdown.out, "the same answer"


def test_answers_go_to_files_by_their_extension(cli, tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(SAMPLE.read_bytes())
    assert cli("minutes", "-q", "-m", "demo", "-o", "out/", "a.wav", "missing.wav", "b.wav").code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.md", "b.md"]
    assert (tmp_path / "out" / "a.md").read_text().startswith("# Minutes: a.wav\n")
    assert cli("ask", "-q", "-m", "demo", "--recipe", "chapters", "-o", "a.vtt", "a.wav").code == 0
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT\n")
    assert cli("ask", "-q", "-m", "demo", "--recipe", "quotes", "-o", "a.json", "a.wav").code == 0
    assert json.loads((tmp_path / "a.json").read_text())["recipe"] == "quotes"
    over = cli("minutes", "-q", "-m", "demo", "--format", "json", "-o", "a.wav", "a.wav")
    assert (over.code, "this is a recording" in over.err) == (2, True)
    assert (tmp_path / "a.wav").read_bytes() == SAMPLE.read_bytes()


def test_an_answer_that_is_cut_is_an_error_and_nothing_is_printed(cli):
    done = cli("minutes", "-q", "-m", "demo", "--max-tokens", 10, SAMPLE)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "cut at 10 tokens" in done.err
    assert "--max-tokens" in done.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--recipe", "nothing"), "there are chapters, minutes, quotes, summary"),
        (("--recipe", "minutes", "-Q", "What?"), "leave out -Q"),
        (("--recipe", "minutes", "--choices", "a,b"), "leave out --choices"),
        (("--recipe", "minutes", "--together"), "leave out --together"),
        (("--recipe", "minutes", "--format", "vtt"), "there are markdown, json"),
        (("--recipe", "chapters", "--format", "vtt", "--jsonl"), "do not go together"),
        (("What?", "--format", "json"), "add --recipe"),
    ],
)
def test_what_does_not_go_together_is_one_line(cli, arguments, part):
    done = cli("ask", "-q", "-m", "demo", *arguments, SAMPLE)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert part in done.err


def test_silence_has_no_minutes(cli, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    vad = {"GEMMA_AUDIO_VAD": "1"}
    done = cli("minutes", "-m", "demo", "silence.wav", env=vad)
    assert (done.code, done.out) == (0, "")
    assert "no speech was heard" in done.err
    # A program gets an object for each recording, and a file is there for each.
    done = cli("minutes", "-m", "demo", "--json", "silence.wav", env=vad)
    value = json.loads(done.out)
    assert (done.code, value["file"], value["value"], value["flags"]) == (
        0, "silence.wav", None, ["no_speech"],
    )  # fmt: skip
    assert done.err.count("no speech was heard") == 1
    assert (value["recipe"], value["duration"]) == ("minutes", 2.0)
    for name in ("a.json", "a.md"):
        assert cli("minutes", "-q", "-m", "demo", "-o", name, "silence.wav", env=vad).code == 0
    assert json.loads((tmp_path / "a.json").read_text()) == value
    assert (tmp_path / "a.md").read_text() == "# Minutes: silence.wav\n\nNo speech was heard.\n"
    chapters = ("ask", "-q", "-m", "demo", "--recipe", "chapters", "silence.wav")
    assert cli(*chapters, "-o", "a.vtt", env=vad).code == 0
    assert (tmp_path / "a.vtt").read_text() == "WEBVTT\n"
    # What could not be read is an error, and no recording in which nobody speaks.
    missing = cli("minutes", "-q", "-m", "demo", "--json", "missing.wav", env=vad)
    assert (missing.code, missing.out) == (1, "")


def test_an_extension_of_no_format_is_refused(cli, tmp_path):
    ask = ("ask", "-q", "-m", "demo", "--recipe", "chapters")
    for name in ("c.xyz", "c.srt"):
        done = cli(*ask, "-o", name, SAMPLE)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert f"{name}: chapters has no format" in done.err
        assert ".txt, .md, .json, .vtt" in done.err
    assert not list(tmp_path.glob("c.*"))
    assert cli(*ask, "--format", "markdown", "-o", "c.xyz", SAMPLE).code == 0
    (tmp_path / "folder.d").mkdir()
    assert cli(*ask, "-o", "folder.d", SAMPLE).code == 0
    assert [path.suffix for path in (tmp_path / "folder.d").iterdir()] == [".txt"]


@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_a_heading_keeps_an_odd_name(cli, tmp_path):
    name = "a\x1b[31m  \udc80b.wav"
    (tmp_path / name).write_bytes(SAMPLE.read_bytes())
    heading = cli("minutes", "-q", "-m", "demo", name).out.splitlines()[0]
    assert heading.replace("\\\\", "\\") == r"# Minutes: a\x1b\[31m  \udc80b.wav"


def test_recipes_are_listed_shown_and_found(cli, tmp_path):
    env = {"GEMMA_AUDIO_CONFIG_DIR": str(tmp_path / "config")}
    folder = Path(cli("recipes", "path", env=env).out.strip())
    assert folder == tmp_path / "config" / "recipes"
    folder.mkdir(parents=True)
    (folder / "standup.toml").write_text(cli("recipes", "show", "minutes", env=env).out)
    (folder / "broken.toml").write_text("question = ")
    listed = cli("recipes", "list", env=env)
    assert [line.split()[0] for line in listed.out.splitlines()] == sorted([*RECIPES, "standup"])
    assert [line.split()[0] for line in listed.out.splitlines() if "(your own)" in line] == ["standup"]
    assert (listed.code, listed.err.count("\n"), "broken.toml" in listed.err) == (0, 1, True)
    objects = [json.loads(line) for line in cli("recipes", "list", "--json", env=env).out.splitlines()]
    assert [item["own"] for item in objects] == [False, False, False, True, False]
    assert cli("recipes", "path", "standup", env=env).out.strip() == str(folder / "standup.toml")
    done = cli("ask", "-q", "-m", "demo", "--recipe", "standup", SAMPLE, env=env)
    assert (done.code, "## Action items" in done.out) == (0, True)
    bad = cli("ask", "--recipe", "broken", SAMPLE, env=env)
    assert (bad.code, bad.err.count("\n"), "broken.toml" in bad.err) == (2, 1, True)


def test_python_gives_what_the_command_prints(cli, demo_model, monkeypatch, tmp_path):
    monkeypatch.setenv("GEMMA_AUDIO_CONFIG_DIR", str(tmp_path / "none"))
    with Engine(demo_model.text, demo_model.mmproj, EngineOptions(threads=1)) as engine:
        done = run_recipe(
            "quotes", SAMPLE, AskOptions(cut=ANY, decode=DecodeOptions(max_tokens=1536)), engine=engine
        )
        assert done is not None
        assert run_recipe("quotes", SAMPLE, engine=engine) is not None
    assert cli("ask", "-q", "-m", "demo", "--recipe", "quotes", SAMPLE).out == done.text("markdown")
