#!/usr/bin/env python3
"""One engine, one process, one measurement: prints a line of JSON with seconds by stage, and what was at
work: the ggml, and our own products.

    python scripts/bench/contestant.py ours clip TEXT.gguf MMPROJ.gguf --threads 2
    python scripts/bench/contestant.py llamacpp recording TEXT.gguf MMPROJ.gguf --minutes 10
    python scripts/bench/contestant.py server recording TEXT.gguf MMPROJ.gguf --minutes 10 --slots 4

`clip` takes one clip through every stage; `recording` takes windows of 30 s, end to end, each answered with
exactly --new-tokens tokens. `ours` is this package; `llamacpp` is libllama with libmtmd, window after window;
`server` is llama.cpp's server with parallel slots and continuous batching (PyPI: xllamacpp), for recordings.
What is heard is noise, the same for all: speed does not depend on it. `compare.py` runs these in turn.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

RATE = 16_000
WINDOW_SECONDS = 30
INSTRUCTION = "Transcribe the following speech segment in its original language."
BEFORE = "<bos><|turn>user\n<|audio>"
AFTER = f"<audio|>{INSTRUCTION}<turn|>\n<|turn>model\n"

clock = time.perf_counter


def noise(seconds: float, seed: int = 0) -> Any:
    """float32 [seconds * 16000], the same for the same seed."""
    import numpy as np

    samples = np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 0.1
    return samples.astype(np.float32)


def windows(args: argparse.Namespace) -> Iterator[Any]:
    for index in range(round(args.minutes * 60 / WINDOW_SECONDS)):
        yield noise(WINDOW_SECONDS, index)


def peak_rss() -> int:
    """Bytes this process had resident at most (getrusage would start at the parent's size)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")


def loaded_ggml() -> list[str]:
    """The ggml-cpu that this process computes with; more than one is a fault. Linux."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if "libggml-cpu" in line})


class Stages:
    """Seconds by stage; each is measured from the end of the one before it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._mark = clock()

    def end(self, stage: str) -> None:
        now = clock()
        self.seconds[stage] = now - self._mark
        self._mark = now

    def restart(self) -> None:
        """What happened since the last stage belongs to none."""
        self._mark = clock()


# ---- this package ------------------------------------------------------------------------------------------


def ours_clip(args: argparse.Namespace, stages: Stages) -> Any:
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.structs import EngineOptions, Generation, Input, SessionOptions

    stages.restart()
    with Engine(args.text, args.mmproj, EngineOptions(threads=args.threads, device=args.device)) as engine:
        session = engine.session(SessionOptions(n_ctx=args.n_ctx))
        stages.end("load")
        before, after = (engine.tokenize(text, special=True) for text in (BEFORE, AFTER))
        samples = noise(args.seconds)
        stages.restart()
        audio = engine.audio()
        audio.push(samples)
        audio.finish()
        stages.end("encode")
        mel = engine.timings().mel_s
        stages.seconds["mel"] = mel
        stages.seconds["encode"] -= mel
        session.forward([Input(tokens=before)])
        stages.end("head_prefill")
        session.forward([Input(audio=audio)])
        stages.end("audio_prefill")
        session.forward([Input(tokens=after, n_logits=1)])
        stages.end("text_prefill")
        stages.seconds["text_prefill"] += stages.seconds.pop("head_prefill")
        logits = session.logits()
        token, _ = session.sample()
        stages.restart()
        generation = Generation(0, token, args.new_tokens, ignore_end=True)
        session.generate([generation], lambda *_: True)
        stages.end("decode")
        stages.seconds["peak_rss"] = peak_rss()
    return logits


def ours_recording(args: argparse.Namespace, stages: Stages) -> None:
    from gemma_audio_cli.audio.segment.windows import Window
    from gemma_audio_cli.decoding.guards import GuardOptions
    from gemma_audio_cli.decoding.transcriber import DecodeOptions, Transcriber
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.structs import EngineOptions
    from gemma_audio_cli.pipeline.slots import chosen

    never = GuardOptions(attempts=(0.0,), split=False, min_logprob=float("-inf"), min_repeats=1 << 30)
    decode = DecodeOptions(
        tokens_per_second=0, min_tokens=args.new_tokens, slots=args.slots, guards=never, ignore_end=True
    )
    stages.restart()
    with Engine(args.text, args.mmproj, EngineOptions(threads=args.threads, device=args.device)) as engine:
        stages.seconds["slots"] = slots = chosen(engine, decode).count
        transcriber = Transcriber(engine, replace(decode, slots=slots))
        stages.end("load")
        pieces = (Window(i * WINDOW_SECONDS, samples) for i, samples in enumerate(windows(args)))
        tokens = [segment.tokens for segment in transcriber.transcribe(pieces)]
        stages.end("recording")
        stages.seconds["peak_rss"] = peak_rss()
        expect_tokens(tokens, args)


def expect_tokens(tokens: list[int], args: argparse.Namespace) -> None:
    """A benchmark that did other work than it says is none."""
    wanted = [args.new_tokens] * round(args.minutes * 60 / WINDOW_SECONDS)
    if tokens != wanted:
        raise SystemExit(f"wrote {tokens} tokens, not {wanted}")


# ---- llama.cpp ---------------------------------------------------------------------------------------------


def llamacpp_open(args: argparse.Namespace) -> Any:
    from oracles.llamacpp import LlamaCpp

    layers = 0 if args.device == "CPU" else 999
    return LlamaCpp(
        args.text, args.mmproj, threads=args.threads, n_ctx=args.n_ctx, n_ubatch=1024, gpu_layers=layers
    )


def llamacpp_clip(args: argparse.Namespace, stages: Stages) -> Any:
    import numpy as np
    from oracles.llamacpp import LlamaCpp  # noqa: F401 - imported before the clock starts

    stages.restart()
    with llamacpp_open(args) as engine:
        stages.end("load")
        before, after = engine.tokenize(BEFORE), engine.tokenize(AFTER)
        samples = noise(args.seconds)
        stages.restart()
        chunks = engine.preprocess(samples)
        stages.end("mel")
        audio = engine.encode(chunks)
        stages.end("encode")
        engine.forward([before], every=False)
        stages.end("head_prefill")
        engine.forward([audio], every=False)
        stages.end("audio_prefill")
        logits = engine.forward([after], every=False)[-1]
        stages.end("text_prefill")
        stages.seconds["text_prefill"] += stages.seconds.pop("head_prefill")
        token = int(np.argmax(logits))
        stages.restart()
        engine.generate(token, args.new_tokens)
        stages.end("decode")
        stages.seconds["peak_rss"] = peak_rss()
    return logits


def llamacpp_recording(args: argparse.Namespace, stages: Stages) -> None:
    import numpy as np
    from oracles.llamacpp import LlamaCpp  # noqa: F401 - imported before the clock starts

    stages.restart()
    with llamacpp_open(args) as engine:
        stages.end("load")
        before, after = engine.tokenize(BEFORE), engine.tokenize(AFTER)
        for samples in windows(args):
            engine.reset()
            audio = engine.encode(engine.preprocess(samples))
            logits = engine.forward([before, audio, after], every=False)[-1]
            engine.generate(int(np.argmax(logits)), args.new_tokens - 1)
        stages.end("recording")
        stages.seconds["peak_rss"] = peak_rss()


def server_recording(args: argparse.Namespace, stages: Stages) -> None:
    import soundfile
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = str(args.text), str(args.mmproj)
    params.n_gpu_layers, params.mmproj_use_gpu = 0, False
    params.n_parallel, params.cont_batching = args.slots, True
    params.n_ctx, params.n_batch, params.n_ubatch = args.slots * 1024, 2048, 1024
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.warmup = params.cache_prompt = False  # no two windows begin alike
    params.cache_ram_mib = 0
    stages.restart()
    server = xllamacpp.Server(params)
    stages.end("load")

    def answer(samples: Any) -> int:
        wav = io.BytesIO()
        soundfile.write(wav, samples, RATE, format="WAV", subtype="FLOAT")
        sound = {"data": base64.b64encode(wav.getvalue()).decode(), "format": "wav"}
        content = [{"type": "input_audio", "input_audio": sound}, {"type": "text", "text": INSTRUCTION}]
        reply = server.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": content}],
                "max_tokens": args.new_tokens,
                "ignore_eos": True,
                "temperature": 0,
                "cache_prompt": False,
            }
        )
        if "usage" not in reply:
            raise SystemExit(f"the server answered {reply}")
        return int(reply["usage"]["completion_tokens"])

    with ThreadPoolExecutor(args.slots) as pool:
        tokens = list(pool.map(answer, windows(args)))
    stages.end("recording")
    stages.seconds["peak_rss"] = peak_rss()
    expect_tokens(tokens, args)


