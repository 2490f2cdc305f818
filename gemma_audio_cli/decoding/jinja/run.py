"""Runs a template's syntax tree: statements write text.

    Run(meter).render(tree, names)

`for`, `with`, macros and blocks have names of their own, `if` has not; that and what is undefined where is
jinja2's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from gemma_audio_cli.decoding.jinja.expressions import Expressions, Scope
from gemma_audio_cli.decoding.jinja.values import (
    MAX_TEXT,
    EvaluationError,
    Function,
    Loop,
    Meter,
    Namespace,
    TooMuchError,
    Undefined,
    to_text,
)


class _Break(EvaluationError):
    pass


class _Continue(EvaluationError):
    pass


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


class Run(Expressions):
    """One run of a template."""

    def render(self, tree: nodes.Template, names: Mapping[str, Any]) -> str:
        """The text that the template makes of these. Raises EvaluationError, and what Python raises where
        values do not fit an operation.
        """
        given = Scope({**self._globals, **{name: self._meter.weigh(value) for name, value in names.items()}})
        return self._written(tree.body, Scope({}, given))

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
