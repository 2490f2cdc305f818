"""From tokens to text that is safe to show.

    token ──► no thoughts, no control tokens ──► whole UTF-8 characters ──► nothing that acts ──► text

A model may open `<|channel>thought ... <channel|>` before its answer, may write bytes that are no UTF-8, and
may have learned terminal escapes; none of that reaches the output.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from gemma_audio_cli.formatting import Cleaner

_THOUGHT_OPEN, _THOUGHT_CLOSE = b"<|channel>", b"<channel|>"


class TokenTexts(Protocol):
    """What the filter needs of an engine."""

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token."""

    def is_control(self, token: int) -> bool:
        """Is this token never text?"""


class TextFilter:
    """Text of one answer, token by token."""

    def __init__(self, tokens: TokenTexts) -> None:
        self._tokens = tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cleaner = Cleaner()
        self.in_thought = False
        """The model is thinking: what it writes is not for the reader."""

    def feed(self, token: int) -> str:
        """The text this token completes, often empty."""
        data = self._tokens.token_bytes(token)
        if data == _THOUGHT_OPEN:
            self.in_thought = True
        elif data == _THOUGHT_CLOSE:
            self.in_thought = False
        elif not self.in_thought and not self._tokens.is_control(token):
            return self._cleaner.feed(self._decoder.decode(data))
        return ""

    def finish(self) -> str:
        """What is left at the end; a character cut in half becomes U+FFFD."""
        return self._cleaner.feed(self._decoder.decode(b"", final=True))
