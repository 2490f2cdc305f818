"""Answers of a shape, whole and right or refused, on a random model, which would write anything."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gemma_audio_cli import DecodeOptions, Engine, EngineOptions, Transcriber, Window
from gemma_audio_cli.decoding import shape
from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.engine.structs import SamplerOptions
from gemma_audio_cli.errors import EngineError, UsageError
from gemma_audio_cli.transcript import Answer

MANY = int(os.environ.get("GEMMA_AUDIO_SCHEMAS", "40"))
"""Random schemas; 1000 takes some minutes."""
CLIP = [Window(0.0, np.random.default_rng(0).normal(0, 0.1, 4800).astype(np.float32))]


@pytest.fixture(scope="module")
def transcriber(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        transcriber = Transcriber(engine)
        yield transcriber
        transcriber.close()


def asked(transcriber: Transcriber, wanted: Shape, *, seed: int = 0, max_tokens: int = 600) -> Answer:
    warm = SamplerOptions(temperature=1.0, seed=seed)
    transcriber.options = DecodeOptions(sampler=warm, shape=wanted, max_tokens=max_tokens)
    return transcriber.ask("What?", CLIP)


PATTERNS = (
    "[a-c]{2,3}x?", r"\d", r"\.", '"', r"\\", r"[\w.-]{1,3}", "[^a-z]", ".", "(?:é|[ -~]{2})", r"\$[\\\]\"]",
    "a{0,2}", "(a|)", r"\n", r"\s",
)  # fmt: skip
# Each has an end, so that a model which never ends anything by itself has to.
names = st.text("abcdeé_", min_size=1, max_size=4)
leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "integer"}, {"type": "number"}, {"type": "null"}]),
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(1, 6)),
    st.builds(lambda v: {"const": v}, st.one_of(st.integers(), st.text(max_size=5), st.booleans())),
    st.builds(
        lambda v: {"enum": v}, st.lists(st.text('xyz "\\\n', max_size=4), min_size=1, max_size=3, unique=True)
    ),
    st.sampled_from([{"type": "string", "format": f} for f in ("date", "time", "date-time")]),
    st.builds(
        lambda parts, bar: {"type": "string", "pattern": f"^{''.join(parts)}({'|'.join(bar)})$"},
        st.lists(st.sampled_from([*PATTERNS]), max_size=3),
        st.lists(st.sampled_from([*PATTERNS]), min_size=1, max_size=2),
    ),
    st.just({"type": ["integer", "null"]}),
)  # fmt: skip


def nested(inner: st.SearchStrategy) -> st.SearchStrategy:
    def of(properties: dict, some: set) -> dict:
        required = [name for name in properties if name in some or len(properties) == 1]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    return st.one_of(
        st.builds(of, st.dictionaries(names, inner, min_size=1, max_size=3), st.sets(names, max_size=2)),
        st.builds(lambda i, n: {"type": "array", "items": i, "maxItems": n}, inner, st.integers(1, 3)),
        st.builds(lambda a: {"anyOf": a}, st.lists(inner, min_size=1, max_size=3)),
    )


schemas = st.recursive(leaves, nested, max_leaves=5)


@example(schema={"type": "number"}, seed=264)  # wrote 7e2069696708, which no program can read
@settings(max_examples=MANY, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas, seed=st.integers(0, 1 << 31))
def test_an_answer_that_ends_fits_its_schema(transcriber, schema, seed):
    answer = asked(transcriber, shape.from_schema(json.dumps(schema)), seed=seed)
    assert answer.complete, schema
    if "\ufffd" in answer.text:
        return  # random bytes that are no character count as one for the grammar, and as several in the text
    jsonschema.validate(json.loads(answer.text), schema)
    assert answer.fits


def test_an_answer_that_is_cut_does_not_fit(transcriber):
    endless = shape.from_schema('{"type": "string", "minLength": 200}')
    answer = asked(transcriber, endless, max_tokens=20)
    assert (answer.complete, answer.fits) == (False, False)


def test_control_characters_stay_out_of_texts(transcriber):
    """The converter's own rule lets them in, and JSON has none."""
    text = shape.from_schema('{"type": "string", "maxLength": 40}')
    for seed in range(8):
        json.loads(asked(transcriber, text, seed=seed).text)
    assert "\\x7F-\\x9F\\x00-\\x1F" in text.grammar


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ('{"type": "integer", "minimum": 3}', "minimum (at #)"),
        ('{"properties": {"a": {"not": {}}}}', "not (at #/properties/a)"),
        ('{"allOf": []}', "allOf"),
        ('{"if": {}}', "if (at #)"),
        ('{"type": "string", "format": "email"}', "format 'email'"),
        ('{"type": "string", "pattern": "a"}', "must begin with ^"),
        (r'{"pattern": "^a\\$"}', "must begin with ^"),
        (r'{"items": {"pattern": "^\\p{L}$"}}', r"pattern at #/items has the escape \p"),
        (r'{"pattern": "^\\bno$"}', r"the escape \b"),
        (r'{"pattern": "^(a)\\1$"}', r"the escape \1"),
        (r'{"pattern": "^\\D$"}', r"the escape \D"),
        (r'{"pattern": "^[^\\w]$"}', "name them"),
        (r'{"pattern": "^\u0007$"}', "U+0007"),
        (r'{"pattern": "^[\u0000-\u001e]$"}', "U+0000"),
        ('{"pattern": "^a|b$"}', "write ^(a|b)$"),
        ('{"pattern": "^(?=a)$"}', "a group (?="),
        ('{"pattern": "^(a$"}', "a ( without its )"),
        ('{"pattern": "^a)$"}', "a ) without its ("),
        ('{"pattern": "^[a$"}', "a [ without its ]"),
        ('{"pattern": "^a+?$"}', "a ? behind a count"),
        ('{"pattern": "^(a?)*$"}', "may be empty"),
        ('{"pattern": "^((a{100}){100})$"}', "10000 times"),
        ('{"pattern": "^' + "(" * 2000 + ")" * 2000 + '$"}', "nested too deeply"),
        ('{"enum": []}', "its enum is empty"),
        ('{"const": NaN}', "NaN is no number"),
        ('{"enum": [-Infinity]}', "-Infinity is no number"),
        ('{"const": 1e400}', "1e400 is no number"),
        ('{"properties": {"a": {"$ref": "#"}}}', "leads to its root"),
        ('{"$ref": "#"}', "leads to its root"),
        ('{"$ref": "#/properties", "properties": {}}', "where no schema is"),
        ('{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}', "leads back to itself"),
        (
            '{"$defs": {"a": {"anyOf": [{"const": 1}, {"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}',
            "leads back to itself",
        ),
        ('{"$ref": "https://example.org/x.json"}', "leads elsewhere"),
        ('{"$ref": "#/$defs/none"}', "cannot be turned into a grammar"),
        ('{"type": "thing"}', "the schema is wrong at #/type"),
        ('{"type": "array", "items": {}, "maxItems": 100000}', "maxItems at # is 100000"),
        ('{"items": {"anyOf": [false]}}', "nothing fits #/items/anyOf/0"),
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ('{"a": ' * 4000 + "1" + "}" * 4000, "the schema"),
        ('{"items": ' * 100 + "{}" + "}" * 100, "nested too deeply"),
    ],
)
def test_what_cannot_be_held_to_is_one_line_that_names_it(schema, word):
    with pytest.raises(UsageError) as caught:
        shape.from_schema(schema)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e400", "[-1e999]", "[" * 100_000, "{"]
)
def test_what_is_no_json_is_no_answer(text):
    """Python's reader takes the first ones, and other programs fail on them."""
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind that it is read with
        shape.from_schema("{}").checked(text)


@given(st.text())
def test_an_answer_is_printed_without_what_acts_on_a_terminal(text):
    """A model may write such characters as escapes."""
    printed = shape.from_schema('{"type": "string"}').checked(json.dumps(text))
    assert json.loads(printed) == text
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e]", printed)


