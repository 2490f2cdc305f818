"""The shape of an answer: a JSON schema, one of several choices, or a grammar.

    schema ──► keywords checked ──► GBNF (llama-cpp-python's converter) ──► decoding ──► validated ──► JSON

Decoding is held to the grammar token by token, so an answer that the model itself ends fits it. What the
grammar cannot express is refused before anything is decoded.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gemma_audio_cli.decoding import patterns
from gemma_audio_cli.decoding.patterns import MAX_REPEATS
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import json_text, printable

MAX_SCHEMA = 1 << 16
"""Characters of a schema."""
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
# Of its exponents, with sixteen digits, most make numbers that no program can read.
_NUMBER = '("-"? integral-part) ("." decimal-part)? ([eE] [-+]? [0-9] [0-9]?)? space'
_ZERO = re.compile(
    r"""\#[^\n]*                                       # a comment
    | \[ (?: [^\]\\] | \\. )* \]?                    # a class: what it leaves out may well be a zero byte
    | " (?: [^"\\] | \\(?!x00|u0000|U00000000). )* (?: (?P<zero>\\(?:x00|u0000|U00000000)) | "? )""",
    re.VERBOSE | re.DOTALL,
)
"""A comment, a class or a literal of a grammar; of a literal up to a zero byte in it."""


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

        value = _read(text)
        try:
            jsonschema.validate(value, _read(self.schema))
        except jsonschema.ValidationError as error:
            raise ValueError(" ".join(error.message.split())[:200]) from None
        return json_text(value)


def from_schema(text: str) -> Shape:
    """Answers that fit a JSON schema. Raises UsageError that names what cannot be held to."""
    if len(text) > MAX_SCHEMA:
        raise UsageError(f"the schema is too long: {len(text)} characters, at most {MAX_SCHEMA}")
    try:
        schema = _read(text)
    except ValueError as error:
        raise UsageError(f"the schema is no JSON: {error}") from None
    if not isinstance(schema, dict):
        raise UsageError("the schema is no JSON object")
    import jsonschema

    inside = dict(_schemas(schema, "#", 0))
    for place, part in inside.items():
        for keyword, value in part.items():
            _check_keyword(place, keyword, value)
    _check_references(inside)
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        raise UsageError(
            f"the schema is wrong at #/{place}: {' '.join(error.message.split())[:200]}"
        ) from None
    compact = json.dumps(schema, ensure_ascii=False)
    converted = compact
    if "$ref" in schema:  # beside one the converter does not see those of $defs
        converted = json.dumps(schema | {"$ref": None, "anyOf": [{"$ref": schema["$ref"]}]})
    try:
        grammar = _converter().json_schema_to_gbnf(converted)
    except Exception as error:  # assertions and lookups of the converter, in its own words
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"the schema cannot be turned into a grammar: {reason}") from None
    return Shape(str(grammar), schema=compact)


def from_choices(choices: Sequence[str]) -> Shape:
    """One of several answers. Raises UsageError where there are fewer than two, or one is empty."""
    cleaned = tuple(dict.fromkeys(choice.strip() for choice in choices))
    if len(cleaned) < 2 or not all(cleaned):
        raise UsageError(f"give two choices or more, none of them empty: yes,no (not {','.join(choices)!r})")
    for choice in cleaned:
        if printable(choice) != choice:
            raise UsageError(f"the choice {choice!r} has characters that no answer may have")
    return Shape(f"root ::= {' | '.join(_literal(choice) for choice in cleaned)}", choices=cleaned)


def from_grammar(text: str) -> Shape:
    """Answers of a GBNF grammar with the start rule "root". The engine parses it when it is used."""
    if not text.strip():
        raise UsageError("the grammar is empty")
    if "\0" in text:
        raise UsageError("the grammar holds a zero byte")
    for found in _ZERO.finditer(text):
        if found["zero"]:
            raise UsageError(f"the grammar's {found['zero']} is a zero byte, which no answer can have")
    return Shape(text)


# ---- schemas -------------------------------------------------------------------------------------


