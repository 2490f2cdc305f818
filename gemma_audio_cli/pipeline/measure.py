"""How fast a model runs on this machine: a clip through every stage, and several windows decoded together.

What is heard is noise and the end token is ignored: speed depends on lengths, not on words.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import (
    Generation,
    Input,
    SessionOptions,
    Timings,
    cache_size,
    clip_positions,
)
from gemma_audio_cli.sound import SAMPLE_RATE

_SECONDS = 100.0
"""A measurement takes no longer than about this."""


@dataclass(frozen=True)
class Speed:
    """Medians over the runs; seconds unless the name says otherwise."""

    runs: int
    clip_s: float
    """Length of the clip."""
    load_s: float
    mel_s: float
    encode_s: float
    prefill_s: float
    """The prompt with the clip in it, up to the first logits."""
    decode_s: float
    """Of `tokens` tokens of one answer."""
    together_s: float
    """Of `tokens` tokens of each of `slots` answers decoded together; run once."""
    audio_tokens: int
    prompt_tokens: int
    tokens: int
    slots: int
    peak_bytes: int | None
    """Most memory this process had resident; None: unknown on this system."""

    @property
    def total_s(self) -> float:
        """One clip, from samples to the last token."""
        return self.mel_s + self.encode_s + self.prefill_s + self.decode_s

    @property
    def first_token_s(self) -> float:
        """From the last sample to the first token."""
        return self.mel_s + self.encode_s + self.prefill_s

    @property
    def batch_s(self) -> float:
        """One clip of many, where `slots` decode together."""
        return self.first_token_s + self.together_s / self.slots


def measure(
    engine: Engine,
    *,
    clip_s: float,
    tokens: int,
    slots: int,
    runs: int,
) -> Speed:
    """Run the clip `runs` times, fewer where that would take longer than about a minute and a half."""
    samples = np.random.default_rng(0).standard_normal(int(clip_s * SAMPLE_RATE)).astype(np.float32) * 0.1
    built = prompt.build(engine, prompt.transcription(None))
    head, tail = built.head, built.tail
    n_ctx = cache_size(built.positions(clip_positions(clip_s), tokens), engine.info.n_ctx_train)
    load_s, begin = engine.timings().load_s, time.perf_counter()
    found: list[Timings] = []
    audio = engine.audio()
    session = engine.session(SessionOptions(n_ctx=n_ctx, n_seq=slots))

    def prefill(seq: int) -> None:
        session.rewind(0, seq=seq)
        session.forward(
            [Input(seq, tokens=head), Input(seq, audio=audio), Input(seq, tokens=tail, n_logits=1)]
        )

    try:
        while len(found) < runs:
            audio.close()
            audio = engine.audio()
            engine.reset_timings()
            audio.push(samples)
            audio.finish()
            prefill(0)
            _decode(session, 1, tokens)
            found.append(engine.timings())
            if (time.perf_counter() - begin) * (len(found) + 1) / len(found) > _SECONDS:
                break
        for seq in range(slots):
            prefill(seq)
        engine.reset_timings()
        _decode(session, slots, tokens)
        together_s = engine.timings().decode_s
        audio_tokens = len(audio)
    finally:
        session.close()
        audio.close()
    return Speed(
        runs=len(found),
        clip_s=clip_s,
        load_s=load_s,
        mel_s=median(run.mel_s for run in found),
        encode_s=median(run.encode_s for run in found),
        prefill_s=median(run.prefill_s for run in found),
        decode_s=median(run.decode_s for run in found),
        together_s=together_s,
        audio_tokens=audio_tokens,
        prompt_tokens=len(head) + audio_tokens + len(tail),
        tokens=tokens,
        slots=slots,
        peak_bytes=peak_memory(),
    )


def _decode(session: Session, slots: int, tokens: int) -> None:
    """So many tokens of each of the first `slots` sequences, all together; the first one of each is any."""
    token, _ = session.sample()
    generations = [Generation(seq, token, tokens, ignore_end=True) for seq in range(slots)]
    session.generate(generations, lambda *_: True)


def peak_memory() -> int | None:
    """Bytes this process had resident at most; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
