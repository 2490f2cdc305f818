"""What templates compute with, and the meter that they pay.

    Meter(steps)  charge(n)   weigh(value)   text(length)

Weights: one for a value, one more for every 16 characters of text, and the weights of all that is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

MAX_TEXT = 1 << 18
"""Characters of one text."""
MAX_ITEMS = 100_000
"""Items of one list, as in jinja2's sandbox."""
MAX_KEYS = 4_096
"""Keys of one dict: they may have been chosen to collide."""
MAX_NESTING = 64
"""Lists within lists."""
MAX_INTEGER = 1 << 63

SEQUENCES = (list, tuple, range)
VIEWS: tuple[type[Any], ...] = (type({}.keys()), type({}.values()), type({}.items()))
ITERATORS: tuple[type[Any], ...] = (type(iter([])), type(iter("")), type(reversed([])))
_SCALARS = (bool, int, float, type(None))


class EvaluationError(Exception):
    """A template cannot go on; the message is part of a line."""


class TooMuchError(EvaluationError):
    """It wants more time or memory than it gets."""


class UndefinedError(EvaluationError):
    """Something that does not exist was used."""


class Undefined:
    """A name, attribute or item that does not exist: empty and false, but of no other use."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what[:80]

    def fail(self) -> EvaluationError:
        """The error of using it."""
        return UndefinedError(f"{self._what!r} is undefined")

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "Undefined"

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __eq__(self, other: object) -> bool:
        return type(other) is Undefined

    def __hash__(self) -> int:
        return hash(Undefined)


class Namespace:
    """What `namespace()` makes: the only thing that a template can change."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __repr__(self) -> str:
        return "<Namespace>"


class Function:
    """Something a template can call: `call(args, kwargs)`."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[[list[Any], dict[str, Any]], Any]) -> None:
        self.name, self.call = name, call

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Loop:
    """`loop` inside of a `for`."""

    def __init__(self, items: Sequence[Any], depth0: int) -> None:
        self.items, self.depth0 = items, depth0
        self.index0 = -1
        self._changed: Any = self

    def get(self, name: str) -> Any:
        """An attribute of it."""
        length, at = len(self.items), self.index0
        if name in ("previtem", "nextitem"):
            near = at - 1 if name == "previtem" else at + 1
            return self.items[near] if 0 <= near < length else Undefined(f"there is no {name}")
        if name in ("cycle", "changed"):
            return Function(name, self._cycle if name == "cycle" else self._differs)
        known = {
            "index": at + 1, "index0": at, "revindex": length - at, "revindex0": length - at - 1,
            "first": at == 0, "last": at == length - 1, "length": length,
            "depth": self.depth0 + 1, "depth0": self.depth0,
        }  # fmt: skip
        return known.get(name, Undefined(name))

    def _cycle(self, args: list[Any], _kwargs: dict[str, Any]) -> Any:
        if not args:
            raise EvaluationError("no items for cycling given")
        return args[self.index0 % len(args)]

    def _differs(self, args: list[Any], _kwargs: dict[str, Any]) -> bool:
        same = self._changed is not self and self._changed == args
        self._changed = args
        return not same

    def __repr__(self) -> str:
        return f"<LoopContext {self.index0 + 1}/{len(self.items)}>"


class Meter:
    """How much a template may still do."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def charge(self, steps: int) -> None:
        """Pays for work that is about to be done."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchError("it runs for too long")

    def text(self, length: int) -> None:
        """Pays for a text of that many characters before it is made."""
        if length > MAX_TEXT:
            raise TooMuchError("it makes too much text")
        self.charge(1 + length // 16)

    def weigh(self, value: Any) -> Any:
        """Pays for a value and all that is inside; that value."""
        kind = type(value)
        if kind is str:
            self.text(len(value))
        elif kind in _SCALARS:
            self.charge(1)
            if kind is int and not -MAX_INTEGER < value < MAX_INTEGER:
                raise TooMuchError("it makes too large a number")
        else:
            self._inside(value, 0)
        return value

    def _inside(self, value: Any, depth: int) -> None:
        if depth > MAX_NESTING:
            raise TooMuchError("it nests too deeply")
        kind = type(value)
        if kind is dict:
            if len(value) > MAX_KEYS:
                raise TooMuchError("it makes too large a dict")
            items = [*value.keys(), *value.values()]
        elif kind in SEQUENCES or kind in VIEWS:
            if len(value) > MAX_ITEMS:
                raise TooMuchError("it makes too long a list")
            items = value
        else:
            self.charge(1)
            return
        self.charge(1 + len(items))
        for item in items:
            inner = type(item)
            if inner is str:
                self.text(len(item))
            elif inner not in _SCALARS:
                self._inside(item, depth + 1)

    def items(self, value: Any) -> list[Any]:
        """What a loop over a value goes through. Raises where nothing can."""
        if isinstance(value, (str, *SEQUENCES, dict, Undefined)) or type(value) in VIEWS + ITERATORS:
            result = list(value)
            self.charge(1 + len(result))
            return result
        raise EvaluationError(f"{kind_name(value)!r} object is not iterable")


def kind_name(value: Any) -> str:
    """What to call a value's type in a message."""
    return "undefined" if isinstance(value, Undefined) else type(value).__name__


def is_number(value: Any) -> bool:
    """Is this a number (a bool is one)?"""
    return isinstance(value, (int, float))


def to_text(meter: Meter, value: Any) -> str:
    """A value as a template prints it."""
    if type(value) is str:
        return value
    if isinstance(value, (list, tuple, dict)) or type(value) in VIEWS:
        meter.weigh(value)  # its text is at most ten times as long: escapes
    text = str(value)
    meter.text(len(text))
    return text
