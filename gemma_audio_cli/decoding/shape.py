"""The shape of an answer: a JSON schema, one of several choices, or a grammar.

    schema ──► keywords checked ──► GBNF (llama-cpp-python's converter) ──► decoding ──► validated ──► JSON

Decoding is held to the grammar token by token, so an answer that the model itself ends fits it. What the
grammar cannot express is refused before anything is decoded.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gemma_audio_cli.errors import UsageError

MAX_SCHEMA = 1 << 16
"""Characters of a schema."""
MAX_REPEATS = 1000
"""Of minItems and the like: each is a rule of the grammar, and the parser takes them one in another."""
_MAX_DEPTH = 40

_HANDLED = frozenset(
    ("type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems",
     "minLength", "maxLength", "pattern", "format", "enum", "const", "anyOf", "oneOf", "$ref", "$defs",
     "definitions")
)  # fmt: skip
_SAYS_NOTHING = frozenset(
    ("$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly",
     "writeOnly")
)  # fmt: skip
_FORMATS = ("uuid", "date", "time", "date-time")
# The converter lets control characters into texts, which JSON does not. Those from U+0080 on would take what
# follows them along: they begin what acts on a terminal, and no text of ours has that.
_CHAR = r'[^"\\\x7F-\x9F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])'


@dataclass(frozen=True)
class Shape:
    """What an answer must look like. Make it with one of the functions below."""

    grammar: str
    """GBNF, start rule "root"."""
    schema: str | None = None
    """The JSON schema, as text."""
    choices: tuple[str, ...] = ()
    shown: str | None = None
    """The schema as the question shows it; None: as it is."""
    tighter: Shape | None = None
    """For another try where no whole answer came out: the same with less room in it."""

    @property
    def hint(self) -> str:
        """What the question says of it, so that the model knows."""
        if self.schema is not None:
            return f"\n\nAnswer in JSON that fits this JSON schema: {self.shown or self.schema}"
        if self.choices:
            return f"\n\nAnswer with one of these and nothing else: {', '.join(self.choices)}"
        return ""

    def checked(self, text: str) -> str:
        """A whole answer as it is printed: JSON on one line where there is a schema. Raises ValueError where
        it does not fit.
        """
        if self.schema is None:
            return text
        import jsonschema

        value = json.loads(text)
        try:
            jsonschema.validate(value, json.loads(self.schema))
        except jsonschema.ValidationError as error:
            raise ValueError(" ".join(error.message.split())[:200]) from None
        return json.dumps(value, ensure_ascii=False)


def from_schema(text: str) -> Shape:
    """Answers that fit a JSON schema. Raises UsageError that names what cannot be held to."""
    if len(text) > MAX_SCHEMA:
        raise UsageError(f"the schema is too long: {len(text)} characters, at most {MAX_SCHEMA}")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the schema is no JSON: {error}") from None
    if not isinstance(schema, dict):
        raise UsageError("the schema is no JSON object")
    import jsonschema

    for place, keyword, value in _keywords(schema, "#", 0):
        _check_keyword(place, keyword, value)
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        raise UsageError(
            f"the schema is wrong at #/{place}: {' '.join(error.message.split())[:200]}"
        ) from None
    compact = json.dumps(schema, ensure_ascii=False)
    try:
        grammar = _converter().json_schema_to_gbnf(compact)
    except Exception as error:  # assertions and lookups of the converter, in its own words
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"the schema cannot be turned into a grammar: {reason}") from None
    return Shape(str(grammar), schema=compact)


def from_choices(choices: Sequence[str]) -> Shape:
    """One of several answers. Raises UsageError where there are fewer than two, or one is empty."""
    cleaned = tuple(dict.fromkeys(choice.strip() for choice in choices))
    if len(cleaned) < 2 or not all(cleaned):
        raise UsageError(f"give two choices or more, none of them empty: yes,no (not {','.join(choices)!r})")
    return Shape(f"root ::= {' | '.join(_literal(choice) for choice in cleaned)}", choices=cleaned)


def from_grammar(text: str) -> Shape:
    """Answers of a GBNF grammar with the start rule "root". The engine parses it when it is used."""
    if not text.strip():
        raise UsageError("the grammar is empty")
    if "\0" in text:
        raise UsageError("the grammar holds a zero byte")
    return Shape(text)


# ---- schemas -------------------------------------------------------------------------------------


def _keywords(schema: Any, place: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """Every keyword of a schema and of those inside it, with its place."""
    if isinstance(schema, bool):
        if not schema:
            raise UsageError(f"the schema cannot be turned into a grammar: nothing fits {place} (false)")
        return
    if not isinstance(schema, dict):
        raise UsageError(f"the schema is wrong at {place}: a schema is an object")
    if depth > _MAX_DEPTH:
        raise UsageError(f"the schema is nested too deeply: more than {_MAX_DEPTH} levels")
    for keyword, value in schema.items():
        yield place, keyword, value
        inner: list[tuple[str, Any]] = []
        if keyword in ("properties", "$defs", "definitions") and isinstance(value, dict):
            inner = [(f"{keyword}/{name}", item) for name, item in value.items()]
        elif keyword in ("anyOf", "oneOf", "prefixItems") and isinstance(value, list):
            inner = [(f"{keyword}/{index}", item) for index, item in enumerate(value)]
        elif keyword in ("items", "additionalProperties"):
            inner = [(keyword, value)] if not isinstance(value, bool) else []
        for name, item in inner:
            yield from _keywords(item, f"{place}/{name}", depth + 1)


def _check_keyword(place: str, keyword: str, value: Any) -> None:
    if keyword in _SAYS_NOTHING:
        return
    if keyword not in _HANDLED:
        raise UsageError(
            f"the schema uses {keyword} (at {place}), which answers cannot be held to; leave it out"
        )
    if keyword == "format" and value not in _FORMATS:
        raise UsageError(
            f"the schema uses format {value!r} (at {place}), which answers cannot be held to; "
            f"there is {', '.join(_FORMATS)}"
        )
    if keyword == "pattern" and not (isinstance(value, str) and value[:1] == "^" and value[-1:] == "$"):
        raise UsageError(f"the schema's pattern at {place} must begin with ^ and end with $")
    if keyword == "$ref" and not (isinstance(value, str) and value.startswith("#/")):
        raise UsageError(
            f"the schema's $ref at {place} leads elsewhere; only #/… within the schema is followed"
        )
    is_count = keyword in ("minItems", "maxItems", "minLength", "maxLength")
    if is_count and (not isinstance(value, int) or value > MAX_REPEATS):
        raise UsageError(f"the schema's {keyword} at {place} is {value!r}; at most {MAX_REPEATS}")


@lru_cache(maxsize=1)
def _converter() -> ModuleType:
    """llama-cpp-python's converter from JSON schemas to GBNF, without the rest of that package."""
    bundled = Path(__file__).resolve().parents[1] / "engine" / "_llama_grammar.py"
    path = bundled
    if not bundled.is_file():
        found = importlib.util.find_spec("llama_cpp")
        places = list(found.submodule_search_locations or ()) if found is not None else []
        path = Path(places[0]) / "llama_grammar.py" if places else bundled
    spec = importlib.util.spec_from_file_location("gemma_audio_cli._llama_grammar", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise UsageError(f"llama-cpp-python's converter of schemas is missing: {error}") from None
    module.PRIMITIVE_RULES["char"].content = _CHAR
    # It leaves the backslashes of JSON's own escapes alone.
    module.SchemaConverter._format_literal = lambda _self, text: _literal(text)
    return module


def _literal(text: str) -> str:
    """A text as a GBNF literal."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'
