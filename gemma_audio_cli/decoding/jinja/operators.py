"""Arithmetic, comparisons and tests (`is`)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gemma_audio_cli.decoding.jinja.values import (
    ITERATORS,
    MAX_ITEMS,
    SEQUENCES,
    VIEWS,
    EvaluationError,
    Function,
    Meter,
    TooMuchError,
    Undefined,
    is_number,
    kind_name,
    to_text,
)

_NUMERIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": operator.truediv,
    "FloorDiv": operator.floordiv, "Mod": operator.mod, "Pow": operator.pow,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gteq": operator.ge, "lt": operator.lt,
    "lteq": operator.le, "in": lambda a, b: a in b, "notin": lambda a, b: a not in b,
}  # fmt: skip


def arithmetic(meter: Meter, name: str, left: Any, right: Any) -> Any:
    """`left + right` and its like; `name` is that of the node."""
    for side in (left, right):
        if isinstance(side, Undefined):
            raise side.fail()
    if is_number(left) and is_number(right):
        if name == "Pow" and isinstance(left, int) and isinstance(right, int) and right > 0:
            meter.charge(1)
            if int(left).bit_length() * right > 128:
                raise TooMuchError("a large power")
        return meter.weigh(_NUMERIC[name](left, right))
    if name == "Add" and type(left) is type(right) and isinstance(left, (str, list, tuple)):
        if isinstance(left, str):
            meter.text(len(left) + len(right))
            return left + right
        return meter.weigh(left + right)
    if name == "Mul":
        many, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(many, (str, list, tuple)) and isinstance(times, int):
            if len(many) * max(times, 0) > MAX_ITEMS:
                raise TooMuchError("it multiplies too much")
            return meter.weigh(many * times)
    raise EvaluationError(f"{name} of {kind_name(left)} and {kind_name(right)} is not supported")


def compare(meter: Meter, name: str, left: Any, right: Any) -> bool:
    """`left == right` and its like; `name` is that of the operand."""
    meter.weigh(left)
    meter.weigh(right)
    if name in ("in", "notin"):
        if type(right) in ITERATORS:
            right = meter.items(right)
        elif not (isinstance(right, (str, *SEQUENCES, dict, Undefined)) or type(right) in VIEWS):
            raise EvaluationError(f"argument of type {kind_name(right)!r} is not iterable")
    elif name not in ("eq", "ne"):
        for side in (left, right):
            if isinstance(side, Undefined):
                raise side.fail()
    return bool(_COMPARISONS[name](left, right))


_TYPES: dict[str, Callable[[Any], bool]] = {
    "defined": lambda v: not isinstance(v, Undefined),
    "undefined": lambda v: isinstance(v, Undefined),
    "none": lambda v: v is None,
    "boolean": lambda v: v is True or v is False,
    "true": lambda v: v is True,
    "false": lambda v: v is False,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, float),
    "number": is_number,
    "string": lambda v: isinstance(v, str),
    "mapping": lambda v: isinstance(v, dict),
    "sequence": lambda v: isinstance(v, (str, *SEQUENCES, dict, Undefined)),
    "iterable": lambda v: (
        isinstance(v, (str, *SEQUENCES, dict, Undefined)) or type(v) in VIEWS or type(v) in ITERATORS
    ),
    "callable": lambda v: isinstance(v, (Function, Undefined)),
}
_PARITY: dict[str, Callable[[Any], bool]] = {
    "odd": lambda v: v % 2 == 1,
    "even": lambda v: v % 2 == 0,
}
_RELATIONS = {
    "eq": "eq", "equalto": "eq", "==": "eq", "ne": "ne", "!=": "ne", "gt": "gt", "greaterthan": "gt",
    ">": "gt", "ge": "gteq", ">=": "gteq", "lt": "lt", "lessthan": "lt", "<": "lt", "le": "lteq",
    "<=": "lteq", "in": "in",
}  # fmt: skip


def test(meter: Meter, name: str, value: Any, args: list[Any]) -> bool:
    """`value is name(args)`"""
    meter.charge(1)
    if name in _TYPES and not args:
        return _TYPES[name](value)
    if name in _PARITY and not args:
        if not is_number(value):
            raise EvaluationError(f"the test {name} of a {kind_name(value)} is not supported")
        return _PARITY[name](value)
    if name in ("lower", "upper") and not args:
        text = to_text(meter, value)
        return text.islower() if name == "lower" else text.isupper()
    if name in _RELATIONS and len(args) == 1:
        return compare(meter, _RELATIONS[name], value, args[0])
    if name == "sameas" and len(args) == 1:
        return value is args[0]
    if name == "divisibleby" and len(args) == 1 and is_number(value) and is_number(args[0]):
        return bool(value % args[0] == 0)
    raise EvaluationError(f"the test {name} is not supported")
