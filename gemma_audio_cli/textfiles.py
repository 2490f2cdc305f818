"""Small text files that a person hands over: questions, a schema, a grammar. Read whole, so bounded."""

from __future__ import annotations

import sys
from pathlib import Path

from gemma_audio_cli.errors import UsageError

LARGEST = 4 << 20
"""Bytes of such a file. A model's context ends long before."""


def text_of(name: str, what: str, *, stdin: bool = False) -> str:
    """The text of a file without a mark of its encoding; of standard input where `stdin` and the name is `-`.

    `what` it holds is for messages: "the schema". Raises UsageError that names the file: it cannot be read,
    is larger than `LARGEST`, or no UTF-8 text.
    """
    try:
        if stdin and name == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(name).open("rb") as file:  # a pipe is read too: <(printf ...)
                data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{name}: {what} cannot be read: {reason}") from None
    if len(data) > LARGEST:
        raise UsageError(f"{name}: {what} cannot be read: it has more than {LARGEST >> 20} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: {what} cannot be read: it is no UTF-8 text") from None
