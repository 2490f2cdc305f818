"""Chat templates from model files, rendered without trusting them.

A GGUF carries its layout of a conversation as a Jinja program. A model file comes from anywhere, so the
program runs in an evaluator of bounded time and memory (`engine.jinja`), with jinja2's parser before it.
Whatever goes wrong is a TemplateError of one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser

from gemma_audio_cli.decoding.jinja.run import Run
from gemma_audio_cli.decoding.jinja.values import EvaluationError, Meter

MAX_SOURCE = 1 << 16
"""Characters. Public templates have up to 20,000; the parser takes a second for this many at worst."""
MAX_STEPS = 500_000
"""Nodes run and values made (see engine.jinja.values); Google's need some hundreds for one turn."""


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


@lru_cache(maxsize=1)
def _parsed(source: str) -> nodes.Template:
    # As transformers sets it up. Only its parser is used: compiling already computes what looks constant.
    extensions = [_Generation, LoopControlExtension]
    return Environment(trim_blocks=True, lstrip_blocks=True, extensions=extensions).parse(source)


def _refuse(message: object = "") -> str:
    raise EvaluationError(f"the template refuses this conversation: {message}")


def _no_clock(_format: object = "") -> str:
    return ""  # a prompt must not depend on the day


def render(source: str, messages: Sequence[Mapping[str, Any]], *, bos: str = "", eos: str = "") -> str:
    """The conversation laid out by the template `source`, up to where the model speaks; thinking is off.

    `messages` are plain dicts, lists, texts and numbers. Raises TemplateError.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"the model's chat template is too long ({len(source)} characters)")
    run = Run(Meter(MAX_STEPS), {"raise_exception": _refuse, "strftime_now": _no_clock})
    names = {
        "messages": list(messages),
        "add_generation_prompt": True,
        "enable_thinking": False,
        "bos_token": bos,
        "eos_token": eos,
        "tools": None,
    }
    try:
        return run.render(_parsed(source), names)
    except Exception as error:  # also Python's, of values that do not fit an operation
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise TemplateError(f"the model's chat template fails: {text}") from None
