"""`transformers` as an oracle: small random Gemma 4 models in float32, and what they compute for one clip.

    case = CASES["e2b"]
    model = build(case, seed=7)
    save(model, directory)                       # a checkpoint with tokenizer and template, ready to export
    truth = compute(model, samples, before, after)   # mel, encoder, embeddings, logits, greedy tokens

Weights are drawn so that activations keep their size and every trained scalar matters: norms away from 1,
clamps that bite, per-dimension scales, layer scalars, logits far enough apart for greedy decoding to be well
defined. All values are rounded to float16, so that a float16 file holds exactly the model that was computed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers import (
    Gemma4AudioConfig,
    Gemma4AudioFeatureExtractor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    Gemma4UnifiedAudioConfig,
    Gemma4UnifiedAudioFeatureExtractor,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    Gemma4UnifiedTextConfig,
    Gemma4UnifiedVisionConfig,
    Gemma4VisionConfig,
)

# The synthetic tokenizer is the one of the random models.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from gguf_format import CHAT_TEMPLATE, Vocab, synthetic_vocab
from gguf_format.vocab import to_tokenizer_json

FloatArray = npt.NDArray[np.float32]
Model = Any
"""A transformers model; its configuration classes are too dynamic to be typed."""

S, G = "sliding_attention", "full_attention"
VOCAB = 448
_LARGE = 1 << 24


@dataclass(frozen=True)
class Case:
    """One shape of the architecture; fields that are not named keep the released models' values."""

    text: dict[str, Any] = field(default_factory=dict)
    audio: dict[str, Any] = field(default_factory=dict)
    unified: bool = False
    clamps: bool = True
    """Finite clamp bounds; False leaves them infinite, as freshly made models have them."""
    norm_gain: float = 4.0
    """Size of the final norm, which sets how far apart logits are."""
    vision: dict[str, Any] | None = None
    """Settings of a vision tower; None: the model has none."""
    placeholders: tuple[int, int, int] = (VOCAB, VOCAB + 1, VOCAB + 2)
    """Ids of `<|audio|>`, `<|image|>`, `<|video|>`. In a small vocabulary they lie beyond it: a random model
    writes `<|audio|>` too, which must not be a clip."""


def llamacpp_runs(case: Case) -> bool:
    """libllama shares only the last two owning layers' K/V and asserts that they are sliding, then global."""
    types = case.text["layer_types"]
    shared = case.text.get("num_kv_shared_layers", 0)
    return S in types and (shared == 0 or types[: len(types) - shared][-2:] == [S, G])


_TEXT = {
    "vocab_size": VOCAB, "vocab_size_per_layer_input": VOCAB, "hidden_size": 32, "intermediate_size": 64,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "global_head_dim": 32,
    "sliding_window": 16, "final_logit_softcapping": 30.0, "max_position_embeddings": 2048,
    "hidden_size_per_layer_input": 0,
}  # fmt: skip
_AUDIO = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "output_proj_dims": 48,
    "subsampling_conv_channels": [128, 4],
}  # fmt: skip

CASES: dict[str, Case] = {
    # Everything E2B has: per-layer embeddings, sharing, double-wide sharing layers, one K/V head.
    "e2b": Case(
        {"layer_types": [S, G, S, G, S, G], "num_kv_shared_layers": 2, "use_double_wide_mlp": True,
         "hidden_size_per_layer_input": 8},
    ),
    # As E4B: sharing without double width, two K/V heads; clamps at infinity; an odd last block of frames.
    "e4b": Case(
        {"layer_types": [S, S, G, S, S, G], "num_kv_shared_layers": 3, "hidden_size_per_layer_input": 8,
         "num_attention_heads": 4, "num_key_value_heads": 2},
        {"num_hidden_layers": 1, "num_attention_heads": 4},
        clamps=False,
    ),
    # No per-layer embedding, no sharing, no clamps at all, an output matrix of its own.
    "plain": Case(
        {"layer_types": [S, S, G], "tie_word_embeddings": False, "final_logit_softcapping": 20.0},
        {"use_clipped_linears": False},
    ),
    # Global layers with V = K and their own number of K/V heads, behind a conformer.
    "v_is_k": Case(
        {"layer_types": [S, G, S, G], "num_attention_heads": 4, "num_key_value_heads": 2,
         "attention_k_eq_v": True, "num_global_key_value_heads": 1},
        {"num_hidden_layers": 1},
    ),
    # As 12B: raw frames instead of an encoder, V = K.
    "unified": Case(
        {"layer_types": [S, S, G, S, S, G], "num_attention_heads": 4, "num_key_value_heads": 2,
         "attention_k_eq_v": True, "num_global_key_value_heads": 1},
        unified=True,
    ),
}  # fmt: skip


