"""What the program finds out about a recording: the one vocabulary of results.

Decoding makes these, pipelines hand them on, writers and the Python surface show them.

    Segment    what was said in one stretch        Answer      what the model says to a question
    Word       one word of it, with its times         Written    one word of it, without
    Partial    an utterance that is not over       Recording   what is known before anything is decoded
    Final      an utterance that is over           Transcript  all of a recording, when it is done
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

FLAG_REPETITION = "repetition"
"""The answer ran into a loop, which was cut off."""
FLAG_TRUNCATED = "truncated"
"""The token budget ended the answer."""
FLAG_UNLIKELY = "unlikely"
"""The model itself gives its words a low probability."""
FLAG_THINKING = "thinking"
"""The model went on thinking and never came to an answer."""
FLAG_MISFIT = "misfit"
"""An answer does not have the shape that was asked for."""
FLAG_CONTEXT_ECHO = "context_echo"
"""Nothing but terms of the context, which the model would not write without it."""
FLAG_SPLIT = "split"
"""The text is that of the window's halves."""
FLAG_OVERLAP = "overlap"
"""Somebody else speaks at the same time."""
FLAG_NO_SPEECH = "no_speech"
"""The window was not given to the model, or the model wrote nothing."""
FLAG_UNRELIABLE = "unreliable"
"""In results as written: no try at this window went well."""

TIMES_FOUND = "attention"
"""Source of a word's times: where the model looked when it wrote it."""
TIMES_FORCED = "pocketsphinx"
"""Source of a word's times: forced alignment by another model (`--aligner pocketsphinx`)."""
TIMES_ESTIMATED = "estimated"
"""Source of a word's times: its place in the text; nothing better was found."""

TROUBLE = frozenset(
    (FLAG_REPETITION, FLAG_TRUNCATED, FLAG_UNLIKELY, FLAG_THINKING, FLAG_MISFIT, FLAG_CONTEXT_ECHO)
)
"""Flags that call for another try."""


@dataclass(frozen=True)
class Word:
    """One word, as it was written, and when it was said."""

    text: str
    start: float
    """Seconds from the start of the recording."""
    end: float
    probability: float
    """Of its tokens, by the model's own word: their geometric mean."""
    source: str = TIMES_FOUND
    """Where its times come from: `attention`, `pocketsphinx`, or `estimated`."""
    speaker: str | None = None
    """Who says it, where speakers were looked for and somebody was found."""


@dataclass(frozen=True)
class Written:
    """One word, as it was written, whether or not its times are known."""

    text: str
    probability: float
    """As a Word's."""


W = TypeVar("W", Word, Written)


def words_of(words: Sequence[W], text: str) -> tuple[W, ...]:
    """The words, from the first on, that the text begins with."""
    rest, found = "".join(text.split()), list[W]()
    for word in words:
        if not rest.startswith(word.text):
            break
        rest = rest[len(word.text) :]
        found.append(word)
    return tuple(found)


