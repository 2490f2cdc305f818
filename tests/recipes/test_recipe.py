"""Recipes as files: the package's own, and whatever else lies in the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.decoding.shape import from_schema
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.recipes import render, store
from gemma_audio_cli.recipes.recipe import NOT_SAID, Recipe, parse, seconds_of

PACKAGE = ("chapters", "minutes", "quotes", "summary")
TEXT = 'question = "What?"\n'
LIST = (
    TEXT + '[[section]]\nname = "points"\nfields = [{ name = "time", kind = "time" }, { name = "point" }]\n'
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GEMMA_AUDIO_CONFIG_DIR", str(tmp_path))
    made = store.own_folder()
    made.mkdir()
    return made


def own(folder: Path, text: str, name: str = "mine") -> Recipe:
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return store.find(name)


def test_the_packages_recipes_are_there(folder):
    assert tuple(known.name for known in store.known()) == PACKAGE
    for known in store.known():
        recipe = store.read(known)
        schema = recipe.schema(["0:00:00", "0:01:30"])
        assert from_schema(json.dumps(schema)).grammar
        assert not known.own


@pytest.mark.parametrize("name", ["minutes", "quotes"])
def test_who_and_when_may_not_have_been_said(name, folder):
    """The schema has that value, and no way to leave the place empty."""
    recipe = store.find(name)
    said = [(s, f) for s in recipe.sections for f in s.fields if f.kind == "said"]
    assert said
    for section, field in said:
        value = {s.name: [] if s.fields else "x" for s in recipe.sections}
        item = {f.name: "0:00:00" if f.kind == "time" else "x" for f in section.fields}
        for owner, fits in ((NOT_SAID, True), ("Anna", True), ("", False), (None, False), (3, False)):
            value[section.name] = [item | {field.name: owner}]
            validator = jsonschema.validators.validator_for(recipe.schema())(recipe.schema(["0:00:00"]))
            assert validator.is_valid(value) is fits, owner
        del value[section.name][0][field.name]
        assert not validator.is_valid(value)


def test_times_are_those_that_were_given(folder):
    recipe = store.find("chapters")

    def fits(times: list[str] | None, time: str) -> bool:
        schema = recipe.schema(times)
        assert schema is not None
        validator = jsonschema.validators.validator_for(schema)(schema)
        return bool(validator.is_valid({"chapters": [{"time": time, "title": "x"}]}))

    assert fits(["0:00:00", "0:01:30"], "0:01:30")
    assert not fits(["0:00:00", "0:01:30"], "0:01:31")
    assert fits(None, "12:34:56")
    assert not fits(None, "1:99:00")
    assert fits([f"{n}:00:00" for n in range(700)], "0:00:01"), "too many: any time"


def test_a_recipe_of_ones_own_wins(folder):
    recipe = own(folder, 'title = "My minutes"\n' + LIST, "minutes")
    assert recipe.title == "My minutes"
    assert [known.own for known in store.known() if known.name == "minutes"] == [True]
    assert own(folder, TEXT, "free").schema() is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("question = ", "not valid TOML"),
        ("", "question must be a text"),
        ("question = 3", "question must be a text"),
        (TEXT + "max_tokens = 0", "max_tokens must be a number from 1"),
        (TEXT + "wat = 1", "'wat' is unknown here"),
        (TEXT + "section = 3", "section must be a list of tables"),
        (TEXT + "chapters = 1", "chapters must be true or false"),
        (TEXT + "chapters = true", "chapters are one section with a time and a text"),
        (TEXT + "[[section]]\n", "section 1: name must be a text"),
        (TEXT + '[[section]]\nname = "A b"', "a name is small letters"),
        (TEXT + '[[section]]\nname = "a"\n[[section]]\nname = "a"', "two sections of the same name"),
        (TEXT + '[[section]]\nname = "a"\nlongest = 5000', "longest must be a number from 1 to 1000"),
        (TEXT + '[[section]]\nname = "a"\nfields = []', "one of its fields must be of the kind text"),
        (TEXT + '[[section]]\nname = "a"\nfields = [{ name = "x", kind = "y" }]', "fields 1: kind must be"),
        (TEXT + '[[section]]\nname = "a"\nmost = 3', "'most' is unknown here"),
        (TEXT + "\n".join(f'[[section]]\nname = "a{n}"' for n in range(21)), "21 of section"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(folder, text, part):
    with pytest.raises(UsageError) as caught:
        own(folder, text)
    assert part in str(caught.value)
    assert str(folder / "mine.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge", "bytes", "dangling"])
def test_what_is_no_recipe_is_one_line(folder, kind):
    path = folder / "mine.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("device", "dangling"):
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    else:
        path.write_bytes(b"#" * 200_000 if kind == "huge" else b"\xff\xfe")
    with pytest.raises(UsageError) as caught:
        store.find("mine")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../config", "a/b", "", ".", "mine.toml", "-x", "a\nb"])
def test_a_name_is_no_path(folder, name):
    (folder.parent / "config.toml").write_text(TEXT)
    with pytest.raises(UsageError, match="no recipe is called") as caught:
        store.find(name)
    assert "there are chapters, minutes" in str(caught.value)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["question", "section", "name", "fields", "kind", "most", "longest", "title", "x"]),
        inner, max_size=5,
    ),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["question", "section", "chapters", "about"]), json_values, max_size=4)
)
def test_any_table_is_a_recipe_or_one_line(table):
    try:
        recipe, told = parse("x", table, "x.toml"), ""
    except UsageError as error:
        recipe, told = None, str(error)
    if recipe is None:
        assert told.startswith("x.toml")
        assert "\n" not in told
    elif recipe.sections:
        assert from_schema(json.dumps(recipe.schema())).grammar


# ---- answers as text -----------------------------------------------------------------------------

MINUTES = {
    "summary": "All went\nwell.\x07\u202e",
    "decisions": [{"time": "0:00:30", "decision": "Go <b>on</b> ![x](http://x)"}],
    "action_items": [
        {"time": "0:01:00", "task": "Send the draft", "owner": "Anna", "date": "Friday"},
        {"time": "0:01:30", "task": "Call", "owner": " ", "date": "not said"},
        {"time": "0:01:30", "task": " ", "owner": "x", "date": "x"},
    ],
    "open_questions": [],
}


def test_minutes_as_markdown(folder):
    recipe = store.find("minutes")
    assert render.markdown(recipe, recipe.tidy(MINUTES), "monday.m4a") == (
        "# Minutes: monday.m4a\n\n## Summary\n\nAll went well.\n\n"
        "## Decisions\n\n- [0:00:30] Go \\<b\\>on\\</b\\> !\\[x\\](http://x)\n\n"
        "## Action items\n\n- [0:01:00] Send the draft (owner: Anna, date: Friday)\n"
        "- [0:01:30] Call (owner: not said, date: not said)\n\n## Open questions\n\nNone.\n"
    )


CHAPTERS = [("0:12:00", "Late & <last>"), ("0:00:05", "First"), ("0:12:00", "Again"), ("0:01:30", "Second")]


def test_chapters_for_sites_and_players(folder):
    recipe = store.find("chapters")
    value = recipe.tidy({"chapters": [{"time": time, "title": title} for time, title in CHAPTERS]})
    assert render.youtube(recipe, value) == "00:00 First\n01:30 Second\n12:00 Late & <last>\n"
    assert render.vtt(recipe, value, 800.5) == (
        "WEBVTT\n\n1\n00:00:05.000 --> 00:01:30.000\nFirst\n\n2\n00:01:30.000 --> 00:12:00.000\nSecond\n"
        "\n3\n00:12:00.000 --> 00:13:20.500\nLate &amp; &lt;last&gt;\n"
    )
    assert render.vtt(recipe, {"chapters": []}, 5.0) == "WEBVTT\n"
    assert render.youtube(recipe, {"chapters": []}) == ""


@given(st.lists(st.tuples(st.integers(0, 40_000), st.text(min_size=1, max_size=8)), max_size=8))
def test_chapters_are_in_order_and_none_is_empty(items):
    def clock(n: int) -> str:
        return f"{n // 3600}:{n // 60 % 60:02d}:{n % 60:02d}"

    recipe = parse(
        "c", dict(store.config.parse((store._PACKAGE / "chapters.toml").read_bytes(), Path())), "c"
    )
    value = recipe.tidy({"chapters": [{"time": clock(at), "title": title} for at, title in items]})
    times = [seconds_of(item["time"]) for item in value["chapters"]]
    assert times == sorted(set(times))
    assert all(item["title"].strip() for item in value["chapters"])
    lines = render.youtube(recipe, value).splitlines()
    assert len(lines) == len(times)
    assert not lines or lines[0].startswith(("00:00 ", "0:00:00 "))
    cues = [line for line in render.vtt(recipe, value, 41_000.0).splitlines() if " --> " in line]
    assert all(line.split(" --> ")[0] < line.split(" --> ")[1] for line in cues)


def test_the_example_in_the_docs_is_a_recipe(folder):
    text = (Path(__file__).resolve().parents[2] / "docs" / "ASK.md").read_text(encoding="utf-8")
    (example,) = [part.split("\n```")[0] for part in text.split("```toml\n")[1:] if "[[section]]" in part]
    recipe = own(folder, example, "standup")
    assert [section.name for section in recipe.sections] == ["summary", "people"]
    assert (recipe.max_tokens, recipe.sections[1].most) == (800, 8)
    assert from_schema(json.dumps(recipe.schema(["0:00:00"]))).grammar
