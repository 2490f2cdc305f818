"""The evaluator of chat templates gives what jinja2 gives, and its cost is bounded."""

# ruff: noqa: E501 - templates
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gemma_audio_cli.decoding import template
from gemma_audio_cli.decoding.jinja.run import Run
from gemma_audio_cli.decoding.jinja.values import EvaluationError, Meter, TooMuchError

ROOT = Path(__file__).resolve().parents[2]
NAMES: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": " Be brief.\n"},
        {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A <b> c", "items": 3, "tool_calls": None},
    ],
    "text": "The Quick brown-fox  jumps\n over (it)",
    "numbers": [3, 1, 2, 3],
    "words": ["b", "A", "c", "a"],
    "table": {"z": 1, "Y": [1, 2], "x": {"k": "v"}},
    "nothing": None,
    "yes": True,
    "half": 0.5,
}


def jinja(source: str) -> str:
    """As transformers renders a chat template."""

    def tojson(value: object, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    return environment.from_string(source).render(NAMES)


def ours(source: str) -> str:
    return Run(Meter(template.MAX_STEPS), {}).render(template._parsed(source), NAMES)


def same(source: str) -> None:
    """Both give the same text, or both fail."""
    try:
        want: str | None = jinja(source)
    except Exception:
        want = None
    if want is None:
        with pytest.raises((EvaluationError, TypeError, ValueError)):
            ours(source)
    else:
        assert ours(source) == want


PROGRAMS = {
    "set in a loop stays there": "{% set x = 1 %}{% for i in numbers %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
    "set in an if goes on": "{% if yes %}{% set x = 5 %}{% endif %}{{ x }}",
    "namespace": "{% set n = namespace(a=1, b=none) %}{% for i in numbers %}{% set n.a = n.a + i %}{% endfor %}"
    "{{ n.a }}{{ n.b is none }}{{ n.c is defined }}",
    "loop": "{% for i in words %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle(1, 2) }}{{ loop.changed(i|lower) }}"
    "{% else %}none{% endfor %}",
    "nested loop": "{% for a in numbers %}{% set outer = loop %}{% for b in words %}{{ outer.index }}{{ b }}"
    "{% endfor %}{% endfor %}",
    "loop with a condition": "{% for a in numbers if a > 1 %}{{ a }}/{{ loop.length }} {% else %}-{% endfor %}",
    "empty loop": "{% for a in [] %}x{% else %}{{ loop is defined }}{% endfor %}",
    "unpacking": "{% for k, v in table.items() %}{{ k }}={{ v }};{% endfor %}{% set a, b = 1, 2 %}{{ b }}{{ a }}",
    "break": "{% for i in numbers %}{% if i == 2 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}"
    "{{ i }}{% endfor %}{% for i in numbers %}{{ i }}{% endfor %}",
    "macro": "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}"
    "{{ f(1) }}{{ f(1, c=5) }}{{ f() }}{{ f(1, 2, 3, 4, z=1) }}",
    "macro too many": "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "macro recursion": "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(9) }}",
    "macro sees what is set later": "{% macro f() %}{{ later }}{% endmacro %}{% set later = 3 %}{{ f() }}",
    "call block": "{% macro f(x) %}<{{ caller(x, 2) }}>{% endmacro %}{% call(a, b) f(1) %}{{ a }}{{ b }}{% endcall %}",
    "set block": "{% set x | upper | trim %} abc {{ yes }} {% endset %}[{{ x }}]",
    "filter block": "{% filter upper | replace('B', 'x') %}abc{{ text }}{% endfilter %}",
    "with": "{% with a = 1, b = yes %}{{ a }}{{ b }}{% set c = 1 %}{% endwith %}{{ a }}{{ c }}",
    "white space": "  {% if yes %}\n  a\n  {%- endif %}\n\n{{- 1 }} {# c #}\nb\n",
    "keys that are methods": "{{ messages[2]['items'] }}{{ messages[2].role }}{{ table.items()|list }}",
    "missing": "{{ table.q }}|{{ table['q'] is defined }}|{{ messages[9] }}|{{ text[99] }}|{{ nope }}|{{ nope == nix }}",
    "missing of missing": "{{ nope.nope }}",
    "selections": "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ numbers|select('gt', 1)|list }}"
    "{{ numbers|reject('odd')|list }}{{ messages|rejectattr('tool_calls')|map(attribute='role')|join('+') }}"
    "{{ 'x' if messages|selectattr('no') }}{{ nothing|select|list }}",
    "generators are used up": "{% set g = numbers|map('string') %}{{ g|join }}-{{ g|join }}",
    "slices": "{{ numbers[1:] }}{{ numbers[::-1] }}{{ text[:3] }}{{ numbers[-2:] }}{{ table[:1] }}",
    "json": "{{ messages|tojson }}{{ table|tojson(indent=2) }}",
    "text methods": "{{ text.split() }}{{ text.split('-', 1)[0] }}{{ text.rsplit(' ', 1)[-1] }}{{ text.strip('T)') }}"
    "{{ text.startswith('The') }}{{ text.endswith(('x', ')')) }}{{ text.find('k') }}{{ text.replace(' ', '') }}"
    "{{ ', '.join(words) }}{{ text.title() }}{{ text.splitlines() }}{{ text.count(' ') }}{{ text.removeprefix('The') }}",
    "numbers": "{{ 7 // 2 }}{{ 7 / 2 }}{{ 7 % 4 }}{{ 2 ** 5 }}{{ -half }}{{ 1 - 3 }}{{ half * 3 }}{{ 'ab' * 2 }}{{ 1 ~ 2 }}",
    "chained comparisons": "{{ 1 < 2 < 3 }}{{ 1 < 2 > 5 }}{{ 'a' in words }}{{ 9 not in numbers }}{{ 'Q' in text }}",
    "dict": "{{ dict(a=1, b=[2]) }}{{ dict([[1, 2]]) }}{{ {'a': 1}.get('b', 3) }}{{ {'a': 1}|items|list }}",
    "truncate and indent": "{{ text|truncate(12) }}{{ text|truncate(12, true, '.', 0) }}{{ text|indent(2, true) }}"
    "{{ text|indent('> ', blank=true) }}",
    "change": "{{ messages.append(1) }}",
}


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_gives_what_jinja2_gives(source):
    same(source)


