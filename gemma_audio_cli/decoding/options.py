"""How answers are decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gemma_audio_cli.decoding.guards import GuardOptions
from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.engine.structs import SamplerOptions
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.sound import MAX_CLIP_SECONDS

DEFAULT_SLOTS = 4
"""Decoding four windows takes little longer than one: a step reads the same weights."""
AUTO_SLOTS = 0
"""As many as gain on this machine: `pipeline.slots` finds out, when the model is open."""


MODEL_ALIGNER, FORCED_ALIGNER = "model", "pocketsphinx"
ALIGNERS = (MODEL_ALIGNER, FORCED_ALIGNER)


@dataclass(frozen=True)
class DecodeOptions:
    """How answers are decoded."""

    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    """Greedy by default: what transcription wants."""
    tokens_per_second: float = 12.0
    """Budget of a transcript; quick speech needs about five tokens a second."""
    min_tokens: int = 32
    """Every transcript may be that long, however short the window."""
    max_tokens: int = 512
    """Budget of an answer to a question."""
    slots: int = DEFAULT_SLOTS
    """Windows decoded at once; AUTO_SLOTS: a pipeline measures how many gain."""
    max_seconds: float = MAX_CLIP_SECONDS
    """Longest window that will be given."""
    guards: GuardOptions = field(default_factory=GuardOptions)
    """When a transcript is bad, and what to try then."""
    shape: Shape | None = None
    """What an answer to a question must look like."""
    word_times: bool = False
    """Segments have their words, with times."""
    aligner: str = MODEL_ALIGNER
    """What finds word times: the model itself, or `pocketsphinx`."""
    audio_first: bool = False
    """The clips stand before the instruction in the prompt, not behind it."""
    ignore_end: bool = False
    """Write the whole budget, past the end token, as benchmarks do: all engines then do the same work."""

    def __post_init__(self) -> None:
        if self.aligner not in ALIGNERS:
            raise UsageError(f"--aligner must be {' or '.join(ALIGNERS)}, not {self.aligner!r}")

    def budget(self, seconds: float) -> int:
        """Tokens a transcript of so many seconds may have."""
        return self.min_tokens + math.ceil(self.tokens_per_second * seconds)