def test_a_schema_may_hold_itself(transcriber):
    tree = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"left": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
                "required": ["left"],
                "additionalProperties": False,
            }
        },
    }
    for seed in range(20):
        answer = asked(transcriber, shape.from_schema(json.dumps(tree)), seed=seed)
        if answer.complete:
            jsonschema.validate(json.loads(answer.text), tree)
            break
    assert answer.fits


@settings(max_examples=100, deadline=None)
@given(st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(
        st.sampled_from([*sorted(shape._HANDLED), "minimum", "x"]), v, max_size=4)),
    max_leaves=12,
))  # fmt: skip
def test_any_json_is_a_schema_or_one_line(value):
    try:
        made = shape.from_schema(json.dumps(value))
    except UsageError as error:
        made = None
        line = str(error)
    assert "root ::=" in made.grammar if made is not None else line.isprintable()


# ---- choices and grammars ------------------------------------------------------------------------


def test_choices_are_scored_whole(transcriber, monkeypatch):
    monkeypatch.setattr(Shape, "hint", "")  # it names them in their order, so it would be another prompt
    wanted = shape.from_choices(["yes", "no", "not said", "ye"])
    answer = asked(transcriber, wanted)
    shares = dict(answer.probabilities)
    assert set(shares) == {"yes", "no", "not said", "ye"}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert answer.text == max(shares, key=shares.__getitem__) == answer.probabilities[0][0]
    assert answer.fits
    # In any order, and whatever was asked before: nothing of one choice is left for the next.
    again = dict(asked(transcriber, shape.from_choices(["ye", "not said", "no", "yes"])).probabilities)
    assert again == pytest.approx(shares, abs=0.02)


