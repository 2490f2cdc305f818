"""What can be chosen about a run, in groups. The command line makes its options of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gemma_audio_cli.audio.read.source import SourceOptions
from gemma_audio_cli.audio.segment.segmenter import SegmentationOptions
from gemma_audio_cli.audio.segment.windows import WindowOptions
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.context import listed
from gemma_audio_cli.decoding.options import FORCED_ALIGNER, DecodeOptions
from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.glossary import terms_of
from gemma_audio_cli.languages import language_name
from gemma_audio_cli.speakers.limits import MOST_SPEAKERS
from gemma_audio_cli.transcript import Segment, words_of

S = TypeVar("S", bound=Segment)
MOST_RECALL = 3600.0
"""Seconds of sound in one prompt: 90,000 tokens."""


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where it runs, and in which order it is prompted."""

    model: str | None = None
    """An alias, OWNER/REPOSITORY[:TYPE], a GGUF file or a folder; None: the best that is here."""
    mmproj: str | None = None
    """The audio projector; None: found beside the model."""
    backend: str | None = None
    """auto, cpu or another backend's name; None: the best that is built."""
    device: str | None = None
    """A device's name in ggml; None: the backend's first."""
    threads: int | None = None
    """CPU threads; None: one per physical core."""
    gpu_layers: str | None = None
    """Layers of the text model on the device; None: all that fit."""
    audio_first: bool = False
    """Prompts give the clips before the instruction, not behind it."""


@dataclass(frozen=True)
class InstructionOptions:
    """What to do with a clip."""

    language: str | None = None
    """The language spoken, as a name or an ISO code; None: the model finds it."""
    translate_to: str | None = None
    """Also translate to this language."""
    context: str | None = None
    """Names and terms that may occur: a line each, or with commas between them."""
    replacement: str | None = None
    """Your own instruction in place of the usual one."""

    def __post_init__(self) -> None:
        if self.replacement is not None and not self.replacement.strip():
            raise UsageError("your own instruction (--prompt, --ask) is empty")
        if self.replacement and (self.language or self.translate_to):
            given = "--language" if self.language else "--translate-to"
            raise UsageError(
                f"your own instruction replaces the one that {given} changes; leave one of them out"
            )

    def text(self, terms: Sequence[str] | None = None) -> str:
        """The instruction. `terms`: those of the context that it lists; None: all of it."""
        context = self.context
        if context is not None and (terms is not None or "\n" in context):
            context = listed(terms if terms is not None else terms_of(context))
        return prompt.instruction(
            self.language,
            translate_to=self.translate_to,
            context=context,
            replacement=self.replacement,
        )

    def parts(self, segment: S) -> S:
        """A segment with its text and its translation apart."""
        if self.translate_to is None:
            return segment
        text, translation = prompt.split_translation(segment.text, self.translate_to)
        return replace(
            segment,
            text=text,
            translation=translation,
            words=words_of(segment.words, text),
            written=words_of(segment.written, text),
        )

    @property
    def language_name(self) -> str | None:
        """The language in the instruction, by name; None: it names none."""
        return language_name(self.language) if self.language else None


def check_aligner(aligner: str, instruction: InstructionOptions) -> None:
    """Raises UsageError where it cannot hear the language."""
    if aligner == FORCED_ALIGNER and instruction.language_name not in (None, "English"):
        raise UsageError(
            f"--aligner {aligner} hears English only, not {instruction.language_name}; leave it out"
        )


@dataclass(frozen=True)
class CutOptions:
    """How a recording becomes windows."""

    vad: bool = True
    """Find speech first; silence is left out."""
    window: float | None = None
    """Seconds of the longest window; None: what the model hears well."""
    min_pause: float = 0.12
    """Shortest pause between words, in seconds."""
    threshold: float | None = None
    """The probability from which on sound is speech; None: 0.5."""

    def windows(self, longest: float) -> WindowOptions:
        """For a model that hears windows of `longest` seconds well. Raises UsageError."""
        seconds = self.window or longest
        try:
            return WindowOptions(max_seconds=seconds, search_seconds=min(8.0, seconds / 2))
        except ValueError as error:
            raise UsageError(f"--window: {error}") from None

    def segmentation(self, longest: float) -> SegmentationOptions | None:
        """How speech is cut; None: everything is covered. Raises UsageError."""
        if not self.vad:
            return None
        try:
            cut = SegmentationOptions(max_seconds=self.window or longest, min_pause=self.min_pause)
        except ValueError as error:
            raise UsageError(f"--window, --min-pause: {error}") from None
        return with_threshold(cut, self.threshold)


