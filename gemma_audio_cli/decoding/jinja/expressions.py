"""Expressions of a template's syntax tree, and the values they have.

Names are looked up from the inside out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes

from gemma_audio_cli.decoding.jinja import filters, methods, operators
from gemma_audio_cli.decoding.jinja.values import (
    MAX_ITEMS,
    SEQUENCES,
    EvaluationError,
    Function,
    Meter,
    Namespace,
    TooMuchError,
    Undefined,
    is_number,
    kind_name,
    to_text,
)

_MAX_DEPTH = 120
"""Statements and expressions inside of each other, calls of macros included."""


class Scope:
    """Names and their values, and what is around."""

    __slots__ = ("names", "outer")

    def __init__(self, names: dict[str, Any], outer: Scope | None = None) -> None:
        self.names, self.outer = names, outer

    def find(self, name: str) -> Any:
        """The innermost value of that name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return Undefined(name)


class Expressions:
    """Gives the values of expressions, within what a meter allows."""

    def __init__(self, meter: Meter, functions: Mapping[str, Callable[..., Any]]) -> None:
        """`functions` are called with what a template gives; their results are paid for."""
        self._meter = meter
        self._depth = 0
        known: dict[str, Callable[..., Any]] = {
            "range": self._range, "dict": dict, "namespace": self._namespace, **functions,
        }  # fmt: skip
        self._globals = {
            name: Function(name, lambda args, kwargs, call=call: call(*args, **kwargs))  # type: ignore[misc]
            for name, call in known.items()
        }

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TooMuchError("it nests too deeply")

    def _value(self, node: nodes.Node, scope: Scope) -> Any:
        kind = type(node)
        self._meter.charge(1)
        if kind is nodes.Name:
            return scope.find(node.name)  # type: ignore[attr-defined]
        if kind is nodes.Const:
            return self._meter.weigh(node.value)  # type: ignore[attr-defined]
        expression = _EXPRESSIONS.get(kind)
        if expression is None:
            raise EvaluationError(f"{kind.__name__} is not supported (line {node.lineno})")
        self._enter()
        value = expression(self, node, scope)
        self._depth -= 1
        return value

    def _data(self, node: nodes.TemplateData, _scope: Scope) -> str:
        return node.data

    def _tuple(self, node: nodes.Tuple, scope: Scope) -> Any:
        return self._meter.weigh(tuple([self._value(item, scope) for item in node.items]))

    def _list(self, node: nodes.List, scope: Scope) -> Any:
        return self._meter.weigh([self._value(item, scope) for item in node.items])

    def _dict(self, node: nodes.Dict, scope: Scope) -> Any:
        made = {self._value(pair.key, scope): self._value(pair.value, scope) for pair in node.items}
        return self._meter.weigh(made)

    def _condition(self, node: nodes.CondExpr, scope: Scope) -> Any:
        if self._value(node.test, scope):
            return self._value(node.expr1, scope)
        if node.expr2 is None:
            return Undefined("the inline if-expression evaluated to false and no else section was defined")
        return self._value(node.expr2, scope)

    def _attribute(self, node: nodes.Getattr, scope: Scope) -> Any:
        return methods.attribute(self._meter, self._value(node.node, scope), node.attr)

    def _item(self, node: nodes.Getitem, scope: Scope) -> Any:
        value = self._value(node.node, scope)
        if not isinstance(node.arg, nodes.Slice):
            return methods.item(self._meter, value, self._value(node.arg, scope))
        if isinstance(value, Undefined):
            raise value.fail()
        ends = [
            None if end is None else self._value(end, scope)
            for end in (node.arg.start, node.arg.stop, node.arg.step)
        ]
        if not isinstance(value, (str, *SEQUENCES)):
            raise EvaluationError(f"cannot slice a {kind_name(value)}")
        return self._meter.weigh(value[slice(*ends)])

    def _call(self, node: nodes.Call, scope: Scope) -> Any:
        return self._called(node, scope, {})

    def _called(self, node: nodes.Call, scope: Scope, more: dict[str, Any]) -> Any:
        function = self._value(node.node, scope)
        args, kwargs = self._arguments(node, scope)
        if isinstance(function, Undefined):
            raise function.fail()
        if not isinstance(function, Function):
            raise EvaluationError(f"{kind_name(function)!r} object is not callable")
        for given in (*args, *kwargs.values()):
            self._meter.weigh(given)
        return self._meter.weigh(function.call(args, {**kwargs, **more}))

    def _arguments(self, node: Any, scope: Scope) -> tuple[list[Any], dict[str, Any]]:
        """Of a call, filter or test."""
        args = [self._value(arg, scope) for arg in node.args]
        if node.dyn_args is not None:
            args += self._meter.items(self._value(node.dyn_args, scope))
        kwargs = {pair.key: self._value(pair.value, scope) for pair in node.kwargs}
        if node.dyn_kwargs is not None:
            kwargs.update(self._value(node.dyn_kwargs, scope))
        return args, kwargs

    def _filter(self, node: nodes.Filter, scope: Scope) -> Any:
        if node.node is None:
            raise EvaluationError("a filter of nothing")
        return self._filtered(node, scope, self._value(node.node, scope))

    def _filtered(self, node: nodes.Filter, scope: Scope, value: Any) -> Any:
        """The value through a filter; in a chain that stands for a block, through those before it too."""
        if isinstance(node.node, nodes.Filter) and _ends_in_nothing(node.node):
            value = self._filtered(node.node, scope, value)
        args, kwargs = self._arguments(node, scope)
        return filters.apply(self._meter, node.name, value, args, kwargs)

    def _test(self, node: nodes.Test, scope: Scope) -> bool:
        value = self._value(node.node, scope)
        args, kwargs = self._arguments(node, scope)
        if kwargs:
            raise EvaluationError(f"the test {node.name} takes no names")
        return operators.test(self._meter, node.name, value, args)

    def _binary(self, node: nodes.BinExpr, scope: Scope) -> Any:
        left, right = self._value(node.left, scope), self._value(node.right, scope)
        return operators.arithmetic(self._meter, type(node).__name__, left, right)

    def _concat(self, node: nodes.Concat, scope: Scope) -> str:
        return methods.join(
            self._meter, "", [to_text(self._meter, self._value(part, scope)) for part in node.nodes]
        )

    def _compare(self, node: nodes.Compare, scope: Scope) -> bool:
        left = self._value(node.expr, scope)
        for operand in node.ops:
            right = self._value(operand.expr, scope)
            if not operators.compare(self._meter, operand.op, left, right):
                return False
            left = right
        return True

    def _and(self, node: nodes.And, scope: Scope) -> Any:
        return self._value(node.left, scope) and self._value(node.right, scope)

    def _or(self, node: nodes.Or, scope: Scope) -> Any:
        return self._value(node.left, scope) or self._value(node.right, scope)

    def _not(self, node: nodes.Not, scope: Scope) -> bool:
        return not self._value(node.node, scope)

    def _sign(self, node: nodes.UnaryExpr, scope: Scope) -> Any:
        value = self._value(node.node, scope)
        if not is_number(value):
            raise EvaluationError(f"bad operand type for unary {node.operator}: {kind_name(value)!r}")
        return -value if isinstance(node, nodes.Neg) else +value

    # -- functions --

    @staticmethod
    def _range(*ends: Any) -> range:
        numbers = range(*ends)
        if len(numbers) > MAX_ITEMS:
            raise TooMuchError("Range too big.")
        return numbers

    @staticmethod
    def _namespace(*args: Any, **kwargs: Any) -> Namespace:
        return Namespace(dict(*args, **kwargs))


def _ends_in_nothing(node: nodes.Filter) -> bool:
    while isinstance(node.node, nodes.Filter):
        node = node.node
    return node.node is None


_EXPRESSIONS: dict[type[nodes.Node], Callable[..., Any]] = {
    nodes.TemplateData: Expressions._data,
    nodes.Tuple: Expressions._tuple,
    nodes.List: Expressions._list,
    nodes.Dict: Expressions._dict,
    nodes.CondExpr: Expressions._condition,
    nodes.Getattr: Expressions._attribute,
    nodes.Getitem: Expressions._item,
    nodes.Call: Expressions._call,
    nodes.Filter: Expressions._filter,
    nodes.Test: Expressions._test,
    nodes.Concat: Expressions._concat,
    nodes.Compare: Expressions._compare,
    nodes.And: Expressions._and,
    nodes.Or: Expressions._or,
    nodes.Not: Expressions._not,
    nodes.Neg: Expressions._sign,
    nodes.Pos: Expressions._sign,
    **dict.fromkeys(
        (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow),
        Expressions._binary,
    ),
}
