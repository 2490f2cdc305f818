"""Filters (`value | name(args)`) that chat templates use, with jinja2's results.

Those that make generators in jinja2 give iterators here: true, without a length, and empty after one use.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from gemma_audio_cli.decoding.jinja import methods, operators
from gemma_audio_cli.decoding.jinja.values import (
    MAX_KEYS,
    EvaluationError,
    Meter,
    TooMuchError,
    Undefined,
    is_number,
    kind_name,
    to_text,
)

Filter = Callable[..., Any]
_WORD = re.compile(r"\w+")
_WORD_START = re.compile(r"([-\s({\[<]+)")


def apply(meter: Meter, name: str, value: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """`value | name(args)`; the result is paid for."""
    known = _FILTERS.get(name)
    if known is None:
        raise EvaluationError(f"No filter named {name!r}.")
    for given in (value, *args, *kwargs.values()):
        meter.weigh(given)
    return meter.weigh(known(meter, value, *args, **kwargs))


# ---- text ------------------------------------------------------------------------------------------------


def _text(change: Callable[[str], Any]) -> Filter:
    return lambda meter, value: change(to_text(meter, value))


def _title(text: str) -> str:
    return "".join(part[0].upper() + part[1:].lower() for part in _WORD_START.split(text) if part)


def _trim(meter: Meter, value: Any, chars: Any = None) -> str:
    text = to_text(meter, value)
    if isinstance(chars, str):
        meter.charge(len(text) * len(chars) // 64)
    return text.strip(chars)


def _replace(meter: Meter, value: Any, old: Any, new: Any, count: Any = None) -> str:
    text, old, new = to_text(meter, value), to_text(meter, old), to_text(meter, new)
    return methods.replace(meter, text, old, new, -1 if count is None else count)


def _join(meter: Meter, value: Any, d: Any = "", attribute: Any = None) -> str:
    items = meter.items(value)
    if attribute is not None:
        items = [_field(meter, attribute)(item) for item in items]
    return methods.join(meter, to_text(meter, d), [to_text(meter, item) for item in items])


def _only_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise EvaluationError(f"a text is needed, not a {kind_name(value)}")


def _truncate(
    _meter: Meter,
    value: Any,
    length: int = 255,
    killwords: bool = False,
    end: str = "...",
    leeway: Any = None,
) -> str:
    text, leeway = _only_text(value), 5 if leeway is None else leeway
    if not isinstance(end, str) or not length >= len(end) or not leeway >= 0:
        raise EvaluationError("truncate needs a length that is longer than its end")
    if len(text) <= length + leeway:
        return text
    cut = text[: length - len(end)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def _indent(meter: Meter, value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    text = _only_text(value)
    prefix = width if isinstance(width, str) else " " * min(int(width), 1000)
    meter.text(len(text) + (len(prefix) + 1) * (len(text.splitlines()) + 1))
    text += "\n"  # as jinja2 does it, for a last empty line
    if blank:
        result = ("\n" + prefix).join(text.splitlines())
    else:
        lines = text.splitlines()
        result = lines.pop(0)
        if lines:
            result += "\n" + "\n".join(prefix + line if line else line for line in lines)
    return prefix + result if first else result


def _to_json(
    meter: Meter,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    width = 0 if indent is None else min(int(indent), 8)
    try:
        made = json.dumps(
            value,
            ensure_ascii=bool(ensure_ascii),
            indent=None if indent is None else width,
            separators=None if separators is None else tuple(map(str, separators)),  # type: ignore[arg-type]
            sort_keys=bool(sort_keys),
        )
    except RecursionError:
        raise TooMuchError("it nests too deeply") from None
    meter.text(len(made))
    return made


# ---- numbers ---------------------------------------------------------------------------------------------


def _int(_meter: Meter, value: Any, default: Any = 0, base: int = 10) -> Any:
    if isinstance(value, Undefined):
        raise value.fail()
    try:
        if isinstance(value, str):
            return int(value, base) if len(value) <= 64 else default
        return int(value)
    except (TypeError, ValueError):
        try:
            return int(float(value))
        except (TypeError, ValueError, OverflowError):
            return default


def _float(_meter: Meter, value: Any, default: Any = 0.0) -> Any:
    if isinstance(value, Undefined):
        raise value.fail()
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def _round(_meter: Meter, value: Any, precision: int = 0, method: str = "common") -> Any:
    if not is_number(value) or not isinstance(precision, int) or abs(precision) > 16:
        raise EvaluationError("round takes a number and up to 16 places")
    if method == "common":
        return round(value, precision)
    if method not in ("ceil", "floor"):
        raise EvaluationError("method must be common, ceil or floor")
    change = math.ceil if method == "ceil" else math.floor
    return change(value * (10**precision)) / (10**precision)


def _abs(_meter: Meter, value: Any) -> Any:
    if not is_number(value):
        raise EvaluationError(f"abs of a {kind_name(value)}")
    return abs(value)


# ---- lists -----------------------------------------------------------------------------------------------


def _field(meter: Meter, attribute: Any, default: Any = None) -> Callable[[Any], Any]:
    """What gives "a.0.b" of a value."""
    parts = attribute.split(".") if isinstance(attribute, str) else [attribute]
    path = [int(part) if re.fullmatch(r"\d{1,9}", str(part)) else part for part in parts]

    def get(value: Any) -> Any:
        for key in path:
            value = methods.item(meter, value, key)
            if isinstance(value, Undefined) and default is not None:
                value = default
        return value

    return get


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _key(meter: Meter, attribute: Any, case_sensitive: bool, default: Any = None) -> Callable[[Any], Any]:
    get = _field(meter, attribute, default) if attribute is not None else None

    def key(value: Any) -> Any:
        found = value if get is None else get(value)
        return found if case_sensitive else _folded(found)

    return key


def _sorted(meter: Meter, items: list[Any], key: Callable[[Any], Any], reverse: bool = False) -> list[Any]:
    """A sort pays its keys once for each time they may be compared."""
    keys = [key(item) for item in items]
    for _ in range(max(1, len(items).bit_length())):
        meter.weigh(keys)
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=bool(reverse))
    return [items[i] for i in order]


def _sort(
    meter: Meter, value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: Any = None
) -> list[Any]:
    if isinstance(attribute, str) and "," in attribute:
        fields = [_key(meter, part, case_sensitive) for part in attribute.split(",")]
        return _sorted(meter, meter.items(value), lambda item: [get(item) for get in fields], reverse)
    return _sorted(meter, meter.items(value), _key(meter, attribute, case_sensitive), reverse)


def _dictsort(
    meter: Meter, value: Any, case_sensitive: bool = False, by: str = "key", reverse: bool = False
) -> list[Any]:
    if by not in ("key", "value"):
        raise EvaluationError('You can only sort by either "key" or "value"')
    if not isinstance(value, dict):
        raise EvaluationError(f"dictsort of a {kind_name(value)}")
    place = int(by == "value")
    return _sorted(
        meter,
        list(value.items()),
        lambda pair: pair[place] if case_sensitive else _folded(pair[place]),
        reverse,
    )


def _unique(meter: Meter, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Iterator[Any]:
    items, key = meter.items(value), _key(meter, attribute, case_sensitive)
    if len(items) > MAX_KEYS:
        raise TooMuchError("it makes too large a set")
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(key(item), item)
    return iter(list(found.values()))


def _extreme(choose: Callable[..., Any]) -> Filter:
    def find(meter: Meter, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
        items = meter.items(value)
        if not items:
            return Undefined("No aggregated item, sequence was empty.")
        return choose(items, key=_key(meter, attribute, case_sensitive))

    return find


def _sum(meter: Meter, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    total = start
    for item in meter.items(value):
        added = item if attribute is None else _field(meter, attribute)(item)
        if isinstance(total, str):
            raise EvaluationError("sum takes no texts")
        total = operators.arithmetic(meter, "Add", total, added)
    return total


def _length(meter: Meter, value: Any) -> int:
    if not hasattr(value, "__len__"):
        raise EvaluationError(f"object of type {kind_name(value)!r} has no len()")
    return len(value)


def _first(meter: Meter, value: Any) -> Any:
    items = meter.items(value)
    return items[0] if items else Undefined("No first item, sequence was empty.")


def _last(meter: Meter, value: Any) -> Any:
    items = meter.items(value)
    return items[-1] if items else Undefined("No last item, sequence was empty.")


def _reverse(meter: Meter, value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else iter(meter.items(value)[::-1])


def _items(meter: Meter, value: Any) -> Iterator[Any]:
    if isinstance(value, Undefined):
        return iter([])
    if not isinstance(value, dict):
        raise EvaluationError("Can only get item pairs from a mapping.")
    return iter(list(value.items()))


def _map(meter: Meter, value: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    items = meter.items(value) if value else []
    if not args and "attribute" in kwargs and not set(kwargs) - {"attribute", "default"}:
        get = _field(meter, kwargs["attribute"], kwargs.get("default"))
        return iter([get(item) for item in items])
    if not args or not isinstance(args[0], str):
        raise EvaluationError("map requires a filter argument")
    return iter([apply(meter, args[0], item, list(args[1:]), dict(kwargs)) for item in items])


def _selecting(wanted: bool, by_attribute: bool) -> Filter:
    def select(meter: Meter, value: Any, *args: Any) -> Iterator[Any]:
        items = meter.items(value) if value else []
        get: Callable[[Any], Any] = lambda item: item  # noqa: E731
        rest = list(args)
        if by_attribute:
            if not rest:
                raise EvaluationError("Missing parameter for attribute name")
            get = _field(meter, rest.pop(0))
        if rest and not isinstance(rest[0], str):
            raise EvaluationError("a test is named by a text")
        passes: Callable[[Any], bool] = (
            (lambda item: operators.test(meter, rest[0], item, rest[1:])) if rest else bool
        )
        return iter([item for item in items if passes(get(item)) is wanted])

    return select


def _default(_meter: Meter, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


_FILTERS: dict[str, Filter] = {
    "abs": _abs, "capitalize": _text(str.capitalize), "count": _length, "d": _default, "default": _default,
    "dictsort": _dictsort, "first": _first, "float": _float, "indent": _indent, "int": _int,
    "items": _items, "join": _join, "last": _last, "length": _length,
    "list": lambda meter, value: meter.items(value), "lower": _text(str.lower), "map": _map,
    "max": _extreme(max), "min": _extreme(min), "reject": _selecting(False, False),
    "rejectattr": _selecting(False, True), "replace": _replace, "reverse": _reverse, "round": _round,
    "select": _selecting(True, False), "selectattr": _selecting(True, True), "sort": _sort,
    "string": _text(str), "sum": _sum, "title": _text(_title), "tojson": _to_json, "trim": _trim,
    "truncate": _truncate, "unique": _unique, "upper": _text(str.upper),
    "wordcount": _text(lambda text: len(_WORD.findall(text))),
}  # fmt: skip