def random_case(rng: np.random.Generator) -> Case:
    """A fresh shape for live parity runs; every feature is on or off by chance."""
    unified = rng.random() < 0.2
    heads = int(rng.choice([2, 4]))
    kv_heads = int(rng.choice([1, 2]))
    owning = [S, G] + [str(rng.choice([S, G])) for _ in range(int(rng.integers(0, 3)))]
    sharing = [str(rng.choice([S, G])) for _ in range(int(rng.integers(0, 4)))] if not unified else []
    types = [str(t) for t in rng.permutation(owning)] + sharing
    types[-1] = G  # transformers insists on a global last layer
    if not sharing and S not in types:
        types[0] = S
    text: dict[str, Any] = {
        "layer_types": types, "num_kv_shared_layers": len(sharing), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "hidden_size": int(rng.choice([32, 64, 96])),
        "head_dim": int(rng.choice([16, 32])), "global_head_dim": int(rng.choice([32, 64])),
        "sliding_window": int(rng.integers(5, 40)), "intermediate_size": int(rng.choice([64, 128])),
    }  # fmt: skip
    if unified or rng.random() < 0.3:
        text |= {"attention_k_eq_v": True, "num_global_key_value_heads": 1}
    if not unified:
        text |= {"hidden_size_per_layer_input": int(rng.choice([0, 8, 32])),
                 "use_double_wide_mlp": bool(rng.random() < 0.5)}  # fmt: skip
    audio = {
        "hidden_size": int(rng.choice([32, 64])), "num_hidden_layers": int(rng.integers(1, 4)),
        "num_attention_heads": int(rng.choice([2, 4])), "output_proj_dims": int(rng.choice([32, 48, 80])),
        "subsampling_conv_channels": [128, int(rng.choice([4, 8, 32]))],
        "use_clipped_linears": bool(rng.random() < 0.8),
    }  # fmt: skip
    return Case(text, {} if unified else audio, unified, clamps=bool(rng.random() < 0.8))


def build(case: Case, seed: int) -> Model:
    """A float32 model of this shape with seeded weights, in evaluation mode."""
    names = ("audio_token_id", "image_token_id", "video_token_id")
    ids = dict(zip(names, case.placeholders, strict=True))
    vision: Any = None
    if case.vision is not None:
        vision = (Gemma4UnifiedVisionConfig if case.unified else Gemma4VisionConfig)(**case.vision)
    text = _TEXT | case.text | {"num_hidden_layers": len(case.text["layer_types"])}
    tied = text.get("tie_word_embeddings", True)
    if case.unified:
        for key in ("hidden_size_per_layer_input", "vocab_size_per_layer_input"):
            text.pop(key)
        config: Any = Gemma4UnifiedConfig(
            text_config=Gemma4UnifiedTextConfig(**text), audio_config=Gemma4UnifiedAudioConfig(**case.audio),
            vision_config=vision, tie_word_embeddings=tied, **ids,
        )  # fmt: skip
        kind: Any = Gemma4UnifiedForConditionalGeneration
    else:
        config = Gemma4Config(
            text_config=Gemma4TextConfig(**text), audio_config=Gemma4AudioConfig(**(_AUDIO | case.audio)),
            vision_config=vision, tie_word_embeddings=tied, **ids,
        )  # fmt: skip
        kind = Gemma4ForConditionalGeneration
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = kind(config).float().eval()
    _randomise(model, case, seed)
    return model


def _randomise(model: Model, case: Case, seed: int) -> None:
    """Draw every parameter and buffer anew, with numpy's generator: torch's version does not matter then."""
    rng = np.random.default_rng(seed)
    state = model.state_dict()
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    for name in sorted(set(state) - tied):
        tensor = state[name]
        shape = tuple(tensor.shape)
        if tensor.numel() > _LARGE:
            # A table of the real vocabulary: in float64 it would take gigabytes.
            values = rng.standard_normal(shape, dtype=np.float32)
            values *= np.float32(shape[-1] ** -0.5)
        else:
            values = _draw(name, shape, case, rng)
        tensor.copy_(torch.from_numpy(np.asarray(values, dtype=np.float16).astype(np.float32)))


def _draw(name: str, shape: tuple[int, ...], case: Case, rng: np.random.Generator) -> Any:
    last = name.rpartition(".")[2]
    if last in ("input_min", "input_max", "output_min", "output_max"):
        bound = rng.uniform(0.7, 2.5) if case.clamps else np.inf
        return -bound if last.endswith("min") else bound
    if last == "layer_scalar":
        return rng.uniform(0.7, 1.1, shape)
    if last == "per_dim_scale":
        return rng.normal(0.0, 0.5, shape)
    if "norm" in name:
        values = rng.uniform(0.7, 1.3, shape)
        if name.endswith("k_norm.weight") and "language_model" in name:
            return values * 2.0 * shape[0] ** -0.5  # the decoder's attention has no 1/sqrt(d)
        if name.endswith("language_model.norm.weight"):
            # Random signs: else the tied output matrix makes each token predict itself.
            return values * case.norm_gain * rng.choice([-1.0, 1.0], shape)
        return values
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 8
    values = rng.standard_normal(shape) * fan_in**-0.5
    if "layer0.conv" in name:
        # Kernels without a mean ignore the constant floor of the log-mel input.
        values -= values.mean(axis=(2, 3), keepdims=True)
    return values