def _read(text: str) -> Any:
    """JSON as its standard has it: no NaN, no Infinity, no number beyond all numbers. Raises ValueError."""

    def refused(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refused(digits[:40])

    try:
        return json.loads(text, parse_constant=refused, parse_float=number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _schemas(schema: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and those inside it, each with its place."""
    if isinstance(schema, bool):
        if not schema:
            raise UsageError(f"the schema cannot be turned into a grammar: nothing fits {place} (false)")
        return
    if not isinstance(schema, dict):
        raise UsageError(f"the schema is wrong at {place}: a schema is an object")
    if depth > _MAX_DEPTH:
        raise UsageError(f"the schema is nested too deeply: more than {_MAX_DEPTH} levels")
    yield place, schema
    for keyword, value in schema.items():
        inner: list[tuple[str, Any]] = []
        if keyword in ("properties", "$defs", "definitions") and isinstance(value, dict):
            inner = [(f"{keyword}/{name}", item) for name, item in value.items()]
        elif keyword in ("anyOf", "oneOf", "prefixItems") and isinstance(value, list):
            inner = [(f"{keyword}/{index}", item) for index, item in enumerate(value)]
        elif keyword in ("items", "additionalProperties"):
            inner = [(keyword, value)] if not isinstance(value, bool) else []
        for name, item in inner:
            yield from _schemas(item, f"{place}/{name}", depth + 1)


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
    if keyword == "pattern":
        try:
            patterns.rule(value if isinstance(value, str) else "")
        except ValueError as error:
            raise UsageError(f"the schema's pattern at {place} {error}") from None
    if keyword == "enum" and value == []:
        raise UsageError(f"nothing fits the schema at {place}: its enum is empty")
    is_count = keyword in ("minItems", "maxItems", "minLength", "maxLength")
    if is_count and (not isinstance(value, int) or value > MAX_REPEATS):
        raise UsageError(f"the schema's {keyword} at {place} is {value!r}; at most {MAX_REPEATS}")


def _check_references(inside: Mapping[str, dict[str, Any]]) -> None:
    """Each $ref leads to a schema, and none leads back to itself with nothing written on the way."""
    instead: dict[str, list[str]] = {}  # places that stand for a place as they are
    for place, part in inside.items():
        instead[place] = [
            f"{place}/{keyword}/{index}"
            for keyword in ("anyOf", "oneOf")
            if isinstance(part.get(keyword), list)
            for index in range(len(part[keyword]))
        ]
        target = part.get("$ref")
        if target is None:
            continue
        if target == "#":
            raise UsageError(
                f"the schema's $ref at {place} leads to its root; put what it means into $defs and refer to "
                "#/$defs/NAME"
            )
        if not isinstance(target, str) or not target.startswith("#/"):
            raise UsageError(
                f"the schema's $ref at {place} leads elsewhere; only #/… within the schema is followed"
            )
        if target not in inside:
            raise UsageError(
                f"the schema cannot be turned into a grammar: $ref at {place} leads to {target}, where no "
                "schema is"
            )
        instead[place] = [target]  # what stands beside it is not looked at
    for place in instead:
        seen, left = set[str](), list(instead[place])
        while left:
            one = left.pop()
            if one == place:
                raise UsageError(f"the schema at {place} leads back to itself and says nothing on the way")
            if one not in seen:
                seen.add(one)
                left += instead.get(one, ())


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
    module.PRIMITIVE_RULES["number"].content = _NUMBER
    # It leaves the backslashes of JSON's own escapes alone.
    module.SchemaConverter._format_literal = lambda _self, text: _literal(text)
    # It hands escapes, quotes and controls of patterns on as they are.
    module.SchemaConverter._visit_pattern = lambda self, pattern, name: self._add_rule(
        name, rf'"\"" {patterns.rule(pattern)} "\"" space'
    )
    # It names rules after the end of a $ref, as it names others after properties.
    module.SchemaConverter._resolve_ref = _referred
    return module


def _referred(converter: Any, ref: str) -> str:
    """The name of the rule of what a $ref leads to; the rule is made where it is first needed."""
    name = f"schema-ref-{list(converter._refs).index(ref)}"
    if name not in converter._rules and ref not in converter._refs_being_resolved:
        converter._refs_being_resolved.add(ref)
        name = converter.visit(converter._refs[ref], name)
        converter._refs_being_resolved.remove(ref)
    return name


def _literal(text: str) -> str:
    """A text as a GBNF literal."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'
