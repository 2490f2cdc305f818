"""Attributes, items and methods of values: what the tables here name, and nothing else of Python.

jinja2 finds `message.items` as Python's method before it looks for a key "items", and so on for every
attribute that Python's type has; those that are in no table are an error here, never another value.
"""

from __future__ import annotations

from typing import Any

from gemma_audio_cli.decoding.jinja.values import (
    MAX_ITEMS,
    SEQUENCES,
    EvaluationError,
    Function,
    Loop,
    Meter,
    Namespace,
    TooMuchError,
    Undefined,
    kind_name,
)

_PLAIN = frozenset((
    "lower", "upper", "title", "capitalize", "swapcase", "casefold", "strip", "lstrip",
    "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "find", "rfind",
    "index", "rindex", "count", "partition", "rpartition", "removeprefix", "removesuffix", "isdigit",
    "isalpha", "isalnum", "isspace", "isupper", "islower", "istitle", "isdecimal", "isnumeric",
    "isidentifier", "isascii", "isprintable",
))  # fmt: skip
"""Of text: none makes more than a small multiple of what it is given."""
_PRODUCT = frozenset(("rfind", "rindex", "rsplit", "rpartition", "strip", "lstrip", "rstrip"))
"""Those that compare every character with every other in the worst case."""
_DICT = frozenset(("get", "items", "keys", "values"))
_NONE = object()
_LIST = frozenset(("index", "count"))


def attribute(meter: Meter, value: Any, name: str) -> Any:
    """`value.name`"""
    found = _python_attribute(meter, value, name)
    if found is not _NONE:
        return found
    if type(value) is dict and name in value:
        return value[name]
    return Undefined(name)


def item(meter: Meter, value: Any, key: Any) -> Any:
    """`value[key]`"""
    if isinstance(value, Undefined):
        raise value.fail()
    meter.weigh(key)
    if isinstance(value, (str, *SEQUENCES, dict)):
        try:
            return value[key]
        except (TypeError, LookupError):
            pass
    if isinstance(key, str):
        found = _python_attribute(meter, value, key)
        if found is not _NONE:
            return found
    return Undefined(str(key) if isinstance(key, (str, int)) else kind_name(key))


def _python_attribute(meter: Meter, value: Any, name: str) -> Any:
    """What stands for a Python attribute; _NONE where the value has none of that name."""
    if isinstance(value, Undefined):
        raise value.fail()
    if isinstance(value, Namespace):
        return value.fields.get(name, Undefined(name))
    if isinstance(value, Loop):
        return value.get(name)
    if isinstance(value, Function):
        raise EvaluationError(f"attributes of {value.name} are not supported")
    kind = type(value)
    if kind is str and (name in _PLAIN or name in ("replace", "join")):
        return Function(name, lambda args, kwargs: _text_method(meter, value, name, args, kwargs))
    if (kind is dict and name in _DICT) or (kind in SEQUENCES and name in _LIST):

        def call(args: list[Any], kwargs: dict[str, Any]) -> Any:
            meter.weigh(value)
            return getattr(value, name)(*args, **kwargs)

        return Function(name, call)
    if hasattr(kind, name):
        raise EvaluationError(f"{name!r} of a {kind_name(value)} is not supported")
    return _NONE


def _text_method(meter: Meter, text: str, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    meter.text(len(text))
    if name == "replace":
        return replace(meter, text, *args, **kwargs)
    if name == "join":
        if kwargs or len(args) != 1:
            raise EvaluationError("join takes one list")
        items = meter.items(args[0])
        if not all(isinstance(part, str) for part in items):
            raise EvaluationError("join takes texts")
        return join(meter, text, items)
    if name in _PRODUCT:
        longest = max((len(arg) for arg in [*args, *kwargs.values()] if isinstance(arg, str)), default=0)
        meter.charge(len(text) * longest // 64)
    result = getattr(text, name)(*args, **kwargs)
    if type(result) is list and len(result) > MAX_ITEMS:
        raise TooMuchError("it makes too long a list")
    return result


def replace(meter: Meter, text: str, old: Any, new: Any, count: Any = -1) -> str:
    """`text` with `new` in place of `old`."""
    if not isinstance(old, str) or not isinstance(new, str) or not isinstance(count, int):
        raise EvaluationError("replace takes texts")
    places = text.count(old)
    if 0 <= count < places:
        places = count
    meter.text(len(text) + places * max(0, len(new) - len(old)))
    return text.replace(old, new, count)


def join(meter: Meter, separator: str, parts: list[str]) -> str:
    """The parts as one text."""
    meter.text(sum(map(len, parts)) + len(separator) * max(0, len(parts) - 1))
    return separator.join(parts)
