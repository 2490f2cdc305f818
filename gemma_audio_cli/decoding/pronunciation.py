"""English words as a pronouncing dictionary has them: numbers as they are said, and a guess for the rest.

"42nd"  ──► forty two n d          "Käthe" ──► K AA T HH EH, letter by letter, where no dictionary has it
"""

from __future__ import annotations

import re
import unicodedata

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_LARGE = ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred"))
_SIGNS = {"%": "percent", "&": "and", "+": "plus", "@": "at", "$": "dollars", "€": "euros", "£": "pounds"}
_PHONES = {
    "a": "AA", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "OW", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "UH", "v": "V", "w": "W", "x": "K S", "y": "Y", "z": "Z",
}  # fmt: skip


def said(word: str) -> list[str]:
    """What is said where a word of a text stands, in small letters; nothing where it is punctuation only."""
    plain = unicodedata.normalize("NFKC", word).replace("’", "'").lower()
    words: list[str] = []
    for digits, letters, sign in re.findall(r"(\d[\d,]*)|([^\W\d_]+(?:'[^\W\d_]+)*)|(\S)", plain):
        if digits:
            words += number(digits.replace(",", ""))
        elif letters:
            words.append(letters)
        elif sign in _SIGNS:
            words.append(_SIGNS[sign])
    return words


def number(digits: str) -> list[str]:
    """A whole number in words; digit by digit if it begins with 0 or is very long."""
    if len(digits) > 9 or (len(digits) > 1 and digits[0] == "0"):
        return [_ONES[int(digit)] for digit in digits]
    return _cardinal(int(digits)) or [_ONES[0]]


def guess(word: str) -> str:
    """Phones (ARPAbet) for a word that no dictionary has, a letter at a time: good enough for its length.
    Empty for other scripts.
    """
    letters = unicodedata.normalize("NFKD", word)
    return " ".join(_PHONES[letter] for letter in letters if letter in _PHONES)


def _cardinal(n: int) -> list[str]:
    for size, name in _LARGE:
        if n >= size:
            return [*_cardinal(n // size), name, *_cardinal(n % size)]
    if n >= 20:
        return [_TENS[n // 10 - 2], *_cardinal(n % 10)]
    return [_ONES[n]] if n else []
