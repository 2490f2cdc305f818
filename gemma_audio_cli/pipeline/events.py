"""What happens while recordings are worked on, in order, one recording after the other.

RecordingStarted  (TextDelta ... SegmentDone) ...  RecordingDone       transcribe
RecordingStarted  (TextDelta ... StretchHeard) ...  SegmentDone ...  RecordingDone    transcribe, see below
RecordingStarted  StretchHeard ...  (TextDelta ... AnswerDone) ...  RecordingDone        ask
RecordingStarted  ListeningStarted  (Partial ... Final) ...  RecordingDone        live
"""

from __future__ import annotations

from dataclasses import dataclass

from gemma_audio_cli.errors import InputError
from gemma_audio_cli.transcript import Answer, Final, Partial, Recording, Segment, Waveform


@dataclass(frozen=True)
class RecordingStarted:
    """The results of this recording come next."""

    recording: Recording


@dataclass(frozen=True)
class ListeningStarted:
    """The model is there: what is said from now on is understood while it is spoken."""

    recording: Recording


@dataclass(frozen=True)
class TextDelta:
    """More text of the window or answer that is being decoded: for who watches it grow.

    A window that is tried again has shown its first try; the text that counts is the segment's.
    """

    recording: Recording
    text: str


@dataclass(frozen=True)
class SegmentDone:
    """A window is decoded. Its text may be empty."""

    recording: Recording
    segment: Segment


@dataclass(frozen=True)
class StretchHeard:
    """A stretch of a recording was heard, and what it says comes later: in an answer, or in segments that are
    told at the recording's end (of channels in order of time, of speakers).
    """

    recording: Recording
    seconds: float
    """Its end, from the start of that one; of several, from the start of the first."""
    duration: float | None
    """Seconds of all of them, by their headers' word; None: nobody knows."""


@dataclass(frozen=True)
class AnswerDone:
    """A question is answered."""

    recording: Recording
    answer: Answer
    question: str = ""


@dataclass(frozen=True)
class RecordingDone:
    """All of a recording is done, or as much as could be."""

    recording: Recording
    duration: float
    """Seconds that were read."""
    error: InputError | None = None
    """What ended it before its end; what came before it counts."""
    interrupted: bool = False
    """`stop` ended it before its end."""
    heard: bool = True
    """False: nowhere in it was anything said."""
    waveform: Waveform | None = None
    """How loud it is, as far as it was read; None: nobody looked."""


TranscribeEvent = RecordingStarted | TextDelta | StretchHeard | SegmentDone | RecordingDone
AskEvent = RecordingStarted | StretchHeard | TextDelta | AnswerDone | RecordingDone
LiveEvent = RecordingStarted | ListeningStarted | Partial | Final | RecordingDone
