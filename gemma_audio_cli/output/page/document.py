"""One HTML file of its parts, which a browser lets do nothing but play the recording.

page.html  ◄── title, style, scripts
           ◄── transcript, about: data as JSON, in which nothing can end the element around it
           ◄── a content security policy: the style and the script with these hashes, sound, nothing else

Words and names come from strangers. Two things keep them text, each without the other's help: they get into
the document as escaped text or as JSON, and the policy runs no script but ours, loads nothing, sends nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from pathlib import Path
from typing import Any

from gemma_audio_cli.formatting import json_text, printable
from gemma_audio_cli.version import __version__

SCRIPTS = ("text.js", "player.js", "timeline.js", "search.js", "tools.js")
"""In the order in which they use each other; together they are one module."""

_HERE = Path(__file__).resolve().parent
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def document(title: str, transcript: dict[str, Any], about: dict[str, Any], *, media: str | None) -> str:
    """The page. `transcript` and `about` are what the scripts get; `media`: sources of sound, as the policy
    names them, or None.
    """
    style, script = _part("page.css"), "\n".join(map(_part, SCRIPTS))
    values = {
        "policy": html.escape(policy(style, script, media)),
        "version": html.escape(__version__),
        "title": html.escape(printable(title)),
        "style": style,
        "script": script,
        "transcript": json_for_script(transcript),
        "about": json_for_script(about),
    }
    # In one go: nothing in a value is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _part("page.html"))


def policy(style: str, script: str, media: str | None) -> str:
    """The content security policy of a page with this style and this script in it."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            *([] if media is None else [f"media-src {media}"]),
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",  # text cannot become elements, by mistake either
            "trusted-types 'none'",
        )
    )


def json_for_script(value: object) -> str:
    """JSON on one line that is the same value to any reader of JSON, without characters that mean something
    in HTML.
    """
    return json_text(value).translate(_IN_SCRIPT)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
