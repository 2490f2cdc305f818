"""How values are shown: bytes, durations, and text of unknown origin, made safe.

    byte_size(n)      "3.4 GB"         hms(seconds)    "1:02:03"
    counted(2, "file")  "2 files"      clock(seconds)  "02:03.45"
    stretch(751.2, 777.9)  "12:31-12:58"

    printable(text)   a name or message on one line: what could act on a terminal is spelled out, "\\x1b"
    Cleaner.feed()    words of a model, piece by piece: what could act on a terminal is left out
    one_line(text)    words of a model on one line, for formats that have no line ends
    json_text(value)  JSON: what could act on a terminal is escaped, so nothing is lost

Four kinds of characters act on what is around them instead of being seen:

    controls     C0, DEL, C1; line and paragraph separators; halves of surrogate pairs
    direction    embeddings, overrides and isolates turn the order of text that is not theirs
    tags         U+E0000 to U+E007F are invisible copies of ASCII: text that nobody sees
    leftovers    byte order marks, annotation marks, deprecated format characters

Languages need some invisible characters. Joiners (ZWJ, ZWNJ), combining marks and variation selectors are
kept everywhere. The direction marks of one character (LRM, RLM, ALM) are kept in words, where Hebrew and
Arabic use them beside numbers and brackets; in names, which stand beside words of ours, they are spelled out.
Of tags only those in the flags of England, Scotland and Wales are kept: Unicode recommends no others.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata

_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_DIRECTION = "\u202a-\u202e\u2066-\u2069"
_DIRECTION_MARKS = "\u061c\u200e\u200f"
_TAGS = "\U000e0000-\U000e007f"
_LEFTOVERS = "\u180e\u206a-\u206f\ufeff\ufff9-\ufffb"

_BLACK_FLAG, _FIRST_TAG, _CANCEL_TAG = "\U0001f3f4", 0xE0000, "\U000e007f"
_FLAGS = frozenset(
    "".join(chr(_FIRST_TAG + ord(letter)) for letter in region) + _CANCEL_TAG
    for region in ("gbeng", "gbsct", "gbwls")
)
_FLAG = "".join((_BLACK_FLAG, "(?:", "|".join(sorted(_FLAGS)), ")"))

_MAX_SEQUENCE = 512
"""An escape sequence that has not ended after so many characters was none."""

_IN_NAMES = re.compile(f"({_FLAG})|[{_CONTROLS}{_DIRECTION}{_DIRECTION_MARKS}{_TAGS}{_LEFTOVERS}]")
_IN_WORDS = re.compile(f"({_FLAG})|[{_CONTROLS}{_DIRECTION}{_TAGS}{_LEFTOVERS}]")
_IN_JSON = re.compile(
    f"[\x7f-\x9f\u2028\u2029\ud800-\udfff{_DIRECTION}{_DIRECTION_MARKS}{_TAGS}{_LEFTOVERS}]"
)


def printable(text: str) -> str:
    """A name or a message on one line: what could act on a terminal is spelled out as Python does, also line
    ends and bytes that are no UTF-8. Other text comes back as it is.
    """
    return _IN_NAMES.sub(lambda found: found[1] or repr(found[0])[1:-1], text)


def is_printable(text: str) -> bool:
    """Would `printable` leave it as it is?"""
    return printable(text) == text


def one_line(text: str) -> str:
    """Words with single spaces for white space of any kind, and without characters that act on a terminal.
    Half a surrogate pair becomes U+FFFD.
    """

    def replaced(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        if found[0].isspace():
            return " "
        return "\ufffd" if unicodedata.category(found[0]) == "Cs" else ""

    return " ".join(_IN_WORDS.sub(replaced, text).split())


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON in readable UTF-8; characters that could act on a terminal are escapes. Bytes of a file's name
    that are no UTF-8 are escapes \\udc80 to \\udcff, as Python has them.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False, default=str)
    return _IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text)


def byte_size(count: float) -> str:
    """Bytes as a person reads them, in units of 1000."""
    return f"{count / 1e9:.1f} GB" if count >= 999.95e6 else f"{count / 1e6:.1f} MB"


def byte_amount(total: int | None, free: int | None = None) -> str:
    """Bytes of a memory, with what is free of them; "-" where nobody knows."""
    if total is None:
        return "-"
    return byte_size(total) if free is None else f"{byte_size(total)}, {byte_size(free)} free"


def counted(number: int, what: str) -> str:
    """ "1 file", "2 files"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def hms(seconds: float) -> str:
    """A duration as H:MM:SS: whole seconds that have passed."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def stretch(start: float, end: float) -> str:
    """A stretch of a recording in whole seconds around it: 12:31-12:58, with hours where there are any."""
    return "-".join(_minutes(seconds) for seconds in (math.floor(start + 1e-6), math.ceil(end - 1e-6)))


def _minutes(seconds: int) -> str:
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def clock(seconds: float) -> str:
    """A time in a recording as MM:SS.cc, with hours in front where there are any."""
    minutes, hundredths = divmod(round(max(0.0, seconds) * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    short = f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"
    return f"{hours}:{short}" if hours else short


class Cleaner:
    """Words that come in pieces of any size, without what acts on a terminal; \\n and \\t are kept.

    Escape sequences go as a whole: of "\\x1b[31mred" only "red" is left.
    """

    def __init__(self) -> None:
        self._state = "text"  # text, escape, csi, string (OSC, DCS, ...), string-escape
        self._length = 0
        self._flag: str | None = None  # tags behind a black flag, so far

    def feed(self, text: str) -> str:
        """The piece without them. The end of a flag is waited for, nothing else."""
        return "".join(map(self._character, text))

    def _character(self, character: str) -> str:
        if self._state != "text":
            self._inside(character)
            return ""
        if self._opens(character):
            self._flag = None
            return ""
        if "\U000e0000" <= character <= _CANCEL_TAG:
            return self._tag(character)
        self._flag = "" if character == _BLACK_FLAG else None
        if character in "\u2028\u2029":
            return "\n"
        return character if character in "\n\t" or not _IN_WORDS.match(character) else ""

    def _tag(self, character: str) -> str:
        if self._flag is None:
            return ""
        tags = self._flag + character
        self._flag = tags if any(flag.startswith(tags) for flag in _FLAGS) else None
        return tags if tags in _FLAGS else ""

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
