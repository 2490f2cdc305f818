"""Runs a template's syntax tree: statements write text, expressions give values.

    Run(meter).render(tree, names)

Names are looked up from the inside out. `for`, `with`, macros and blocks have names of their own, `if` has
not; that and what is undefined where is jinja2's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from gemma_audio_cli.engine.jinja import filters, methods, operators
from gemma_audio_cli.engine.jinja.values import (
    MAX_ITEMS,
    MAX_TEXT,
    SEQUENCES,
    EvaluationError,
    Function,
    Loop,
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


class _Break(EvaluationError):
    pass


class _Continue(EvaluationError):
    pass


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


class _Text:
    """Text that is being written."""

    __slots__ = ("_meter", "_parts", "_size")

    def __init__(self, meter: Meter) -> None:
        self._meter, self._parts, self._size = meter, list[str](), 0

    def add(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_TEXT:
            raise TooMuchError("it makes too much text")
        self._meter.text(len(text))
        self._parts.append(text)

    def whole(self) -> str:
        return "".join(self._parts)


class Run:
    """One run of a template."""

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

    def render(self, tree: nodes.Template, names: Mapping[str, Any]) -> str:
        """The text that the template makes of these. Raises EvaluationError, and what Python raises where
        values do not fit an operation.
        """
        given = Scope({**self._globals, **{name: self._meter.weigh(value) for name, value in names.items()}})
        return self._written(tree.body, Scope({}, given))

    # -- statements --

    def _written(self, body: Sequence[nodes.Node], scope: Scope) -> str:
        out = _Text(self._meter)
        self._body(body, scope, out)
        return out.whole()

    def _body(self, body: Sequence[nodes.Node], scope: Scope, out: _Text) -> None:
        self._enter()
        for node in body:
            self._meter.charge(1)
            statement = _STATEMENTS.get(type(node))
            if statement is None:
                raise EvaluationError(f"{type(node).__name__} is not supported (line {node.lineno})")
            statement(self, node, scope, out)
        self._depth -= 1

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TooMuchError("it nests too deeply")

    def _output(self, node: nodes.Output, scope: Scope, out: _Text) -> None:
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                out.add(part.data)
            else:
                out.add(to_text(self._meter, self._value(part, scope)))

    def _if(self, node: nodes.If, scope: Scope, out: _Text) -> None:
        for branch in (node, *node.elif_):
            if self._value(branch.test, scope):
                self._body(branch.body, scope, out)
                return
        self._body(node.else_, scope, out)

    def _for(self, node: nodes.For, scope: Scope, out: _Text) -> None:
        if node.recursive:
            raise EvaluationError("recursive loops are not supported")
        items = self._meter.items(self._value(node.iter, scope))
        if node.test is not None:
            kept = []
            for item in items:
                inner = Scope({}, scope)
                self._assign(node.target, item, inner)
                if self._value(node.test, inner):
                    kept.append(item)
            items = kept
        loop = Loop(items, 0)
        depth = self._depth
        for index, item in enumerate(items):
            loop.index0 = index
            inner = Scope({"loop": loop}, scope)
            self._assign(node.target, item, inner)
            try:
                self._body(node.body, inner, out)
            except _Continue:
                self._depth = depth
            except _Break:
                self._depth = depth
                break
        if not items:
            self._body(node.else_, Scope({}, scope), out)

    def _set(self, node: nodes.Assign, scope: Scope, _out: _Text) -> None:
        self._assign(node.target, self._value(node.node, scope), scope)

    def _set_block(self, node: nodes.AssignBlock, scope: Scope, _out: _Text) -> None:
        value: Any = self._written(node.body, Scope({}, scope))
        if node.filter is not None:
            value = self._filtered(node.filter, scope, value)
        self._assign(node.target, value, scope)

    def _with(self, node: nodes.With, scope: Scope, out: _Text) -> None:
        inner = Scope({}, scope)
        for target, value in zip(node.targets, node.values, strict=True):
            self._assign(target, self._value(value, scope), inner)
        self._body(node.body, inner, out)

    def _filter_block(self, node: nodes.FilterBlock, scope: Scope, out: _Text) -> None:
        value = self._filtered(node.filter, scope, self._written(node.body, Scope({}, scope)))
        out.add(to_text(self._meter, value))

    def _define(self, node: nodes.Macro, scope: Scope, _out: _Text) -> None:
        scope.names[node.name] = self._macro(node, scope)

    def _call_block(self, node: nodes.CallBlock, scope: Scope, out: _Text) -> None:
        value = self._called(node.call, scope, {"caller": self._macro(node, scope)})
        out.add(to_text(self._meter, value))

    def _expression(self, node: nodes.ExprStmt, scope: Scope, _out: _Text) -> None:
        self._value(node.node, scope)

    def _break(self, *_: Any) -> None:
        raise _Break("break outside of a loop")

    def _continue(self, *_: Any) -> None:
        raise _Continue("continue outside of a loop")

    def _assign(self, target: nodes.Node, value: Any, scope: Scope) -> None:
        if isinstance(target, nodes.Name):
            scope.names[target.name] = value
        elif isinstance(target, nodes.NSRef):
            namespace = scope.find(target.name)
            if not isinstance(namespace, Namespace):
                raise EvaluationError("cannot assign attribute on non-namespace object")
            namespace.fields[target.attr] = value
        elif isinstance(target, nodes.Tuple):
            parts = self._meter.items(value)
            if len(parts) != len(target.items):
                raise EvaluationError(f"{len(target.items)} names for {len(parts)} values")
            for inner, part in zip(target.items, parts, strict=True):
                self._assign(inner, part, scope)
        else:
            raise EvaluationError(f"cannot assign to a {type(target).__name__}")

    def _macro(self, node: nodes.Macro | nodes.CallBlock, scope: Scope) -> Function:
        names = [argument.name for argument in node.args]
        name = getattr(node, "name", "caller")

        def call(args: list[Any], kwargs: dict[str, Any]) -> str:
            kwargs = dict(kwargs)
            inner = Scope({}, scope)
            if "caller" in kwargs and "caller" not in names:
                inner.names["caller"] = kwargs.pop("caller")
            elif isinstance(node, nodes.Macro):
                inner.names["caller"] = Undefined("No caller defined")
            unset = len(names) - len(node.defaults)
            for index, argument in enumerate(names):
                if index < len(args):
                    if argument in kwargs:
                        raise EvaluationError(f"macro {name!r} takes {argument!r} once")
                    value = args[index]
                elif argument in kwargs:
                    value = kwargs.pop(argument)
                elif index >= unset:
                    value = self._value(node.defaults[index - unset], inner)
                else:
                    value = Undefined(f"parameter {argument!r} was not provided")
                inner.names[argument] = value
            extra = args[len(names) :]
            if extra or kwargs:
                used = {found.name for found in node.find_all(nodes.Name)}
                if (extra and "varargs" not in used) or (kwargs and "kwargs" not in used):
                    raise EvaluationError(f"macro {name!r} takes no such argument")
            inner.names.update(varargs=tuple(extra), kwargs=kwargs)
            return self._written(node.body, inner)

        return Function(name, call)

    # -- expressions --

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


_STATEMENTS: dict[type[nodes.Node], Callable[..., None]] = {
    nodes.Output: Run._output,
    nodes.If: Run._if,
    nodes.For: Run._for,
    nodes.Assign: Run._set,
    nodes.AssignBlock: Run._set_block,
    nodes.With: Run._with,
    nodes.FilterBlock: Run._filter_block,
    nodes.Macro: Run._define,
    nodes.CallBlock: Run._call_block,
    nodes.ExprStmt: Run._expression,
    nodes.Break: Run._break,
    nodes.Continue: Run._continue,
}
_EXPRESSIONS: dict[type[nodes.Node], Callable[..., Any]] = {
    nodes.TemplateData: Run._data,
    nodes.Tuple: Run._tuple,
    nodes.List: Run._list,
    nodes.Dict: Run._dict,
    nodes.CondExpr: Run._condition,
    nodes.Getattr: Run._attribute,
    nodes.Getitem: Run._item,
    nodes.Call: Run._call,
    nodes.Filter: Run._filter,
    nodes.Test: Run._test,
    nodes.Concat: Run._concat,
    nodes.Compare: Run._compare,
    nodes.And: Run._and,
    nodes.Or: Run._or,
    nodes.Not: Run._not,
    nodes.Neg: Run._sign,
    nodes.Pos: Run._sign,
    **dict.fromkeys(
        (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow), Run._binary
    ),
}
