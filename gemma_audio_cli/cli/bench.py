"""`gemma-audio bench`: how fast a model runs on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.common import Job
from gemma_audio_cli.cli.messages import exit_codes, put, put_json
from gemma_audio_cli.cli.options import Model, Notices, Quiet, option, with_groups
from gemma_audio_cli.formatting import byte_size

if TYPE_CHECKING:
    from gemma_audio_cli.engine.structs import EngineInfo
    from gemma_audio_cli.pipeline.measure import Speed

EXAMPLES = """Examples:

\b
  gemma-audio bench
  gemma-audio bench -m gemma-4-E2B-it-Q4_0.gguf
  gemma-audio bench -m gemma-4-E2B-it-Q4_0.gguf --threads 4 --json

One clip of noise goes through every stage, a few times: speed depends on how much is heard and
written, not on what. Takes less than two minutes. For a comparison with llama.cpp on the same
files see docs/BENCHMARKS.md.
"""


@with_groups
def bench(
    seconds: Annotated[
        float, option("--seconds", min=1.0, max=30.0, help="Length of the clip.", show_default=True)
    ] = 30.0,
    tokens: Annotated[
        int, option("--tokens", min=1, max=1000, help="Tokens to write for it.", show_default=True)
    ] = 64,
    slots: Annotated[
        int, option("--slots", min=1, max=32, help="Windows to decode together.", show_default=True)
    ] = 4,
    runs: Annotated[
        int, option("--runs", min=1, help="Times to measure; the median counts.", show_default=True)
    ] = 3,
    as_json: Annotated[bool, option("--json", help="Print one JSON object.")] = False,
    model: Model = Model(),
    quiet: Quiet = False,
) -> None:
    """Measure how fast a model runs on this machine."""
    with exit_codes():
        from gemma_audio_cli.decoding.options import DecodeOptions

        job = Job(model, Notices(quiet=quiet))
        try:
            engine = job.recognizer.transcriber(DecodeOptions()).engine
            from gemma_audio_cli.pipeline.measure import measure

            speed = measure(engine, clip_s=seconds, tokens=tokens, slots=slots, runs=runs)
            if as_json:
                put_json({"model": job.recognizer.model_name, **asdict(engine.info), **asdict(speed)})
            else:
                put(*_lines(job.recognizer.model_name, engine.info, speed))
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
        lines.append(f"memory       {byte_size(s.peak_bytes):>11} at most")
    return lines