@dataclass(frozen=True)
class Segment:
    """What was said in one stretch of a recording."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    text: str
    tokens: int = 0
    """Tokens the model wrote, its thoughts included."""
    logprob: float | None = None
    """Mean log-probability of those tokens; None where it is not known."""
    flags: tuple[str, ...] = ()
    """What is odd about it, sorted; empty where all is well."""
    channel: int | None = None
    """The channel it was heard on, from 1, where channels are transcribed one by one."""
    translation: str | None = None
    """The text in the other language that was asked for."""
    words: tuple[Word, ...] = ()
    """Its words, where their times were asked for."""
    written: tuple[Written, ...] = ()
    """Its words, and how sure the model is of each."""
    speaker: str | None = None
    """Who says it, where speakers were looked for and somebody was found."""

    @property
    def complete(self) -> bool:
        """False: the budget ended the answer, not the model."""
        return not {FLAG_TRUNCATED, FLAG_THINKING}.intersection(self.flags)

    @property
    def reliable(self) -> bool:
        """False: no try at this window went well; the text is the best of them."""
        return not TROUBLE.intersection(self.flags) and FLAG_UNRELIABLE not in self.flags

    @property
    def empty(self) -> bool:
        """Nothing was said, and nothing is odd about that: results leave it out."""
        return not self.text and self.reliable


@dataclass(frozen=True)
class Partial:
    """What has been said so far of an utterance that is not over."""

    start: float
    """Seconds from the start of the stream."""
    end: float
    text: str
    stable: int
    """The first so many characters were the same in the partial text before."""
    delay: float
    """Seconds from the arrival of its last sound."""


@dataclass(frozen=True)
class Final(Segment):
    """An utterance that is over."""

    delay: float = 0.0
    """Seconds from the arrival of its last sound."""
    work: float = 0.0
    """Seconds it took once the end was known."""


@dataclass(frozen=True)
class Evidence:
    """What the model wrote on one stretch of a recording when it was asked what bears on a question."""

    start: float
    """Seconds from the start of the recording."""
    end: float
    text: str
    file: str = ""
    """The recording, where several are asked about together."""
    logprob: float | None = None
    """Mean log-probability of its tokens."""
    flags: tuple[str, ...] = ()
    """As a segment's."""
    speakers: tuple[str, ...] = ()
    """Who speaks in it, in order, where speakers were looked for."""


@dataclass(frozen=True)
class Answer:
    """What the model says to a question."""

    text: str
    tokens: int
    logprob: float | None
    complete: bool
    """False: the budget ended the answer, not the model."""
    flags: tuple[str, ...] = ()
    """As a segment's."""
    probabilities: tuple[tuple[str, float], ...] = ()
    """Where one of several choices was asked for: each of them, the likeliest first."""
    evidence: tuple[Evidence, ...] = ()
    """Where a recording was asked in passes: the notes that the answer stands on, in order of time."""
    parts: int = 0
    """Stretches that were asked; 0: the recording was heard whole."""

    @property
    def fits(self) -> bool:
        """It is whole and has the shape that was asked for, if any."""
        return self.complete and FLAG_MISFIT not in self.flags


@dataclass(frozen=True)
class Recording:
    """What is known of a recording before anything of it is decoded."""

    file: str
    """Its name, as it was given."""
    language: str | None = None
    """The language in the instruction; None: the model finds it."""
    model: str | None = None
    split_channels: bool = False
    """Each channel is transcribed on its own, and what is written says which one it was."""
    labels: dict[int, str] | None = None
    """What to call each of them, where they are not channels but tracks."""
    speakers: bool = False
    """Speakers are looked for, and what is written says who it was."""

    @property
    def labelled(self) -> bool:
        """What is written says who it was, or which channel."""
        return self.split_channels or self.speakers


@dataclass(frozen=True)
class Waveform:
    """How loud a recording is from moment to moment."""

    start: float
    """Seconds from the recording's start to the first peak."""
    step: float
    """Seconds that a peak stands for."""
    peaks: tuple[int, ...]
    """From 0, silence, to 255, the loudest moment of the recording."""


@dataclass(frozen=True)
class Transcript:
    """All that is known of a recording when it is done."""

    file: str
    duration: float | None = None
    """Seconds; None where it is not known."""
    language: str | None = None
    model: str | None = None
    segments: tuple[Segment, ...] = ()
    error: str | None = None
    """What ended it before its end."""

    @property
    def text(self) -> str:
        """All that was said, on one line."""
        return " ".join(segment.text for segment in self.segments if segment.text)


def source_label(recording: Recording, segment: Segment) -> str:
    """What stands before a segment's text: who says it, or the channel, which may be one person, or a room
    full of them.
    """
    if recording.split_channels and segment.channel is not None:
        return f"{(recording.labels or {}).get(segment.channel, f'Channel {segment.channel}')}: "
    return f"{segment.speaker}: " if segment.speaker else ""
