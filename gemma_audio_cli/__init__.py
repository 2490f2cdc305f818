"""Speech to text and questions about recordings, on this machine, with Gemma 4 audio models.

    from gemma_audio_cli import Engine, ask, transcribe

    for segment in transcribe("talk.wav"):
        print(segment.start, segment.text)

    with Engine.open("gemma-4-E2B-it-Q4_0.gguf") as engine:
        print(ask("Who is speaking?", "talk.wav", engine=engine).text)

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from gemma_audio_cli.version import __version__

TYPE_CHECKING = False  # as checkers know it; importing typing takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from gemma_audio_cli.api import (
        Engine,
        aask,
        alisten,
        ask,
        atranscribe,
        listen,
        run_recipe,
        transcribe,
        transcribe_many,
    )
    from gemma_audio_cli.audio.read.source import SourceOptions
    from gemma_audio_cli.audio.segment.windows import Window
    from gemma_audio_cli.decoding.options import DecodeOptions
    from gemma_audio_cli.decoding.transcriber import Transcriber
    from gemma_audio_cli.engine.structs import (
        EngineInfo,
        EngineOptions,
        SamplerOptions,
        SessionOptions,
        Timings,
    )
    from gemma_audio_cli.errors import (
        AudioError,
        EngineError,
        GemmaAudioError,
        InputError,
        ModelError,
        UsageError,
    )
    from gemma_audio_cli.pipeline.events import (
        AnswerDone,
        RecordingDone,
        RecordingStarted,
        SegmentDone,
        TextDelta,
    )
    from gemma_audio_cli.pipeline.live import LiveOptions
    from gemma_audio_cli.pipeline.options import (
        AskOptions,
        CutOptions,
        InstructionOptions,
        ModelOptions,
        PassesOptions,
        SpeakerOptions,
        TranscribeOptions,
    )
    from gemma_audio_cli.transcript import (
        Answer,
        Evidence,
        Final,
        Partial,
        Recording,
        Segment,
        Transcript,
        Word,
        Written,
    )

_PLACES = {
    "api": (
        "Engine",
        "aask",
        "alisten",
        "ask",
        "atranscribe",
        "listen",
        "run_recipe",
        "transcribe",
        "transcribe_many",
    ),
    "audio.read.source": ("SourceOptions",),
    "audio.segment.windows": ("Window",),
    "decoding.options": ("DecodeOptions",),
    "decoding.transcriber": ("Transcriber",),
    "engine.structs": ("EngineInfo", "EngineOptions", "SamplerOptions", "SessionOptions", "Timings"),
    "errors": ("AudioError", "EngineError", "GemmaAudioError", "InputError", "ModelError", "UsageError"),
    "pipeline.events": ("AnswerDone", "RecordingDone", "RecordingStarted", "SegmentDone", "TextDelta"),
    "pipeline.live": ("LiveOptions",),
    "pipeline.options": (
        "AskOptions",
        "CutOptions",
        "InstructionOptions",
        "ModelOptions",
        "PassesOptions",
        "SpeakerOptions",
        "TranscribeOptions",
    ),
    "transcript": (
        "Answer",
        "Evidence",
        "Final",
        "Partial",
        "Recording",
        "Segment",
        "Transcript",
        "Word",
        "Written",
    ),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Answer",
    "AnswerDone",
    "AskOptions",
    "AudioError",
    "CutOptions",
    "DecodeOptions",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineOptions",
    "Evidence",
    "Final",
    "GemmaAudioError",
    "InputError",
    "InstructionOptions",
    "LiveOptions",
    "ModelError",
    "ModelOptions",
    "Partial",
    "PassesOptions",
    "Recording",
    "RecordingDone",
    "RecordingStarted",
    "SamplerOptions",
    "Segment",
    "SegmentDone",
    "SessionOptions",
    "SourceOptions",
    "SpeakerOptions",
    "TextDelta",
    "Timings",
    "TranscribeOptions",
    "Transcriber",
    "Transcript",
    "UsageError",
    "Window",
    "Word",
    "Written",
    "__version__",
    "aask",
    "alisten",
    "ask",
    "atranscribe",
    "listen",
    "run_recipe",
    "transcribe",
    "transcribe_many",
]


def __getattr__(name: str) -> Any:
    place = _MODULES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{place}"), name)


def __dir__() -> list[str]:
    return __all__
