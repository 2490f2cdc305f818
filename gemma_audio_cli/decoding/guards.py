"""What tells a good transcript from one that went wrong, and what to try next.

Models that transcribe have known ways to fail: they repeat themselves without end, they write on past what
was said, they answer silence with words. A window's answer is watched while it is written; one that fails is
tried again.

    (thinking, not answering: greedy without thoughts)
    greedy ──► warmer ──► warmer still ──► the window in two halves ──► the best try, marked
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_audio_cli.transcript import (
    FLAG_REPETITION,
    FLAG_THINKING,
    FLAG_TRUNCATED,
    FLAG_UNLIKELY,
    TROUBLE,
    Word,
    Written,
    words_of,
)

if TYPE_CHECKING:
    from gemma_audio_cli.decoding.sequence import Reply


@dataclass(frozen=True)
class GuardOptions:
    """Bounds; `attempts` are the temperatures of the tries, one after the other."""

    attempts: tuple[float, ...] = (0.0, 0.4, 0.8)
    split: bool = True
    """When no try is good, try the two halves of the window."""
    min_split_seconds: float = 2.0
    """A window shorter than this is not split."""
    min_logprob: float = -1.5
    """Mean log-probability below which a transcript is unlikely."""
    repeated_tokens: int = 24
    """Tokens at the end that are one phrase over and over, before it counts as a loop."""
    min_repeats: int = 4
    """Times a phrase has to come, at least."""
    max_phrase: int = 24
    """Tokens of the longest phrase looked for."""
    quick_tokens: float = 4.0
    """Tokens a second that quick speech has. In an answer with more of them a phrase that comes again and
    again is the less likely to have been said, and counts as a loop with fewer tokens in proportion."""

    @property
    def tries_again(self) -> bool:
        """Is there anything to try after the first answer?"""
        return self.split or len(self.attempts) > 1


def is_looping(tokens: Sequence[int], options: GuardOptions) -> bool:
    """Do the last tokens repeat one phrase? Speech repeats itself a few times; loops do not end.

    True where some phrase of L <= max_phrase tokens ends the answer r times in a row with r >= min_repeats
    and L * r >= repeated_tokens.
    """
    n = len(tokens)
    for phrase in range(1, min(options.max_phrase, n // options.min_repeats) + 1):
        repeats = max(options.min_repeats, -(-options.repeated_tokens // phrase))
        span = phrase * repeats
        if span <= n and all(tokens[i] == tokens[i - phrase] for i in range(n - span + phrase, n)):
            return True
    return False


def repeats(tokens: Sequence[int], seconds: float, options: GuardOptions) -> bool:
    """Does a whole answer, to so many seconds of sound, hold one phrase over and over that nobody said?

    People repeat themselves, and they take their time for it: `repeated_tokens` are right for up to
    `quick_tokens` a second. What comes twice as fast is a loop at half the length. Unlike an answer that is
    being written, one that has ended may have left its loop behind: every place of it is looked at.
    """
    rate = len(tokens) / max(seconds, 0.1)
    least = options.repeated_tokens / max(1.0, rate / options.quick_tokens)
    for phrase in range(1, min(options.max_phrase, len(tokens) // options.min_repeats) + 1):
        same = 0
        for i in range(phrase, len(tokens)):
            same = same + 1 if tokens[i] == tokens[i - phrase] else 0
            if same and same + phrase >= max(options.min_repeats * phrase, least):
                return True
    return False


def still_repeats(tokens: Sequence[int], options: GuardOptions) -> bool:
    """Is an answer to sound that has led into a loop before no better? A warmer try seldom repeats itself
    word for word, but goes on copying: half of `repeated_tokens` in copies of its own are too many then.
    """
    return _copied(tokens) >= options.repeated_tokens / 2


def _copied(tokens: Sequence[int]) -> int:
    """Tokens in pieces of three and more that were there before, each as long as can be (as in LZ77)."""
    places: dict[tuple[int, ...], list[int]] = {}
    copied, i, known = 0, 0, 0
    while i < len(tokens):
        longest = 0
        for place in places.get(tuple(tokens[i : i + 3]), ()):
            length = 3
            while i + length < len(tokens) and tokens[place + length] == tokens[i + length]:
                length += 1
            longest = max(longest, length)
        copied += longest
        i += max(1, longest)
        for place in range(known, min(i, len(tokens) - 2)):
            places.setdefault(tuple(tokens[place : place + 3]), []).append(place)
        known = i
    return copied


def without_loop(tokens: Sequence[int], options: GuardOptions) -> int:
    """How many leading tokens to keep of an answer that ends in a loop: up to the phrase's first end."""
    n = len(tokens)
    for phrase in range(1, min(options.max_phrase, n // options.min_repeats) + 1):
        start = n
        while start > phrase and tokens[start - 1] == tokens[start - 1 - phrase]:
            start -= 1
        repeated = n - start + phrase
        if repeated >= max(options.min_repeats * phrase, options.repeated_tokens):
            return start
    return n


@dataclass(frozen=True)
class Attempt:
    """One try at a window."""

    text: str
    logprobs: tuple[float, ...]
    flags: frozenset[str]
    words: tuple[Word, ...] = ()
    """With their times, where those are wanted."""
    written: tuple[Written, ...] = ()
    """The same words, or those that would be, without times."""

    @property
    def mean_logprob(self) -> float | None:
        """Over all tokens written; None where there are none."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None

    @property
    def thinking(self) -> bool:
        """It was spent on a thought: the next try must not open one."""
        return FLAG_THINKING in self.flags

    @property
    def good(self) -> bool:
        """Nothing calls for another try."""
        return not self.flags & TROUBLE


def judged(reply: Reply, options: GuardOptions) -> Attempt:
    """The try at a window that gave this reply, with what is odd about it."""
    flags = set()
    if reply.thinking:
        flags.add(FLAG_THINKING)
    elif reply.looping:
        flags.add(FLAG_REPETITION)
    elif reply.truncated:
        flags.add(FLAG_TRUNCATED)
    if reply.logprob is not None and reply.logprob < options.min_logprob:
        flags.add(FLAG_UNLIKELY)
    words = [Written(word.text, word.probability) for word in reply.spoken]
    return Attempt(reply.text, reply.logprobs, frozenset(flags), written=words_of(words, reply.text))


def better(a: Attempt, b: Attempt) -> Attempt:
    """The one to keep when neither is good: fewer troubles, then the likelier; the earlier of equals."""
    return max(a, b, key=lambda t: (-len(t.flags & TROUBLE), t.mean_logprob if t.logprobs else -99.0))