def test_a_choice_has_the_probability_the_model_gives_it(transcriber):
    engine = transcriber.engine
    wanted = shape.from_choices(["a", "b"])
    shares = dict(asked(transcriber, wanted).probabilities)
    decoder = transcriber._asked
    decoder.rewind_answer()
    start = decoder.ask_only()
    end = engine.info.token_eos
    turn = engine.tokenize("<turn|>", special=True)
    end = turn[0] if len(turn) == 1 and engine.is_end(turn[0]) else end
    scores = []
    for choice in ("a", "b"):
        decoder.session.rewind(start)
        first = decoder.session.logits() if choice == "a" else first  # noqa: F821
        total = 0.0
        row = first
        for token in [*engine.tokenize(choice), end]:
            total += float(row[token] - np.logaddexp.reduce(row.astype(np.float64)))
            if token != end:
                decoder.session.forward([_one(decoder.seq, token)])
                row = decoder.session.logits()
        scores.append(total)
    expected = np.exp(scores[0]) / np.exp(scores).sum()
    assert shares["a"] == pytest.approx(expected, abs=0.02)


def _one(seq: int, token: int):
    from gemma_audio_cli.engine.structs import Input

    return Input(seq, tokens=[token], n_logits=1)


@pytest.mark.parametrize("choice", ["a\x1b[31mb", "a\nb", "\x9b", "a\0", "\u202ea"])
def test_choices_that_would_act_on_a_terminal_are_refused(choice):
    with pytest.raises(UsageError, match="no answer may have") as caught:
        shape.from_choices(["yes", choice])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("choices", [[], ["yes"], ["yes", " "], ["yes", "yes "]])
def test_too_few_choices_are_refused(choices):
    with pytest.raises(UsageError, match="two choices or more"):
        shape.from_choices(choices)


def test_a_grammar_is_obeyed(transcriber):
    for seed in range(5):
        answer = asked(transcriber, shape.from_grammar('root ::= [0-9]{3} "-" ("x" | "y")'), seed=seed)
        assert re.fullmatch(r"\d{3}-[xy]", answer.text)


def test_greedy_and_drawn_answers_obey_alike(transcriber):
    """Greedy choice looks at the likeliest token first, and at all only where the grammar refuses it."""
    wanted = shape.from_grammar('root ::= ("a" | "bb" | "ccc"){4}')
    transcriber.options = DecodeOptions(shape=wanted, max_tokens=60)
    greedy = transcriber.ask("What?", CLIP)
    transcriber.options = replace(transcriber.options, sampler=SamplerOptions(temperature=1.0, top_k=1))
    assert transcriber.ask("What?", CLIP).text == greedy.text
    assert re.fullmatch("(a|bb|ccc){4}", greedy.text)


@pytest.mark.parametrize("text", ["root ::= root", "x ::= 'y'", "root ::= (", "root ::= nothing", "}{"])
def test_a_broken_grammar_is_an_error_and_the_engine_goes_on(transcriber, text):
    with pytest.raises((UsageError, EngineError)):
        asked(transcriber, shape.from_grammar(text))
    assert asked(transcriber, shape.from_grammar('root ::= "ok"')).text == "ok"


@pytest.mark.parametrize(
    "text",
    [
        r'root ::= "\x00"',
        r'root ::= "a\u0000b"',
        r'root ::= "[" [\]"] "]" "\U00000000"',
        r'root ::= "\"\x00"',
    ],
)
def test_a_zero_byte_in_a_literal_is_refused(text):
    with pytest.raises(UsageError, match="zero byte"):
        shape.from_grammar(text)


def test_what_only_looks_like_a_zero_byte_is_none(transcriber):
    wanted = shape.from_grammar('root ::= [^\\x00-\\x60\\x7B-\\U0010FFFF] "\\\\x00" # "\\x00"')
    assert re.fullmatch(r"[a-z]\\x00", asked(transcriber, wanted).text)
    for endless in ("[" * 500_000, '"' * 499_999, "#" * 500_000):
        shape.from_grammar(endless)
