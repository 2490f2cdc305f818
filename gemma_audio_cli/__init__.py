"""Speech to text and questions about recordings, on this machine, with Gemma 4 audio models.

    from gemma_audio_cli import Engine, ask, transcribe

    for segment in transcribe("talk.wav"):
        print(segment.start, segment.text)

    with Engine.open("gemma-4-E2B-it-Q4_0.gguf") as engine:
        print(ask("Who is speaking?", "talk.wav", engine=engine).text)

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as checkers know it; importing typing takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from gemma_audio_cli.api import ask, transcribe
    from gemma_audio_cli.audio.windows import Window, WindowOptions
    from gemma_audio_cli.engine.data import EngineInfo, EngineOptions, SamplerOptions, SessionOptions, Timings
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.transcriber import Answer, DecodeOptions, Segment, Transcriber
    from gemma_audio_cli.errors import (
        AudioError,
        EngineError,
        GemmaAudioError,
        InputError,
        ModelError,
        UsageError,
    )

__version__ = "0.1.0"

_PLACES = {
    "ask": "api",
    "transcribe": "api",
    "Window": "audio.windows",
    "WindowOptions": "audio.windows",
    "EngineInfo": "engine.data",
    "EngineOptions": "engine.data",
    "SamplerOptions": "engine.data",
    "SessionOptions": "engine.data",
    "Timings": "engine.data",
    "Engine": "engine.engine",
    "Answer": "engine.transcriber",
    "DecodeOptions": "engine.transcriber",
    "Segment": "engine.transcriber",
    "Transcriber": "engine.transcriber",
    "AudioError": "errors",
    "EngineError": "errors",
    "GemmaAudioError": "errors",
    "InputError": "errors",
    "ModelError": "errors",
    "UsageError": "errors",
}

__all__ = [
    "Answer",
    "AudioError",
    "DecodeOptions",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineOptions",
    "GemmaAudioError",
    "InputError",
    "ModelError",
    "SamplerOptions",
    "Segment",
    "SessionOptions",
    "Timings",
    "Transcriber",
    "UsageError",
    "Window",
    "WindowOptions",
    "__version__",
    "ask",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{place}"), name)


def __dir__() -> list[str]:
    return __all__