TESTS = [
    "defined",
    "undefined",
    "none",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "number",
    "integer",
    "float",
    "boolean",
    "true",
    "false",
    "odd",
    "even",
    "lower",
    "upper",
    "callable",
]
FILTERS = [
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "int",
    "items|list",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "reverse|list",
    "round",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique|list",
    "upper",
    "wordcount",
    "indent",
    "map('string')|list",
    "map('upper')|join",
    "select|list",
    "reject|list",
    "sort(reverse=true)",
    "dictsort(by='value')",
    "join('-')",
    "default('q',true)",
    "replace('a','bb')",
    "round(1,'floor')",
    "int(7)",
    "trim('aT')",
    "map(attribute='role')|list",
    "selectattr('role')|list",
]
ATOMS = [
    "nope",
    "0",
    "1",
    "-2",
    "2.5",
    "''",
    "'aB c'",
    "'12'",
    "true",
    "none",
    "[]",
    "{}",
    "messages[0]",
    "messages[1].content",
    "table.x",
    "table['Y']",
    "(1, 'a')",
    "range(4)",
    "text.split()",
    "table.items()|list",
    "messages[1:]",
    "text[::2]",
    "words[-1:]",
    "range(5)[:2]",
]
atoms = st.sampled_from([*NAMES, *ATOMS])


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(
        ["+", "-", "*", "/", "//", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
    )
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        st.tuples(inner, st.sampled_from(FILTERS)).map(lambda x: f"({x[0]})|{x[1]}"),
        st.tuples(inner, st.sampled_from(TESTS)).map(lambda x: f"(({x[0]}) is {x[1]})"),
        st.tuples(inner, inner).map(lambda x: f"({x[0]})[{x[1]}]"),
        st.tuples(inner, inner, inner).map(lambda x: f"(({x[0]}) if ({x[1]}) else ({x[2]}))"),
        st.lists(inner, max_size=3).map(lambda x: f"[{', '.join(x)}]"),
        inner.map(lambda x: f"(not ({x}))"),
    )


