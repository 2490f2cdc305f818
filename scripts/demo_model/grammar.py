"""The closed language of the demo model: digit strings and spoken household commands.

A *sentence* is the transcript itself: lower-case words and numerals separated by single spaces, e.g.
``"set a timer for 20 minutes"`` or ``"3 7 2"``. Numbers are always written as digits, as Gemma's own
transcription prompt asks, and each is one word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIGITS: tuple[str, ...] = tuple("0123456789")

# Numbers a command may contain. Kept few, so that every one is heard often enough to be learnt.
NUMBERS: tuple[str, ...] = (*DIGITS, "10", "11", "12", "15", "20", "25", "30", "40", "45", "50", "60", "90")

#: How a numeral sounds, to estimate how long it takes to say.
SPELLED: dict[str, str] = {
    "0": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "10": "ten",
    "11": "eleven",
    "12": "twelve",
    "15": "fifteen",
    "20": "twenty",
    "25": "twentyfive",
    "30": "thirty",
    "40": "forty",
    "45": "fortyfive",
    "50": "fifty",
    "60": "sixty",
    "90": "ninety",
}
_SMALL = NUMBERS[1:13]
_TENS = ("10", "15", "20", "25", "30", "40", "45", "50", "60", "90")

_SLOTS: dict[str, tuple[str, ...]] = {
    "room": ("kitchen", "bedroom", "bathroom", "garden", "hall", "living room"),
    "lamp": ("lights", "lamp"),
    "device": ("lights", "lamp", "fan", "heater", "radio", "television", "music"),
    "state": ("on", "off"),
    "small": _SMALL,
    "tens": _TENS,
    "number": NUMBERS,
    "unit": ("seconds", "minutes", "hours"),
    "half": ("morning", "evening"),
    "day": ("today", "tonight", "tomorrow", "monday", "friday", "sunday"),
    "sky": ("rain", "snow"),
    "feel": ("cold", "warm", "windy"),
    "genre": ("jazz", "blues", "piano", "dance"),
    "track": ("song", "album"),
    "level": ("up", "down"),
    "door": ("door", "window", "garage", "gate"),
    "act": ("open", "close", "lock"),
    "who": ("mom", "dad", "home", "doctor"),
}

# A template's weight is how often it is drawn; templates with many slots carry more new sentences.
_TEMPLATES: tuple[tuple[int, str], ...] = (
    (4, "turn {state} the {room} {lamp}"),
    (4, "turn the {device} {state}"),
    (2, "switch {state} the {device}"),
    (3, "dim the {lamp} in the {room} to {tens} percent"),
    (2, "set the {room} {lamp} to {number} percent"),
    (2, "make the {room} brighter"),
    (4, "set a timer for {number} {unit}"),
    (3, "set an alarm for {small} in the {half}"),
    (3, "wake me up at {small} {day}"),
    (3, "remind me in {number} {unit}"),
    (2, "cancel the timer"),
    (1, "stop the alarm"),
    (2, "how much time is left"),
    (1, "add {number} {unit} to the timer"),
    (3, "what is the weather {day}"),
    (3, "will it {sky} {day}"),
    (3, "is it {feel} outside {day}"),
    (2, "what is the temperature in the {room}"),
    (2, "set the temperature to {number} degrees"),
    (3, "play {genre} music in the {room}"),
    (2, "play some {genre}"),
    (3, "play the next {track}"),
    (1, "skip this {track}"),
    (2, "turn the volume {level}"),
    (3, "set the volume to {number}"),
    (1, "pause the music"),
    (1, "stop the music"),
    (3, "{act} the {room} {door}"),
    (2, "{act} the front {door}"),
    (2, "{act} {door} number {number}"),
    (2, "call {who}"),
    (2, "call number {number}"),
    (2, "go to channel {number}"),
    (1, "good morning"),
    (1, "good night"),
    (1, "thank you"),
    (1, "yes please"),
    (1, "no thank you"),
    (1, "help me please"),
)


def _template_words() -> tuple[str, ...]:
    words: set[str] = set()
    for _, template in _TEMPLATES:
        words.update(part for part in template.split() if not part.startswith("{"))
    for values in _SLOTS.values():
        for value in values:
            words.update(value.split())
    return tuple(sorted(words | set(NUMBERS)))


#: Every word that a transcript may contain, numerals among them.
WORDS: tuple[str, ...] = _template_words()


@dataclass(frozen=True)
class Sentence:
    """A transcript and the kind of recording it comes from: ``digits``, ``command`` or ``silence``."""

    text: str
    kind: str

    @property
    def words(self) -> list[str]:
        return self.text.split()


def random_command(rng: np.random.Generator) -> str:
    """One command, drawn by the weights of its template."""
    weights = np.array([weight for weight, _ in _TEMPLATES], dtype=np.float64)
    text = _TEMPLATES[int(rng.choice(len(_TEMPLATES), p=weights / weights.sum()))][1]
    while "{" in text:
        start, end = text.index("{"), text.index("}")
        values = _SLOTS[text[start + 1 : end]]
        text = text[:start] + values[int(rng.integers(len(values)))] + text[end + 1 :]
    return text


def random_digits(rng: np.random.Generator, low: int, high: int) -> list[str]:
    """Between ``low`` and ``high`` random digits, both included."""
    return [DIGITS[int(d)] for d in rng.integers(0, 10, size=int(rng.integers(low, high + 1)))]


def word_errors(reference: list[str], hypothesis: list[str]) -> int:
    """Edit distance in words: substitutions, insertions and deletions each count one."""
    row = list(range(len(hypothesis) + 1))
    for i, ref in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, hyp in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (ref != hyp))
    return row[-1]
