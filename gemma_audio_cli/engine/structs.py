"""Plain data that goes into and comes out of the native engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_audio_cli.errors import EngineError, UsageError
from gemma_audio_cli.sound import TOKENS_A_SECOND, Floats

if TYPE_CHECKING:
    from gemma_audio_cli.engine.audio_stream import AudioStream

MAX_THREADS = 512
"""As in native/src/core/threads.h."""


def check_threads(threads: int) -> None:
    """Raises UsageError for a number of threads that the engine cannot start."""
    if not 0 <= threads <= MAX_THREADS:
        raise UsageError(
            f"{threads} threads cannot be started; choose at most {MAX_THREADS}, or 0 for one per core"
        )


def clip_positions(seconds: float) -> int:
    """Positions that a clip of so many seconds takes, at most."""
    return int(seconds * TOKENS_A_SECOND) + 2


def cache_size(positions: int, limit: int) -> int:
    """Positions to give a K/V cache that shall hold so many: whole blocks of 256, for at most `limit`
    positions.
    """
    return -(-min(positions, limit) // 256) * 256


@dataclass(frozen=True)
class EngineOptions:
    """How weights are placed and run."""

    threads: int = 0
    """CPU threads; 0: one per physical core."""
    device: str | None = None
    """A device's name in ggml ("CPU", "CUDA0", ...); None: the best GPU, else the CPU."""
    repack: bool = True
    """Let the CPU backend keep matrices in its fastest layout."""
    gpu_layers: int | None = None
    """Layers of the text model on the device, the output matrix counted as one more; None: all that fit into
    its free memory. The CPU computes the others.
    """

    def __post_init__(self) -> None:
        try:
            check_threads(self.threads)
        except UsageError as error:  # no wrong use of a command: this engine has no more
            raise EngineError(str(error)) from None


@dataclass(frozen=True)
class EngineInfo:
    """What was loaded. Sizes in elements, bytes where the name says so."""

    n_vocab: int
    n_embd: int
    n_layer: int
    n_layer_kv: int
    n_ctx_train: int
    n_gpu_layers: int
    """On the device, of n_layer + 1."""
    projector: str
    """"none", "gemma4a" or "gemma4ua"."""
    n_audio_layer: int
    n_audio_embd: int
    n_audio_out: int
    token_bos: int
    token_eos: int
    bytes_text: int
    bytes_audio: int
    bytes_mapped: int
    device: str
    buffers: str


@dataclass(frozen=True)
class Layer:
    """One layer of the text model."""

    n_head: int
    window: int
    """Positions that a row sees, itself included; 0: all."""


@dataclass(frozen=True)
class Timings:
    """Seconds and counts since the engine was opened or its timings were reset."""

    load_s: float
    mel_s: float
    encode_s: float
    prefill_s: float
    decode_s: float
    n_samples: int
    n_audio_tokens: int
    n_prefill: int
    n_decode: int


@dataclass(frozen=True)
class SessionOptions:
    """The K/V cache of a session."""

    n_ctx: int = 2048
    """Positions of each sequence."""
    n_seq: int = 1
    n_batch: int = 0
    """Most rows computed in one graph; 0: a good size for the device."""
    kv_type: str = "f16"
    """"f16", "q8_0" or "f32"."""
    skip_rows: bool = True
    """Rows whose logits nobody wants stop at the last K/V-owning layer."""


@dataclass(frozen=True)
class SamplerOptions:
    """How a token is drawn from the logits; the default is greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    grammar: str | None = None
    """GBNF, start rule "root"."""
    text_only: bool = False
    """Choose no token that is never text (marks, unused tokens), but the ends of an answer and the marks of a
    thought.
    """
    no_thinking: bool = False
    """Never choose the mark that opens a thought either."""


@dataclass(frozen=True)
class Input:
    """New positions for one sequence in one forward: exactly one of tokens, embeddings and audio.

    embeddings: float32 [n, n_embd]. audio: all tokens of the clip, or those of `audio_range` (first, count).
    Logits are computed for the last `n_logits` positions.
    """

    seq: int = 0
    tokens: Sequence[int] | None = None
    embeddings: Floats | None = None
    audio: AudioStream | None = None
    audio_range: tuple[int, int] | None = None
    n_logits: int = 0


@dataclass
class Generation:
    """One answer in the making.

    next_token: the token reported last and not yet fed; at first the one sampled from the prompt's last
    logits. n_max: tokens still allowed. stop: "running", "end", "budget" or "caller". ignore_end: write
    exactly n_max tokens, the end token among them, as benchmarks do.
    """

    seq: int
    next_token: int
    n_max: int
    stop: str = "running"
    ignore_end: bool = False
