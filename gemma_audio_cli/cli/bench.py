"""`gemma-audio bench`: how fast a model runs on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli.common import (
    BACKEND,
    DEVICE,
    GPU_LAYERS,
    MMPROJ,
    MODEL,
    QUIET,
    THREADS,
    Job,
)
from gemma_audio_cli.cli.telling import exit_codes, put, put_json

if TYPE_CHECKING:
    from gemma_audio_cli.engine.data import EngineInfo
    from gemma_audio_cli.engine.measure import Speed

EXAMPLES = """Examples:

\b
  gemma-audio bench
  gemma-audio bench -m gemma-4-E2B-it-Q4_0.gguf
  gemma-audio bench -m gemma-4-E2B-it-Q4_0.gguf --threads 4 --json

One clip of noise goes through every stage, a few times: speed depends on how much is heard and
written, not on what. Takes less than two minutes. For a comparison with llama.cpp on the same
files see docs/BENCHMARKS.md.
"""


def bench(
    seconds: float = typer.Option(30.0, "--seconds", min=1.0, max=30.0, help="Length of the clip."),
    tokens: int = typer.Option(64, "--tokens", min=1, max=1000, help="Tokens to write for it."),
    slots: int = typer.Option(4, "--slots", min=1, max=32, help="Windows to decode together."),
    runs: int = typer.Option(3, "--runs", min=1, help="Times to measure; the median counts."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    model: str = MODEL,
    mmproj: str = MMPROJ,
    threads: int = THREADS,
    backend: str = BACKEND,
    device: str = DEVICE,
    gpu_layers: str = GPU_LAYERS,
    quiet: bool = QUIET,
) -> None:
    """Measure how fast a model runs on this machine."""
    with exit_codes():
        job = Job(
            model, mmproj, threads, quiet=quiet, verbose=False,
            backend=backend, device=device, gpu_layers=gpu_layers,
        )  # fmt: skip
        try:
            engine = job.transcriber().engine
            from gemma_audio_cli.engine.measure import measure

            speed = measure(engine, clip_s=seconds, tokens=tokens, slots=slots, runs=runs)
            if as_json:
                put_json({"model": job.pair.text.name, **asdict(engine.info), **asdict(speed)})
            else:
                put(*_lines(job.pair.text.name, engine.info, speed))
        finally:
            job.close()


def _lines(name: str, info: EngineInfo, speed: Speed) -> list[str]:
    """The report: where the time goes, what that means for a recording, memory."""

    def stage(label: str, seconds: float, note: str) -> str:
        return f"{label:12} {seconds:8.3f} s {seconds / speed.total_s:6.0%}   {note}".rstrip()

    s = speed
    rate, many = s.slots * s.tokens / s.together_s, s.clip_s / s.batch_s
    lines = [
        f"{name} on {info.device}, {s.clip_s:g} s clip, {s.tokens} tokens, median of {s.runs}",
        "",
        stage("mel", s.mel_s, ""),
        stage("encode", s.encode_s, f"{s.audio_tokens} audio tokens"),
        stage(
            "prefill", s.prefill_s, f"{s.prompt_tokens} tokens, {s.prompt_tokens / s.prefill_s:.0f} a second"
        ),
        stage("decode", s.decode_s, f"{s.tokens} tokens, {s.tokens / s.decode_s:.1f} a second"),
        f"{'total':12} {s.total_s:8.3f} s          {s.clip_s / s.total_s:.2f} x real time",
        "",
        f"first token  {s.first_token_s:8.3f} s          after the clip's end, if nothing is done before",
        f"{f'{s.slots} together':12} {s.together_s:8.3f} s          {rate:.1f} tokens a second in all",
        f"recording    {s.batch_s:8.3f} s          for one of many clips: {many:.2f} x real time",
        f"load         {s.load_s:8.3f} s",
    ]
    if s.peak_bytes is not None:
        lines.append(f"memory       {s.peak_bytes / 1e9:8.2f} GB at most")
    return lines
