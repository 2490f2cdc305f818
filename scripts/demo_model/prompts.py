"""What the demo model is asked about a recording, and the answers it learns to give.

The transcription prompts are Gemma 4's own. The questions come in several wordings each. Three kinds of
answer first write down what was said and then work with that text, because a decoder of five layers copies
and adds one step at a time well, but does not search a recording::

    how many:     "3 7 2: 3 digits"                    the count is the number after the colon
    is X spoken:  "turn on the lights: yes"
    sum:          "3 7 2: 3 + 7 = 10, 10 + 2 = 12"     the sum is the last number
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .grammar import DIGITS, WORDS, Sentence, random_command, random_digits

#: Languages that the two prompts below may name; the vocabulary holds each as one token.
LANGUAGES: tuple[str, ...] = (
    "English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Russian",
    "Ukrainian", "Turkish", "Arabic", "Hindi", "Bengali", "Chinese", "Japanese", "Korean",
    "Vietnamese", "Indonesian", "Swedish", "Danish", "Norwegian", "Finnish", "Czech", "Greek",
    "Hebrew", "Romanian", "Hungarian", "Thai", "Mandarin", "Estonian", "Persian", "Croatian",
    "Lithuanian", "Latvian", "Slovak", "Slovenian", "Tamil", "Urdu",
)  # fmt: skip

# Google's cards put two newlines before this at first, one space since; both are trained.
_FORMAT = (
    "Follow these specific instructions for formatting the answer:"
    "\n* Only output the transcription, with no newlines."
    "\n* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, "
    "and write 3 instead of three."
)
_IN_ENGLISH = "Transcribe the following speech segment in English into English text."
_IN_ANY = "Transcribe the following speech segment in its original language."
ASR_ENGLISH = f"{_IN_ENGLISH} {_FORMAT}"
ASR_ENGLISH_OLD = f"{_IN_ENGLISH}\n\n{_FORMAT}"
ASR_ANY_OLD = f"{_IN_ANY}\n\n{_FORMAT}"
# Wordings of the second prompt differ between Google's pages and the programs that follow them.
_ASR_VARIANTS: tuple[str, ...] = tuple(
    f"{request}{space}{_FORMAT}"
    for space in (" ", "\n\n")
    for request in (
        _IN_ENGLISH,
        _IN_ENGLISH,
        _IN_ANY,
        _IN_ANY[:-1] + " into its original language text.",
        _IN_ANY[:-1] + " into text in its original language.",
    )
)
TRANSLATION = (
    "Transcribe the following speech segment in {source}, then translate it into {target}.\n"
    "When formatting the answer, first output the transcription in {source}, then one newline, "
    "then output the string '{target}: ', then the translation in {target}."
)

TRANSCRIBE: tuple[str, ...] = (
    "Transcribe this audio.",
    "Transcribe the audio.",
    "Transcribe.",
    "What is said?",
    "What is being said?",
    "What did they say?",
    "What does the speaker say?",
    "Write down what you hear.",
    "Repeat what was said.",
)
COUNT: tuple[str, ...] = (
    "How many {noun} are spoken?",
    "How many {noun} do you hear?",
    "How many {noun} are there?",
    "How many {noun} were said?",
    "Count the {noun}.",
)
FIRST: tuple[str, ...] = (
    "What is the first {noun}?",
    "Which {noun} is spoken first?",
    "Which {noun} comes first?",
    "What was the first {noun} spoken?",
)
LAST: tuple[str, ...] = (
    "What is the last {noun}?",
    "Which {noun} is spoken last?",
    "Which {noun} comes last?",
    "What was the last {noun} spoken?",
)
SUM: tuple[str, ...] = (
    "What is the sum of the digits?",
    "What is the sum of the numbers?",
    "Add up the digits.",
    "What do the digits add up to?",
    "What is the total of the digits?",
)
SPOKEN: tuple[str, ...] = (
    "Is the {noun} {word} spoken?",
    'Is the {noun} "{word}" spoken?',
    "Does the speaker say {word}?",
    'Does the speaker say "{word}"?',
    "Do you hear the {noun} {word}?",
    "Is {word} spoken?",
)

#: The kinds of question, in the order in which accuracy is reported.
QUESTION_KINDS: tuple[str, ...] = ("count", "first", "last", "sum", "spoken")


@dataclass(frozen=True)
class Exchange:
    """One prompt about a recording and the answer expected: ``kind`` is ``transcribe`` or one of
    QUESTION_KINDS."""

    kind: str
    prompt: str
    answer: str


def transcription(sentence: Sentence, rng: np.random.Generator, formal: bool) -> Exchange:
    """The transcription of ``sentence``, asked for in Gemma's words (``formal``) or in a person's."""
    return Exchange("transcribe", str(rng.choice(_ASR_VARIANTS if formal else TRANSCRIBE)), sentence.text)


def question(sentence: Sentence, kind: str, rng: np.random.Generator) -> Exchange:
    """A question of ``kind`` about ``sentence``."""
    words, digits = sentence.words, sentence.kind == "digits"
    if kind == "count":
        noun = str(rng.choice(["digits", "digits", "numbers", "words"])) if digits else "words"
        answer = f"{sentence.text}: {len(words)} {noun}" if words else f"0 {noun}"
        return Exchange(kind, str(rng.choice(COUNT)).format(noun=noun), answer)
    noun = str(rng.choice(["digit", "digit", "number", "word"])) if digits else "word"
    if kind in ("first", "last"):
        wordings = FIRST if kind == "first" else LAST
        answer = (words[0] if kind == "first" else words[-1]) if words else "none"
        return Exchange(kind, str(rng.choice(wordings)).format(noun=noun), answer)
    if kind == "sum":
        return Exchange(kind, str(rng.choice(SUM)), _sum_in_steps([int(word) for word in words]))
    if kind == "spoken":
        absent = [word for word in (DIGITS if digits else WORDS) if word not in words]
        # A long string may leave out no digit at all.
        present = bool(words) and (not absent or rng.random() < 0.5)
        choices = words if present else absent
        word = choices[int(rng.integers(len(choices)))]
        prompt = str(rng.choice(SPOKEN)).format(noun=noun, word=word)
        verdict = "yes" if present else "no"
        # The word is said again before the verdict, which then hangs on finding that same word further up.
        return Exchange(kind, prompt, f"{sentence.text}: {word} {verdict}" if words else verdict)
    raise ValueError(f"unknown kind of question {kind!r}")


def random_question(sentence: Sentence, rng: np.random.Generator, sums: bool = True) -> Exchange:
    """A question of a random kind that makes sense for ``sentence``; sums only of digits, and if ``sums``."""
    if sums and sentence.kind == "digits" and rng.random() < 0.4:
        return question(sentence, "sum", rng)
    kind = str(rng.choice(["count", "first", "last", "spoken"], p=[0.2, 0.15, 0.2, 0.45]))
    return question(sentence, kind, rng)


def exercise(kind: str, rng: np.random.Generator) -> Exchange:
    """A question of ``kind`` whose answer starts with a transcript and a colon, about a sentence nobody has
    spoken; some of the sums are counts."""
    if kind == "sum" or rng.random() < 0.5:
        sentence = Sentence(" ".join(random_digits(rng, 2, 8)), "digits")
    else:
        sentence = Sentence(random_command(rng), "command")
    return question(sentence, "count" if kind == "sum" and rng.random() < 0.1 else kind, rng)


def is_right(exchange: Exchange, answer: str) -> bool:
    """Whether ``answer`` says what ``exchange`` expects; worked-out answers are judged by their result
    alone."""
    if exchange.kind in ("count", "sum"):
        expected, given = re.findall(r"\d+", exchange.answer), re.findall(r"\d+", answer)
        return bool(given) and given[-1] == expected[-1]
    if exchange.kind == "spoken":
        return answer.split()[-1:] == exchange.answer.split()[-1:]
    return answer.strip() == exchange.answer


def _sum_in_steps(numbers: list[int]) -> str:
    """``[3, 7, 2]`` → ``"3 7 2: 3 + 7 = 10, 10 + 2 = 12"``; a single number is its own sum, ``"3: 3"``."""
    steps, total = [], numbers[0]
    for number in numbers[1:]:
        steps.append(f"{total} + {number} = {total + number}")
        total += number
    return " ".join(map(str, numbers)) + ": " + (", ".join(steps) if steps else str(total))
