"""A `transformers` Gemma 4 checkpoint directory: its configuration as shapes, its tensors under GGUF names.

Only `json` and memory-mapped numpy are used, so exporting needs neither torch nor transformers. What changes
on the way, all of it the converter's convention that every engine relies on:

- `per_dim_scale` is stored after its softplus;
- the depthwise kernel `[width, 1, 5]` is stored as `[width, 5]`;
- the two norms of the convolution module swap names: `lconv1d.pre_layer_norm` is `conv_norm` and
  `lconv1d.conv_norm` is `norm_conv`;
- clamp bounds become `[1]`; rows of the embedding tables beyond the vocabulary are dropped.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .shapes import CLAMPED_LINEARS, AudioShape, ConformerShape, RawAudioShape, TensorSpec, TextShape

Array = npt.NDArray[Any]


class CheckpointError(ValueError):
    """The directory is not a Gemma 4 checkpoint that can be exported."""


_TEXT_NAMES = {
    "token_embd": "embed_tokens",
    "per_layer_token_embd": "embed_tokens_per_layer",
    "per_layer_model_proj": "per_layer_model_projection",
    "per_layer_proj_norm": "per_layer_projection_norm",
    "output_norm": "norm",
}
_TEXT_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
    "inp_gate": "per_layer_input_gate",
    "proj": "per_layer_projection",
    "post_norm": "post_per_layer_input_norm",
    "layer_output_scale": "layer_scalar",
}
_AUDIO_NAMES = {
    "a.conv1d.0": "audio_tower.subsample_conv_projection.layer0.conv",
    "a.conv1d.0.norm": "audio_tower.subsample_conv_projection.layer0.norm",
    "a.conv1d.1": "audio_tower.subsample_conv_projection.layer1.conv",
    "a.conv1d.1.norm": "audio_tower.subsample_conv_projection.layer1.norm",
    "a.input_projection": "audio_tower.subsample_conv_projection.input_proj_linear",
    "a.pre_encode.out": "audio_tower.output_proj",
    "mm.a.input_projection": "embed_audio.embedding_projection",
}
_AUDIO_LAYER_NAMES = {
    "ffn_norm": "feed_forward1.pre_layer_norm",
    "ffn_up": "feed_forward1.ffw_layer_1",
    "ffn_down": "feed_forward1.ffw_layer_2",
    "ffn_post_norm": "feed_forward1.post_layer_norm",
    "attn_pre_norm": "norm_pre_attn",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.post",
    "attn_k_rel": "self_attn.relative_k_proj",
    "per_dim_scale": "self_attn.per_dim_scale",
    "attn_post_norm": "norm_post_attn",
    "conv_norm": "lconv1d.pre_layer_norm",
    "norm_conv": "lconv1d.conv_norm",
    "conv_pw1": "lconv1d.linear_start",
    "conv_pw2": "lconv1d.linear_end",
    "conv_dw": "lconv1d.depthwise_conv1d",
    "ffn_norm_1": "feed_forward2.pre_layer_norm",
    "ffn_up_1": "feed_forward2.ffw_layer_1",
    "ffn_down_1": "feed_forward2.ffw_layer_2",
    "ffn_post_norm_1": "feed_forward2.post_layer_norm",
    "ln2": "norm_out",
}
# What a GGUF file has no keys for, because every released model has these values.
_IMPLIED_AUDIO = {
    "attention_chunk_size": 12,
    "attention_context_left": 13,
    "attention_context_right": 0,
    "attention_logit_cap": 50.0,
    "residual_weight": 0.5,
}
# Stored in checkpoints as bare parameters, without a `.weight`.
_BARE = ("layer_scalar", "per_dim_scale")

_DTYPES: dict[str, Any] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
}  # fmt: skip


class Checkpoint:
    """Configuration and lazily mapped tensors of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = _read_object(directory / "config.json")
        kind = self.config.get("model_type")
        if kind not in ("gemma4", "gemma4_unified"):
            raise CheckpointError(f"config.json: model_type {kind!r} is not gemma4 or gemma4_unified")
        self._tensors: dict[str, tuple[Path, int, str, tuple[int, ...]]] = {}
        for path in self._weight_files():
            self._tensors.update(_index(path))

    def _weight_files(self) -> list[Path]:
        index = self.directory / "model.safetensors.index.json"
        if index.is_file():
            return [self.directory / name for name in sorted(set(_read_object(index)["weight_map"].values()))]
        return [self.directory / "model.safetensors"]

    def text_shape(self, vocab: int) -> TextShape:
        """Shape of the text model, for a tokenizer of `vocab` tokens."""
        c = self.config.get("text_config") or {}
        _refuse(c, "enable_moe_block", "mixture-of-experts layers")
        _refuse(c, "attention_bias", "attention biases")
        if self._has("language_model.embed_tokens.weight") < vocab:
            raise CheckpointError(f"the tokenizer has {vocab} tokens, the embedding table fewer")
        sliding = tuple(kind == "sliding_attention" for kind in c["layer_types"])
        v_is_k = bool(c.get("attention_k_eq_v"))
        rope = c.get("rope_parameters") or {}
        full, local = rope.get("full_attention", {}), rope.get("sliding_attention", {})
        if full.get("rope_type", "proportional") != "proportional":
            raise CheckpointError(
                f"config.json: rope_type {full['rope_type']!r} of global layers is not supported"
            )
        return TextShape(
            width=c["hidden_size"],
            heads=c["num_attention_heads"],
            head_dim=c["head_dim"],
            global_head_dim=self._global(c, "head_dim", "global_head_dim", sliding) or c["head_dim"],
            kv_heads=c["num_key_value_heads"],
            global_kv_heads=self._global(c, "num_key_value_heads", "num_global_key_value_heads", sliding),
            ffn=c["intermediate_size"],
            sliding=sliding,
            window=c["sliding_window"],
            vocab=vocab,
            shared=c.get("num_kv_shared_layers") or 0,
            double_wide=bool(c.get("use_double_wide_mlp")),
            ple=c.get("hidden_size_per_layer_input") or 0,
            v_is_k=v_is_k,
            layer_scale=bool(self._has("language_model.layers.0.layer_scalar")),
            tied=bool(c.get("tie_word_embeddings", True)),
            context=c.get("max_position_embeddings", 131072),
            softcap=c.get("final_logit_softcapping"),
            eps=c.get("rms_norm_eps", 1e-6),
            theta=full.get("rope_theta", 1e6),
            theta_sliding=local.get("rope_theta", 1e4),
            rotary_fraction=full.get("partial_rotary_factor", 0.25),
        )

    def audio_shape(self) -> AudioShape:
        c = self.config.get("audio_config")
        if not c:
            raise CheckpointError("config.json: no audio_config, this model does not hear")
        width = self.config["text_config"]["hidden_size"]
        if c.get("model_type") == "gemma4_unified_audio":
            return RawAudioShape(width, c.get("audio_embed_dim", 640), c.get("rms_norm_eps", 1e-6))
        for key, value in _IMPLIED_AUDIO.items():
            if c.get(key, value) != value:
                raise CheckpointError(
                    f"config.json: audio {key} {c[key]} cannot be stored, GGUF files imply {value}"
                )
        channels = c.get("subsampling_conv_channels", [128, 32])
        return ConformerShape(
            width=c["hidden_size"],
            layers=c["num_hidden_layers"],
            heads=c["num_attention_heads"],
            text_width=width,
            channels=(channels[0], channels[1]),
            output=c.get("output_proj_dims", 1536),
            kernel=c.get("conv_kernel_size", 5),
            # The first layer's channel count doubles as the number of mel bins in transformers' size formula.
            mel_bins=128,
            clamps=bool(c.get("use_clipped_linears", True)),
            eps=c.get("rms_norm_eps", 1e-6),
        )

    def tensor(self, spec: TensorSpec) -> Array:
        """The checkpoint's tensor for a GGUF tensor, transformed; memory-mapped where nothing changes."""
        name = source_name(spec.name)
        values = self._load(name)
        if spec.kind == "clamp":
            values = values.reshape(1)
        elif name.endswith("depthwise_conv1d.weight"):
            values = values.reshape(values.shape[0], values.shape[2])
        elif name.endswith("per_dim_scale"):
            values = np.logaddexp(values.astype(np.float64), 0.0).astype(np.float32)  # softplus
        elif spec.name.startswith(("token_embd.", "per_layer_token_embd.", "output.")):
            values = values[: spec.shape[0]]
        if values.shape != spec.shape:
            raise CheckpointError(
                f"{name}: shape {list(values.shape)}, but config.json implies {list(spec.shape)}"
            )
        return values

    def _load(self, name: str) -> Array:
        if (found := self._find(name)) is None:
            raise CheckpointError(f"tensor {name} is missing from the checkpoint")
        path, offset, dtype, shape = found
        if dtype not in _DTYPES:
            raise CheckpointError(f"{name}: data type {dtype} is not supported")
        values: Array = np.memmap(path, _DTYPES[dtype], "r", offset, shape or (1,)).view(np.ndarray)
        return BFloat16(values) if dtype == "BF16" else values  # type: ignore[return-value]

    def _find(self, name: str) -> tuple[Path, int, str, tuple[int, ...]] | None:
        # `model.` prefixes everything in the conditional-generation classes but `lm_head`.
        return self._tensors.get("model." + name) or self._tensors.get(name)

    def _has(self, name: str) -> int:
        """First dimension of a tensor, 0 when it is absent."""
        found = self._find(name)
        return 0 if found is None else (found[3] or (1,))[0]

    @staticmethod
    def _global(c: dict[str, Any], field: str, legacy: str, sliding: tuple[bool, ...]) -> int | None:
        """A setting of global layers: a key of its own in older files, per-layer overrides in newer ones."""
        if c.get(legacy) is not None:
            # Without V = K, transformers ignores a separate head count for global layers.
            return c[legacy] if field == "head_dim" or c.get("attention_k_eq_v", True) else None
        for layer, override in (c.get("per_layer_config") or {}).items():
            if int(layer) < len(sliding) and not sliding[int(layer)] and field in override:
                return int(override[field])
        return None


