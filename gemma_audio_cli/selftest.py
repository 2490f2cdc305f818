"""One second of sound through everything: the demo model hears the start of the bundled recording.

    python -m gemma_audio_cli.selftest [BACKEND]     ──► one JSON object on stdout

A program of its own: a backend that ends its process must not end the one that asks.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

SECONDS = 1.0


def run(backend: str | None) -> dict[str, object]:
    """What was heard, on which device, and how long each stage took."""
    from itertools import islice

    from gemma_audio_cli.audio.read.samples import samples
    from gemma_audio_cli.audio.segment.windows import WindowOptions, windows
    from gemma_audio_cli.decoding.options import DecodeOptions
    from gemma_audio_cli.decoding.transcriber import Transcriber
    from gemma_audio_cli.engine._native import cpu_products
    from gemma_audio_cli.engine.structs import EngineOptions
    from gemma_audio_cli.errors import ModelNotFoundError
    from gemma_audio_cli.models.resolve import demo_sample, resolve
    from gemma_audio_cli.pipeline.engines import EngineFactory

    began = time.perf_counter()
    sample, notices = demo_sample(), list[str]()
    if sample is None:
        raise ModelNotFoundError("the bundled recording is missing; install the package again")
    pair = resolve("demo")
    opener = EngineFactory(pair.text, pair.mmproj, EngineOptions(), notices.append)
    transcriber = Transcriber(
        opener.open(backend),
        DecodeOptions(slots=1, max_seconds=SECONDS),
        notice=notices.append,
        fall_back=opener.fall_back,
    )
    cut = WindowOptions(max_seconds=SECONDS, search_seconds=SECONDS / 2)
    first = list(islice(windows(samples(str(sample), notices.append), cut), 1))
    text = " ".join(segment.text for segment in transcriber.transcribe(first))
    engine = transcriber.engine
    return {
        "ok": bool(text),
        "text": text,
        "device": engine.info.device,
        "buffers": engine.info.buffers,
        "products": cpu_products(),
        "notices": notices,
        "seconds": time.perf_counter() - began,
        "timings": asdict(engine.timings()),
    }


def main(arguments: list[str]) -> int:
    """Print the result; an error is one too."""
    from gemma_audio_cli.errors import GemmaAudioError

    try:
        result = run(arguments[0] if arguments else None)
    except GemmaAudioError as error:
        result = {"ok": False, "error": str(error)}
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