# ---- one run -----------------------------------------------------------------------------------------------

JOBS = {
    ("ours", "clip"): ours_clip,
    ("llamacpp", "clip"): llamacpp_clip,
    ("ours", "recording"): ours_recording,
    ("llamacpp", "recording"): llamacpp_recording,
    ("server", "recording"): server_recording,
}
CLIP_STAGES = ("mel", "encode", "audio_prefill", "text_prefill", "decode")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", choices=sorted({engine for engine, _ in JOBS}))
    parser.add_argument("job", choices=("clip", "recording"))
    parser.add_argument("text", type=Path)
    parser.add_argument("mmproj", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the clip")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the recording")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--slots", type=int, default=4, help="windows at once (ours, server); 0: auto")
    parser.add_argument("--n-ctx", type=int, default=1024, help="positions of a sequence")
    parser.add_argument("--device", default="CPU", help="ggml's name; llama.cpp takes the first GPU for any")
    parser.add_argument("--logits", type=Path, help="write the prompt's last logits here (.npy; clip only)")
    args = parser.parse_args()
    job = JOBS.get((args.engine, args.job))
    if job is None:
        parser.error(f"{args.engine} takes no {args.job}")
    stages = Stages()
    logits = job(args, stages)
    if args.job == "clip":
        stages.seconds["total"] = sum(stages.seconds[stage] for stage in CLIP_STAGES)
    if args.logits is not None and logits is not None:
        import numpy as np

        np.save(args.logits, logits)
    made_by: dict[str, Any] = {"ggml": loaded_ggml()}
    if args.engine == "ours":
        from gemma_audio_cli.engine._native import cpu_products

        made_by["products"] = cpu_products()
    print(json.dumps({**stages.seconds, "made_by": made_by}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