expressions = st.recursive(atoms, grow, max_leaves=6)


def printed(text: str) -> bool:
    """Does a text show no address of an object?"""
    return " at 0x" not in text and "<built-in" not in text and "<bound" not in text


@given(expressions, expressions)
@settings(max_examples=400, deadline=None)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of what jinja2 compiles
@example("words|sort", "numbers")
def test_any_expression_gives_what_jinja2_gives(first, second):
    source = f"{{% for x in {first} %}}{{{{ x }}}}{{{{ {second} }}}}{{% endfor %}}|{{{{ {first} }}}}"
    try:
        want = jinja(source)
    except Exception:
        want = None
    try:
        got: str | None = ours(source)
    except TooMuchError:
        got = None
        assume(want is not None and len(want) > 10_000)
    except Exception:
        got = None
    if want is None or printed(want):
        assert got == want, source


@pytest.mark.parametrize(
    "source",
    [
        "{{ text.__class__ }}",
        "{{ messages[0]['__class__'] }}",
        "{{ range.__init__ }}",
        "{% for i in words %}{{ loop._changed }}{% endfor %}{{ loop.__class__ }}",
        "{{ words|map(attribute='__class__')|list }}",
        "{{ ''.join(meter=1) }}",
        "{{ words.sort() }}",
        "{{ table.update(a=1) }}",
        "{{ messages.append(1) }}",
        "{% extends 'x' %}",
        "{% import 'x' as y %}",
        "{{ self }}{{ lipsum() }}",
        "{{ 'x'.format() }}",
        "{{ 'x'.encode() }}",
        # Ways out of jinja2's sandbox that were found: CVE-2019-10906, CVE-2024-56326, CVE-2025-27516.
        "{{ '{0.__class__}'.format_map({'0': 1}) }}",
        "{% set f = '{0.__class__}'.format %}{{ numbers|map('list')|list }}{{ f(1) }}",
        "{{ ('{0.__class__}'|attr('format'))(1) }}",
    ],
)
def test_nothing_of_python_is_reached(source):
    with pytest.raises(Exception, match=r"support|undefined|join|filter"):
        ours(source)


LONG = "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(14) %}{% set n.x = n.x ~ n.x %}{% endfor %}"


def doubled(how: str, use: str = "{{ n.x == m.x }}") -> str:
    both = how + " %}{% set m.x = " + how.replace("n.x", "m.x")
    start = "{% set n = namespace(x=[1]) %}{% set m = namespace(x=[1]) %}"
    return f"{start}{{% for i in range(40) %}}{{% set n.x = {both} %}}{{% endfor %}}{use}"