class BFloat16:
    """Just enough of an array for bfloat16 data, which numpy lacks: the upper halves of float32 values."""

    def __init__(self, bits: Array) -> None:
        self._bits = bits
        self.shape = bits.shape
        self.ndim = bits.ndim

    def __getitem__(self, index: Any) -> BFloat16:
        return BFloat16(self._bits[index])

    def reshape(self, *shape: int) -> BFloat16:
        return BFloat16(self._bits.reshape(*shape))

    def astype(self, dtype: npt.DTypeLike) -> Array:
        return (self._bits.astype(np.uint32) << 16).view(np.float32).astype(dtype)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return self.astype(dtype or np.float32)


def source_name(name: str) -> str:
    """Checkpoint name (without the leading `model.`) of a GGUF tensor."""
    stem, _, suffix = name.rpartition(".")
    if name == "output.weight":
        return "lm_head.weight"
    if stem in _TEXT_NAMES:
        return f"language_model.{_TEXT_NAMES[stem]}.{suffix}"
    if stem in _AUDIO_NAMES:
        return f"{_AUDIO_NAMES[stem]}.{suffix}"
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)", stem):
        source = _TEXT_LAYER_NAMES[match[2]]
        base = f"language_model.layers.{match[1]}.{source}"
        return base if source.endswith(_BARE) else f"{base}.{suffix}"
    if match := re.fullmatch(r"a\.blk\.(\d+)\.(\w+)", stem):
        source = _AUDIO_LAYER_NAMES[match[2]]
        base = f"audio_tower.layers.{match[1]}.{source}"
        if source.endswith(_BARE):
            return base
        # Clamped linears keep their matrix one level down, beside the four bounds.
        linear = match[2] in CLAMPED_LINEARS and suffix == "weight"
        return f"{base}.linear.{suffix}" if linear else f"{base}.{suffix}"
    raise CheckpointError(f"no checkpoint tensor is known for {name}")


def _index(path: Path) -> dict[str, tuple[Path, int, str, tuple[int, ...]]]:
    """Read the header of a safetensors file: name to (file, byte offset, type, shape)."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise CheckpointError(f"{path.name}: not a safetensors file")
            header = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path.name}: not a safetensors file") from error
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        if 8 + length + end > size:
            raise CheckpointError(f"{path.name}: truncated, {name} ends beyond the file")
        tensors[name] = (path, 8 + length + start, entry["dtype"], tuple(entry["shape"]))
    return tensors


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path.name}: not valid JSON") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name}: an object is expected at the top")
    return value


def _refuse(config: dict[str, Any], key: str, what: str) -> None:
    if config.get(key):
        raise CheckpointError(f"config.json: {what} ({key}) are not part of the audio models' format")
