"""Sizes of a Gemma 4 audio model, and the list of tensors that follows from them.

One spec is one tensor as the public GGUF files hold it. Shapes are in numpy order (output
dimension first); a GGUF reader prints them reversed. Sources: `transformers` models `gemma4` and
`gemma4_unified`, and llama.cpp's converter (`conversion/gemma.py`, `gguf-py/gguf/tensor_mapping.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["matrix", "norm", "bias", "scale", "clamp", "conv", "freqs"]

# The linear layers of the conformer that clamp their input and output. `attn_k_rel` is a plain linear.
CLAMPED_LINEARS = (
    "attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down", "ffn_up_1", "ffn_down_1",
    "conv_pw1", "conv_pw2",
)  # fmt: skip
CLAMP_FIELDS = ("input_min", "input_max", "output_min", "output_max")


@dataclass(frozen=True)
class TensorSpec:
    """Name in the file, shape in numpy order, and what the numbers are (random models scale by it)."""

    name: str
    shape: tuple[int, ...]
    kind: Kind

    @property
    def fan_in(self) -> int:
        """Number of inputs that each output of this weight sums over."""
        count = 1
        for n in self.shape[1:]:
            count *= n
        return count


@dataclass(frozen=True)
class TextShape:
    """Gemma 4 dense decoder (E2B, E4B, 12B)."""

    width: int
    heads: int
    head_dim: int
    """Of sliding layers."""
    global_head_dim: int
    kv_heads: int
    ffn: int
    """Width of the feed-forward of layers that own their K/V."""
    sliding: tuple[bool, ...]
    """One entry a layer: True = sliding window, False = global."""
    window: int
    vocab: int
    global_kv_heads: int | None = None
    """None: as `kv_heads`. When set, the file stores one count a layer."""
    shared: int = 0
    """The last `shared` layers read the K/V of an earlier layer."""
    double_wide: bool = False
    """Sharing layers have twice the feed-forward width; the file then stores one width a layer."""
    ple: int = 0
    """Width of the per-layer embedding; 0 = none."""
    v_is_k: bool = False
    """Global layers have no `attn_v`: V is K before its norm and rotation."""
    layer_scale: bool = True
    tied: bool = True
    context: int = 131072
    softcap: float | None = 30.0
    eps: float = 1e-6
    theta: float = 1e6
    theta_sliding: float = 1e4
    rotary_fraction: float = 0.25
    """Share of a global head's dimensions that rotate; the rest get a frequency factor of 1e30."""

    @property
    def layers(self) -> int:
        return len(self.sliding)

    @property
    def owners(self) -> int:
        """Number of layers that own their K/V."""
        return self.layers - self.shared

    @property
    def llamacpp_runs(self) -> bool:
        """libllama shares K/V of the last two owning layers only; they must be sliding, then global."""
        return True in self.sliding and (
            self.shared == 0 or self.sliding[: self.owners][-2:] == (True, False)
        )

    def layer_ffn(self, layer: int) -> int:
        return self.ffn * 2 if self.double_wide and layer >= self.owners else self.ffn

    def layer_head_dim(self, layer: int) -> int:
        return self.head_dim if self.sliding[layer] else self.global_head_dim

    def layer_kv_heads(self, layer: int) -> int:
        if self.sliding[layer] or self.global_kv_heads is None:
            return self.kv_heads
        return self.global_kv_heads

    def rope_freqs(self) -> list[float]:
        """Divisors of the global layers' rotation frequencies: `[global_head_dim / 2]`."""
        half = self.global_head_dim // 2
        rotating = int(self.global_head_dim * self.rotary_fraction / 2)
        return [1.0] * rotating + [1e30] * (half - rotating)

    def tensors(self) -> Iterator[TensorSpec]:
        w = self.width
        yield TensorSpec("rope_freqs.weight", (self.global_head_dim // 2,), "freqs")
        yield TensorSpec("token_embd.weight", (self.vocab, w), "matrix")
        if self.ple:
            yield TensorSpec("per_layer_token_embd.weight", (self.vocab, self.layers * self.ple), "matrix")
            yield TensorSpec("per_layer_model_proj.weight", (self.layers * self.ple, w), "matrix")
            yield TensorSpec("per_layer_proj_norm.weight", (self.ple,), "norm")
        for layer in range(self.layers):
            yield from self._layer(layer)
        yield TensorSpec("output_norm.weight", (w,), "norm")
        if not self.tied:
            yield TensorSpec("output.weight", (self.vocab, w), "matrix")

    def _layer(self, layer: int) -> Iterator[TensorSpec]:
        w, f, d = self.width, self.layer_ffn(layer), self.layer_head_dim(layer)
        b, kv = f"blk.{layer}.", self.layer_kv_heads(layer) * d
        yield TensorSpec(b + "attn_norm.weight", (w,), "norm")
        yield TensorSpec(b + "attn_q.weight", (self.heads * d, w), "matrix")
        yield TensorSpec(b + "attn_q_norm.weight", (d,), "norm")
        if layer < self.owners:
            yield TensorSpec(b + "attn_k.weight", (kv, w), "matrix")
            yield TensorSpec(b + "attn_k_norm.weight", (d,), "norm")
            if self.sliding[layer] or not self.v_is_k:
                yield TensorSpec(b + "attn_v.weight", (kv, w), "matrix")
        yield TensorSpec(b + "attn_output.weight", (w, self.heads * d), "matrix")
        yield TensorSpec(b + "post_attention_norm.weight", (w,), "norm")
        yield TensorSpec(b + "ffn_norm.weight", (w,), "norm")
        yield TensorSpec(b + "ffn_gate.weight", (f, w), "matrix")
        yield TensorSpec(b + "ffn_up.weight", (f, w), "matrix")
        yield TensorSpec(b + "ffn_down.weight", (w, f), "matrix")
        yield TensorSpec(b + "post_ffw_norm.weight", (w,), "norm")
        if self.ple:
            yield TensorSpec(b + "inp_gate.weight", (self.ple, w), "matrix")
            yield TensorSpec(b + "proj.weight", (w, self.ple), "matrix")
            yield TensorSpec(b + "post_norm.weight", (w,), "norm")
        if self.layer_scale:
            yield TensorSpec(b + "layer_output_scale.weight", (1,), "scale")


@dataclass(frozen=True)
class ConformerShape:
    """Audio encoder `gemma4a` (E2B, E4B)."""

    width: int
    layers: int
    heads: int
    text_width: int
    """Width that the projector writes; what the file's `projection_dim` key also says."""
    channels: tuple[int, int] = (128, 32)
    output: int = 1536
    kernel: int = 5
    mel_bins: int = 128
    clamps: bool = True
    eps: float = 1e-6
    projector = "gemma4a"

    @property
    def ffn(self) -> int:
        return 4 * self.width

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    def tensors(self) -> Iterator[TensorSpec]:
        c0, c1 = self.channels
        # Two convolutions of stride 2 leave a quarter of the mel bins, each with c1 channels.
        flat = self.mel_bins // 4 * c1
        yield TensorSpec("a.conv1d.0.weight", (c0, 1, 3, 3), "conv")
        yield TensorSpec("a.conv1d.0.norm.weight", (c0,), "norm")
        yield TensorSpec("a.conv1d.1.weight", (c1, c0, 3, 3), "conv")
        yield TensorSpec("a.conv1d.1.norm.weight", (c1,), "norm")
        yield TensorSpec("a.input_projection.weight", (self.width, flat), "matrix")
        for layer in range(self.layers):
            yield from self._layer(layer)
        yield TensorSpec("a.pre_encode.out.weight", (self.output, self.width), "matrix")
        yield TensorSpec("a.pre_encode.out.bias", (self.output,), "bias")
        yield TensorSpec("mm.a.input_projection.weight", (self.text_width, self.output), "matrix")

    def _layer(self, layer: int) -> Iterator[TensorSpec]:
        w, b = self.width, f"a.blk.{layer}."
        norms = (
            "ffn_norm", "ffn_post_norm", "attn_pre_norm", "attn_post_norm", "conv_norm", "norm_conv",
            "ffn_norm_1", "ffn_post_norm_1", "ln2",
        )  # fmt: skip
        for name in norms:
            yield TensorSpec(f"{b}{name}.weight", (w,), "norm")
        linears = {
            "ffn_up": (self.ffn, w), "ffn_down": (w, self.ffn),
            "attn_q": (w, w), "attn_k": (w, w), "attn_v": (w, w), "attn_out": (w, w),
            "conv_pw1": (2 * w, w), "conv_pw2": (w, w),
            "ffn_up_1": (self.ffn, w), "ffn_down_1": (w, self.ffn),
        }  # fmt: skip
        for name, shape in linears.items():
            yield TensorSpec(f"{b}{name}.weight", shape, "matrix")
            if self.clamps:
                for field in CLAMP_FIELDS:
                    yield TensorSpec(f"{b}{name}.{field}", (1,), "clamp")
        yield TensorSpec(b + "attn_k_rel.weight", (w, w), "matrix")
        yield TensorSpec(b + "per_dim_scale.weight", (self.head_dim,), "scale")
        yield TensorSpec(b + "conv_dw.weight", (w, self.kernel), "conv")


@dataclass(frozen=True)
class RawAudioShape:
    """Encoder-free audio input `gemma4ua` (12B): one frame of raw samples is one token."""

    text_width: int
    frame: int = 640
    eps: float = 1e-6
    projector = "gemma4ua"

    def tensors(self) -> Iterator[TensorSpec]:
        yield TensorSpec("mm.a.input_projection.weight", (self.text_width, self.frame), "matrix")


AudioShape = ConformerShape | RawAudioShape


@dataclass(frozen=True)
class VisionShape:
    """Vision tower `gemma4v` as public mmproj files hold it beside the audio encoder."""

    width: int
    layers: int
    heads: int
    ffn: int
    text_width: int
    patch: int = 16
    positions: int = 10240
    eps: float = 1e-6
    projector = "gemma4v"

    def tensors(self) -> Iterator[TensorSpec]:
        w, d = self.width, self.width // self.heads
        yield TensorSpec("v.patch_embd.weight", (w, 3, self.patch, self.patch), "conv")
        yield TensorSpec("v.position_embd.weight", (2, self.positions, w), "matrix")
        for layer in range(self.layers):
            b = f"v.blk.{layer}."
            for name in ("ln1", "attn_post_norm", "ln2", "ffn_post_norm"):
                yield TensorSpec(f"{b}{name}.weight", (w,), "norm")
            for name in ("attn_q_norm", "attn_k_norm"):
                yield TensorSpec(f"{b}{name}.weight", (d,), "norm")
            for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
                yield TensorSpec(f"{b}{name}.weight", (w, w), "matrix")
            yield TensorSpec(b + "ffn_gate.weight", (self.ffn, w), "matrix")
            yield TensorSpec(b + "ffn_up.weight", (self.ffn, w), "matrix")
            yield TensorSpec(b + "ffn_down.weight", (w, self.ffn), "matrix")
        yield TensorSpec("mm.input_projection.weight", (self.text_width, w), "matrix")