EXPENSIVE = {
    "lists of lists": doubled("[n.x, n.x]"),
    "tuples": doubled("(n.x, n.x)", "{{ n.x }}"),
    "dicts": doubled("{1: n.x, 2: n.x}", "{{ n.x|tojson }}"),
    "views": doubled("{1: n.x, 2: n.x}.values()", "{{ n.x }}"),
    "iterators": doubled("[n.x, n.x]|map('list')|list", "{{ n.x|sort }}"),
    "sums of lists": doubled("n.x + n.x", "{{ n.x|length }}"),
    "a long join": LONG + "{{ range(99999)|join(n.x)|length }}",
    "a long join method": LONG + "{{ n.x.join(n.x)|length }}",
    "a long replacement": LONG + "{{ n.x.replace('', n.x) }}",
    "separators of JSON": LONG + "{{ range(90000)|list|tojson(separators=(n.x, n.x)) }}",
    "a search that compares all with all": LONG
    + "{% for i in range(999) %}{% set y = n.x.rfind('b' ~ n.x[:100000]) %}{% endfor %}",
    "a strip that compares all with all": LONG
    + "{% for i in range(999) %}{% set y = (n.x ~ 'x').strip('b' ~ n.x[1:]) %}{% endfor %}",
    "what a loop remembers": "{% set x = range(90000) %}{% for i in x %}{% set y = loop.changed(x) %}{% endfor %}",
    "sorting again and again": "{% set x = range(99999) %}{% for i in x %}{% set y = x|sort(reverse=i is odd) %}{% endfor %}",
    "a slow sum": "{% for i in range(99999) %}{% set x = range(99999)|sum %}{% endfor %}",
    "bytes": "{{ (1).to_bytes(3000000000, 'big')|length }}",
    "powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "squares": "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "digits": "{{ ('9' * 90000)|int }}",
    "rounding": "{{ 1|round(1000000000) }}",
    "widths": "{{ 'x'|center(1000000000) }}",
    "an indent": "{{ 'a\n'|indent(1000000000) }}" * 2 + "{{ ('a\n' * 50000)|indent('b' * 50000) }}",
    "calls that double": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "calls without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a block that calls itself": "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}"
    "{% endcall %}{% endmacro %}{{ g() }}",
    "namespaces within namespaces": "{% set n = namespace(x=1) %}{% for i in range(99999) %}"
    "{% set n.x = namespace(x=n.x) %}{% endfor %}",
    "iterators within iterators": "{% set n = namespace(x=[1]) %}{% for i in range(99999) %}"
    "{% set n.x = [n.x]|reverse %}{% endfor %}",
    "a chain of attributes": "{{ messages" + ".a" * 30_000 + " }}",
    "a chain of sums": "{{ 1" + "+1" * 30_000 + " }}",
    "a chain of filters": "{{ 1" + "|string" * 9_000 + " }}",
    "parentheses": "{{ " + "(" * 60_000,
    "ifs": "{% if 1 %}" * 6_000,
    "signs": "{{ " + "-" * 60_000 + "1 }}",
}

MEASURE = """
import json, sys
from gemma_audio_cli.decoding import prompt
text, notice = prompt.laid_out(json.load(sys.stdin), prompt.Layout(), 1)
# Not getrusage: it begins with the size of the process that started this one.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps([notice, int(peak.split()[1])]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and counts memory as Linux does")
@pytest.mark.parametrize("source", EXPENSIVE.values(), ids=EXPENSIVE)
def test_an_expensive_template_is_set_aside_soon_and_within_little_memory(source):
    limited = f"ulimit -v 400000; exec {sys.executable} -c '{MEASURE}'"
    done = subprocess.run(
        ["sh", "-c", limited], input=json.dumps(source), capture_output=True, text=True, cwd=ROOT, timeout=20
    )
    assert done.returncode == 0, done.stderr
    notice, kilobytes = json.loads(done.stdout)
    assert "the built-in Gemma 4 layout is used" in notice
    assert notice.isprintable()
    assert "MemoryError" not in notice
    assert kilobytes < 150_000


def test_values_are_paid_for_with_all_that_is_inside():
    shared = [1] * 100
    meter = Meter(10_000)
    meter.weigh([shared] * 50)
    assert meter.left <= 5_000
    with pytest.raises(TooMuchError):
        meter.weigh([[shared] * 50] * 2)


def test_a_large_template_is_parsed_within_seconds():
    source = ("{{ {" + "1:1," * template.MAX_SOURCE)[: template.MAX_SOURCE - 5] + "} }}"
    start = time.monotonic()
    template.render(source, [])
    assert time.monotonic() - start < 20
    with pytest.raises(template.TemplateError, match="too long"):
        template.render(source + " " * 10, [])


def test_what_transformers_gives_templates_is_here():
    assert template.render("{{ strftime_now('%d') }}{{ bos_token }}", [], bos="<b>") == "<b>"
    assert (
        template.render("{% generation %}{{ messages[0].role }}{% endgeneration %}", [{"role": "u"}]) == "u"
    )
    with pytest.raises(template.TemplateError, match="no such role"):
        template.render("{{ raise_exception('no\nsuch role') }}", [])
    assert jinja2.__version__ >= "3.1"
