"""From tokens to text that is safe to show.

    token ──► no thoughts, no control tokens ──► whole UTF-8 characters ──► no terminal control ──► text

A model may open `<|channel>thought ... <channel|>` before its answer, may write bytes that are no UTF-8, and
may have learned terminal escapes; none of that reaches the output.
"""

from __future__ import annotations

import codecs
from typing import Protocol

_THOUGHT_OPEN, _THOUGHT_CLOSE = b"<|channel>", b"<channel|>"
_MAX_SEQUENCE = 512
"""An escape sequence that has not ended after so many characters was none."""


class TokenTexts(Protocol):
    """What the filter needs of an engine."""

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token."""

    def is_control(self, token: int) -> bool:
        """Is this token never text?"""


class TerminalFilter:
    """Removes control characters and whole escape sequences from text that comes in pieces; keeps \\n and
    \\t.
    """

    def __init__(self) -> None:
        self._state = "text"  # text, escape, csi, string (OSC, DCS, ...), string-escape
        self._length = 0

    def feed(self, text: str) -> str:
        """The piece without them."""
        out = []
        for character in text:
            if self._state == "text":
                if self._opens(character):
                    continue
                if character in "\n\t" or (character >= " " and not "\x7f" <= character <= "\x9f"):
                    out.append(character)
            else:
                self._inside(character)
        return "".join(out)

    def _opens(self, character: str) -> bool:
        states = {"\x1b": "escape", "\x9b": "csi"} | dict.fromkeys("\x90\x98\x9d\x9e\x9f", "string")
        if character not in states:
            return False
        self._state, self._length = states[character], 0
        return True

    def _inside(self, character: str) -> None:
        self._length += 1
        if self._length > _MAX_SEQUENCE or character in "\n\x18\x1a":
            self._state = "text"
        elif self._state == "escape":
            if character == "[":
                self._state = "csi"
            elif character in "]PX^_":
                self._state = "string"
            elif not " " <= character <= "/":  # intermediates; anything else ends a short sequence
                self._state = "text"
        elif self._state == "csi":
            if "@" <= character <= "~":
                self._state = "text"
        elif self._state == "string":
            if character in "\x07\x9c":
                self._state = "text"
            elif character == "\x1b":
                self._state = "string-escape"
        else:  # ESC \ ends a string; another character after ESC goes on with it
            self._state = "text" if character == "\\" else "string"


class TextFilter:
    """Text of one answer, token by token."""

    def __init__(self, tokens: TokenTexts) -> None:
        self._tokens = tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._terminal = TerminalFilter()
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
            return self._terminal.feed(self._decoder.decode(data))
        return ""

    def finish(self) -> str:
        """What is left at the end; a character cut in half becomes U+FFFD."""
        return self._terminal.feed(self._decoder.decode(b"", final=True))
