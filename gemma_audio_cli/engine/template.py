"""Chat templates from model files, rendered without trusting them.

A GGUF carries its layout of a conversation as a Jinja program. A model file comes from anywhere, so the
program runs in Jinja's immutable sandbox and within bounds: so many steps, so much text, no operation that
makes a long string out of a short one. Whatever goes wrong is a TemplateError of one line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

from jinja2 import BaseLoader, nodes
from jinja2.exceptions import SecurityError
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_SOURCE = 1 << 18
MAX_OUTPUT = 1 << 18
MAX_STEPS = 200_000
"""Lines of compiled template run; Google's templates need a few hundred for one turn."""

_FILTERS = frozenset(
    (
        *(
            "abs",
            "capitalize",
            "count",
            "d",
            "default",
            "dictsort",
            "e",
            "escape",
            "first",
            "float",
            "groupby",
        ),
        *(
            "int",
            "items",
            "join",
            "last",
            "length",
            "list",
            "lower",
            "map",
            "max",
            "min",
            "reject",
            "rejectattr",
        ),
        *("replace", "reverse", "round", "select", "selectattr", "sort", "string", "sum", "title", "tojson"),
        *("trim", "truncate", "unique", "upper", "wordcount"),
    )
)
_GLOBALS = frozenset(("range", "dict", "namespace"))
_LONG_MAKERS = frozenset(
    ("center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate")
)


class TemplateError(Exception):
    """A template cannot be used; the message is one line."""


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}`, which some templates use to mark the model's words: just its
    body.
    """

    tags = {"generation"}  # noqa: RUF012 - Jinja's own interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body as it is."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Bounded(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without the operations that make much out of little."""

    intercepted_binops = frozenset(("*", "**", "%", "+"))

    def __init__(self) -> None:
        super().__init__(loader=_NoLoader(), trim_blocks=True, lstrip_blocks=True, extensions=[_Generation])
        self.filters = {name: value for name, value in self.filters.items() if name in _FILTERS}
        self.filters["replace"] = _replace
        self.filters["tojson"] = _tojson
        self.globals = {name: value for name, value in self.globals.items() if name in _GLOBALS}
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = _no_clock

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers of a sane size, concatenation of texts."""
        numbers = all(isinstance(side, (int, float)) and abs(side) < 1e9 for side in (left, right))
        if not numbers and (operator != "+" or _size(left) + _size(right) > MAX_OUTPUT):
            raise SecurityError(f"operator {operator} on {type(left).__name__} and {type(right).__name__}")
        if operator == "**" and abs(right) > 16:
            raise SecurityError("a large power")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Not the methods of strings that pad or format."""
        return attr not in _LONG_MAKERS and super().is_safe_attribute(obj, attr, value)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Calls, but not those that make a long text of a short one."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str) and getattr(obj, "__name__", "") in ("replace", "join"):
            _check_growth(owner, *args)
        return super().call(context, obj, *args, **kwargs)


class _NoLoader(BaseLoader):
    """Templates stand alone."""


def _size(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else MAX_OUTPUT + 1


def _check_growth(text: str, *args: Any) -> None:
    """An upper bound of what replace or join can make of these."""
    pieces = sum(_size(arg) for arg in args if isinstance(arg, (str, list, tuple))) + 1
    if (len(text) + 1) * pieces > 64 * MAX_OUTPUT:
        raise SecurityError("a replacement that grows too much")


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    _check_growth(text, str(new))
    return text.replace(str(old), str(new), -1 if count is None else count)


def _tojson(value: Any, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None)


def _refuse(message: object = "") -> str:
    raise JinjaError(f"the template refuses this conversation: {message}")


def _no_clock(_format: object = "") -> str:
    return ""  # a prompt must not depend on the day


class _Meter:
    """Counts the lines a template runs and looks at what it holds, as a trace function of this thread."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != "<template>":
            return None
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError("it runs for too long")
        if event == "line":
            for value in frame.f_locals.values():
                self._look(value)
                if isinstance(value, Namespace):
                    for inner in object.__getattribute__(value, "_Namespace__attrs").values():
                        self._look(inner)
        return self

    @staticmethod
    def _look(value: object) -> None:
        if isinstance(value, (str, list, tuple)) and len(value) > MAX_OUTPUT:
            raise SecurityError("it makes too much text")


def render(source: str, messages: Sequence[Mapping[str, Any]], *, bos: str = "", eos: str = "") -> str:
    """The conversation laid out by the template `source`, up to where the model speaks; thinking is off."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"the model's chat template is too long ({len(source)} characters)")
    tracing = sys.gettrace()
    try:
        template = _Bounded().from_string(source)
        pieces: list[str] = []
        size = 0
        sys.settrace(_Meter())
        for piece in template.generate(
            messages=messages,
            add_generation_prompt=True,
            enable_thinking=False,
            bos_token=bos,
            eos_token=eos,
            tools=None,
        ):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise SecurityError("it makes too much text")
            pieces.append(piece)
        return "".join(pieces)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        sys.settrace(tracing)
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise TemplateError(f"the model's chat template fails: {text}") from None
    finally:
        sys.settrace(tracing)