def with_threshold(cut: SegmentationOptions, threshold: float | None) -> SegmentationOptions:
    """The cut with this probability of speech; speech that has begun goes on a little below it."""
    if threshold is None:
        return cut
    return replace(cut, onset=threshold, offset=max(0.01, threshold - 0.15))


@dataclass(frozen=True)
class SpeakerOptions:
    """Who speaks is found out, on the sound itself."""

    count: int | None = None
    """Exactly so many speakers; None: as many as there seem to be."""
    most: int = MOST_SPEAKERS
    """No more than that."""
    names: tuple[str, ...] = ()
    """What to call them, in order of appearance; the others are Speaker 1, 2 and so on."""
    enrolled: tuple[str, ...] = ()
    """Recordings of one person each, who is called as the file is, or by what stands before a `=`."""
    folder: str | None = None
    """Where the networks lie; None: where `models pull speakers` puts them."""

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= 100:
            raise UsageError(f"--speakers must be auto or a number from 1 to 100, not {self.count}")
        if not 1 <= self.most <= 100:
            raise UsageError(f"--max-speakers must be from 1 to 100, not {self.most}")
        if not all(name.strip() for name in self.names):
            raise UsageError("--speaker-names: a name is empty")


@dataclass(frozen=True)
class TranscribeOptions:
    """What is the same for all recordings of a run."""

    instruction: InstructionOptions = field(default_factory=InstructionOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    cut: CutOptions = field(default_factory=CutOptions)
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    """How answers are decoded. The longest window is that of `cut`."""
    all_tracks: bool = False
    """Each audio track apart, its number in place of a channel's."""
    stream: bool = False
    """Tell text as it is decoded: somebody watches."""
    speakers: SpeakerOptions | None = None
    """Find out who speaks; None: not wanted."""
    own: Mapping[str, InstructionOptions] = field(default_factory=dict)
    """What to do with some recordings, by the name they are given with, in place of `instruction`."""

    @property
    def at_end(self) -> bool:
        """Segments are told when the recording is at its end."""
        return self.source.split_channels or self.all_tracks or self.speakers is not None

    def __post_init__(self) -> None:
        for instruction in (self.instruction, *self.own.values()):
            check_aligner(self.decode.aligner, instruction)
        if self.source.split_channels and not self.cut.vad:
            raise UsageError("--split-channels needs speech detection; leave out --no-vad")
        source = self.source
        if self.all_tracks and (source.track is not None or source.split_channels or source.raw is not None):
            raise UsageError("--all-tracks does not go with --track, --split-channels or --raw")


@dataclass(frozen=True)
class PassesOptions:
    """How long recordings are asked: whole, or stretch by stretch."""

    wanted: bool | None = None
    """Answer in passes; None: where the recordings are longer than what a model recalls."""
    recall_seconds: float | None = None
    """How much sound a model recalls; None: what is known of it."""
    evidence: bool = False
    """The notes that an answer stands on are wanted: there are some in passes only."""
    cache: bool = True
    """Keep on disk what was heard in passes, for the next question."""
    cache_bytes: int = 2_000_000_000
    """At most so much of it."""

    def __post_init__(self) -> None:
        if self.recall_seconds is not None and not 1 <= self.recall_seconds <= MOST_RECALL:
            raise UsageError(f"--recall-seconds must be from 1 to {MOST_RECALL:.0f}")
        if self.evidence and self.wanted is False:
            raise UsageError("--evidence lists what was noted in passes; leave out --whole")


Timed = Callable[[Sequence[float]], Shape | None]
"""The starts of stretches (seconds) to the shape of an answer with these times in it."""


@dataclass(frozen=True)
class AskOptions:
    """What is the same for all recordings that are asked about."""

    source: SourceOptions = field(default_factory=SourceOptions)
    cut: CutOptions = field(default_factory=CutOptions)
    """`vad`: nothing is answered where nobody speaks; without, where there is no sound."""
    together: bool = False
    """All recordings in one prompt, each named in it. Else one after the other."""
    passes: PassesOptions = field(default_factory=PassesOptions)
    """How recordings are asked that are longer than what a model recalls."""
    speakers: SpeakerOptions | None = None
    """Notes say who speaks, which takes passes; None: not wanted."""
    timed: Timed | None = None
    """The shape of an answer with times in it, given the starts of the stretches that the model is told of
    (seconds); None: the shape of `decode`."""
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    """How answers are decoded."""

    def __post_init__(self) -> None:
        if self.speakers is not None and self.passes.wanted is False:
            raise UsageError("--speakers tells who speaks in each stretch; leave out --whole")