def save(model: Model, directory: Path, vocab: Vocab | None = None) -> Vocab:
    """Write a checkpoint directory that `scripts/export_gguf.py` reads."""
    vocab = vocab or synthetic_vocab(VOCAB)
    directory.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(directory)
    (directory / "tokenizer.json").write_text(json.dumps(to_tokenizer_json(vocab)), encoding="utf-8")
    roles = {f"{role}_token": f"<{role}>" for role in vocab.special}
    (directory / "tokenizer_config.json").write_text(json.dumps(roles), encoding="utf-8")
    (directory / "chat_template.jinja").write_text(vocab.chat_template or CHAT_TEMPLATE, encoding="utf-8")
    return vocab


@dataclass(frozen=True)
class Truth:
    """What transformers computes for one clip and prompt, in float32."""

    mel: FloatArray
    """Valid input frames: log-mel `[frames, 128]`, or raw samples `[frames, 640]` for the unified model."""
    encoder: FloatArray
    """Encoder output before the projector's norm `[tokens, output]`."""
    embeddings: FloatArray
    """Projected `[tokens, width]`."""
    logits: FloatArray
    """After the soft-cap, at every position of before + audio + after: `[positions, vocab]`."""
    greedy: list[int]
    """Continuation, end tokens included and not obeyed."""
    margin: float
    """Smallest lead of a greedy token over the second best: where it is tiny, another token is no mistake."""


def features(model: Model, samples: FloatArray) -> dict[str, torch.Tensor]:
    """Input features and their mask, batch of one."""
    unified = model.config.model_type == "gemma4_unified"
    extractor: Any = Gemma4UnifiedAudioFeatureExtractor() if unified else Gemma4AudioFeatureExtractor()
    batch = extractor([samples], return_tensors="pt")
    return {
        "input_features": batch["input_features"].float(),
        "input_features_mask": batch["input_features_mask"],
    }


@torch.no_grad()
def compute(
    model: Model, samples: FloatArray, before: list[int], after: list[int], n_greedy: int = 64
) -> Truth:
    """Run one clip between two stretches of token ids."""
    inputs = features(model, samples)
    mask = inputs["input_features_mask"][0].bool()
    output = model.model.get_audio_features(**inputs, return_dict=True)
    valid = output.attention_mask[0].bool()
    embeddings = output.pooler_output[0][valid]
    # The unified model has no encoder: its projector reads the raw frames.
    encoder = getattr(output, "last_hidden_state", inputs["input_features"])[0][valid]

    ids = [*before, *[model.config.audio_token_id] * len(embeddings), *after]
    greedy: list[int] = []
    margin = float("inf")
    logits = _forward(model, ids, inputs)
    first = logits
    for _ in range(n_greedy):
        best = logits[-1].topk(2)
        greedy.append(int(best.indices[0]))
        margin = min(margin, float(best.values[0] - best.values[1]))
        if len(greedy) < n_greedy:
            # The whole sequence again each time: slow, but free of any cache's mistakes.
            logits = _forward(model, ids + greedy, inputs)
    return Truth(
        inputs["input_features"][0][mask].numpy(),
        encoder.numpy(),
        embeddings.numpy(),
        first.numpy(),
        greedy,
        margin,
    )


def _forward(model: Model, ids: list[int], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    tokens = torch.tensor([ids])
    # Asked for hidden states, transformers does not skip rows in sharing layers, which fails without PLE.
    output = model(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        use_cache=False,
        output_hidden_states=True,
        **inputs,
    )
    return output.logits[0]


@torch.no_grad()
def attention(model: Model, ids: list[int], rows: slice, keys: slice) -> list[FloatArray]:
    """Of each layer `[heads, rows, keys]`: the shares of the keys among themselves, for text tokens."""
    output = model(input_ids=torch.tensor([ids]), use_cache=False, output_attentions=True)
    wanted = [weights[0, :, rows, keys] for weights in output.attentions]
    return [(weights / weights.sum(-1, keepdim=True)).numpy() for weights in wanted]


def speech_like(seconds: float, seed: int = 0) -> FloatArray:
    """Seeded 16 kHz signal with pauses, gliding tones and noise; multiples of 1/32768, as 16-bit audio is."""
    n = round(seconds * 16000)
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16000
    glide = np.sin(2 * np.pi * (180 * t + 90 * np.sin(2 * np.pi * 1.3 * t) + 240 * t**2))
    buzz = np.sign(np.sin(2 * np.pi * 110 * t)) * np.sin(2 * np.pi * 900 * t)
    envelope = np.clip(np.sin(2 * np.pi * 2.2 * t + seed), 0, None)
    signal = envelope * (0.35 * glide + 0.15 * buzz) + rng.standard_normal(n) * 0.02
    return (np.clip(np.round(signal * 32768), -32768, 32767) / 32768).astype(np.float32)
