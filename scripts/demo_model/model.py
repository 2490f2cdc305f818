"""The demo model's network: transformers' own Gemma 4 modules, run the quick way for training on a CPU.

    log-mel [B, T, 128] ─ front ─► [B, T/4, width] ─ conformer ─► [B, T/4, out] ─ embed_audio ─► tokens [B,
    N, width] packed prompts [S, R] ─ layers that own K/V (all rows) ─► layers that share K/V (answer
    rows only) ─► logits

Three things differ from `Gemma4ForConditionalGeneration.forward`, none of them in what is computed:

* The two strided convolutions are trained 32 channels wide and channels-last. Gemma's first convolution has
  128; `write_front` tiles the trained channels four times, which a LayerNorm over channels does not notice.
* One clip answers several prompts at once: they share what they begin with and do not see each other.
* Layers that share K/V write none, so rows whose logits nobody reads skip them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    Gemma4AudioConfig,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.gemma4.modeling_gemma4 import Gemma4ClippableLinear, Gemma4RMSNorm

from . import vocabulary

FRONT_CHANNELS = 32
_GEMMA_CHANNELS = 128


def make_config(
    tokenizer: PreTrainedTokenizerFast, audio_layers: int = 4, audio_width: int = 128
) -> Gemma4Config:
    """About 3.5 M parameters; every matrix's input width is a multiple of 32, so that it can be stored as
    q8_0."""
    audio = Gemma4AudioConfig(
        hidden_size=audio_width,
        num_hidden_layers=audio_layers,
        num_attention_heads=4,
        subsampling_conv_channels=[_GEMMA_CHANNELS, 32],
        output_proj_dims=128,
    )
    text = Gemma4TextConfig(
        vocab_size=len(tokenizer),
        vocab_size_per_layer_input=len(tokenizer),
        hidden_size=128,
        hidden_size_per_layer_input=32,
        intermediate_size=256,
        use_double_wide_mlp=True,
        num_hidden_layers=5,
        num_kv_shared_layers=2,
        # llama.cpp shares the K/V of the last two owning layers and wants them to be sliding, then full.
        layer_types=["sliding_attention"] * 2 + ["full_attention", "sliding_attention", "full_attention"],
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        global_head_dim=64,
        sliding_window=512,
        final_logit_softcapping=30.0,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    ids = tokenizer.convert_tokens_to_ids
    return Gemma4Config(
        text_config=text,
        audio_config=audio,
        vision_config=None,
        audio_token_id=ids(vocabulary.AUDIO),
        boa_token_id=ids(vocabulary.AUDIO_BEGIN),
        eoa_token_index=ids(vocabulary.AUDIO_END),
        boi_token_id=ids("<|image>"),
        image_token_id=ids("<|image|>"),
        eoi_token_id=ids("<image|>"),
        video_token_id=len(tokenizer) + 1,
    )


class Front(nn.Module):
    """Subsampling by two 3×3 convolutions of stride 2, each with LayerNorm over channels and ReLU: ``[B, T,
    128]`` → ``[B, T/4, 32 frequencies · 32 channels]``, channel fastest."""

    def __init__(self, channels: int = FRONT_CHANNELS, out_channels: int = 32, eps: float = 1e-6) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False)
        self.norm0 = nn.LayerNorm(channels, eps=eps, bias=False)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.LayerNorm(out_channels, eps=eps, bias=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            # Log-mel is -6.9 in digital silence. Kernels that sum to nearly zero see changes, not that floor;
            # the small rest keeps LayerNorm from dividing by nothing where there is no change at all.
            self.conv0.weight.sub_(self.conv0.weight.mean(dim=(2, 3), keepdim=True))
            self.conv0.weight.add_(torch.randn(channels, 1, 1, 1) * 0.1 / 9)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = (features * mask[:, :, None])[:, None].contiguous(memory_format=torch.channels_last)
        for conv, norm in ((self.conv0, self.norm0), (self.conv1, self.norm1)):
            # [B, C, T, F] in channels-last order, seen as [B, T, F, C] without a copy.
            hidden = F.relu(norm(conv(hidden).permute(0, 2, 3, 1)))
            mask = mask[:, ::2]
            if conv is self.conv0:
                hidden = (hidden * mask[:, :, None, None]).permute(0, 3, 1, 2)
        return hidden.flatten(2), mask


@dataclass
class PackedPrompts:
    """Prompts about a batch of clips, each row ``[what is before a clip, the clip | prompt and answer |
    prompt and answer …]``.

    ``ids`` ``[S, R]`` (0 at audio positions and padding), ``positions`` ``[S, R]``, ``segments`` ``[S, R]``
    (0 up to the clip's end, 1… prompts, -1 padding), ``audio`` ``[S, R]`` which of the clip's audio tokens
    lies there (-1 none), ``clips`` ``[S]`` whose, ``rows`` and ``targets`` ``[S, L]``: the columns answers
    are predicted from, and what (-100: nothing).
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    audio: torch.Tensor
    clips: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor


class DemoModel(nn.Module):
    """Gemma 4 with a narrow front and a CTC head over whole words that exists in training only."""

    def __init__(self, config: Gemma4Config, n_words: int) -> None:
        super().__init__()
        self.gemma = Gemma4ForConditionalGeneration(config)
        # For rows this short and heads this small, plain matrix products beat torch's fused attention on a
        # CPU.
        self.gemma.set_attn_implementation("eager")
        self.tower = self.gemma.model.audio_tower
        self.text = self.gemma.model.language_model
        self.front = Front(out_channels=config.audio_config.subsampling_conv_channels[1])
        self.ctc = nn.Linear(config.text_config.hidden_size, n_words + 1)
        self._initialise()
        # The convolutions are trained in `front`; these are written at the end.
        self.tower.subsample_conv_projection.layer0.requires_grad_(False)
        self.tower.subsample_conv_projection.layer1.requires_grad_(False)
        self.set_clamps_active(False)

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.gemma.modules():
            if isinstance(module, nn.Linear) and module is not self.gemma.lm_head:
                nn.init.xavier_uniform_(module.weight)
        nn.init.normal_(self.text.embed_tokens.weight, std=0.04)
        nn.init.normal_(self.text.embed_tokens_per_layer.weight, std=0.05)
        for layer in self.text.layers:
            # Attention is not scaled by 1/√d in Gemma 4; without this it starts nearly one-hot.
            layer.self_attn.q_norm.weight.fill_(1.5 / math.sqrt(layer.self_attn.head_dim))

    def set_clamps_active(self, active: bool) -> None:
        """Switches the clamps of the conformer's linear layers; infinite ones only cost time while
        training."""
        for module in self.tower.modules():
            if isinstance(module, Gemma4ClippableLinear):
                module.use_clipped_linears = active

    def encode(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``[B, T, 128]`` and mask → audio tokens ``[B, N, width]`` in the text model's space, and which
        are valid."""
        hidden, mask = self.front(features, mask)
        hidden = self.tower.subsample_conv_projection.input_proj_linear(hidden)
        positions = self.tower.rel_pos_enc(hidden)
        attention_mask = self._blocked_mask(mask)
        for layer in self.tower.layers:
            hidden = layer(hidden, attention_mask=attention_mask, position_embeddings=positions)
        return self.gemma.model.embed_audio(self.tower.output_proj(hidden)), mask

    def _blocked_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Where attention is *not* allowed, ``[B, 1, blocks, chunk, context]``: outside of the last 12
        valid frames."""
        config = self.tower.config
        chunk, past = config.attention_chunk_size, config.attention_context_left - 1
        blocks = -(-mask.shape[1] // chunk)
        query = torch.arange(blocks)[:, None, None] * chunk + torch.arange(chunk)[None, :, None]
        key = torch.arange(blocks)[:, None, None] * chunk + torch.arange(chunk + past)[None, None, :] - past
        near = (key <= query) & (query - key < past) & (key >= 0) & (key < mask.shape[1])
        valid = mask[:, key.clamp(0, mask.shape[1] - 1)]
        return ~(near & valid)[:, None]

    def word_log_probs(self, tokens: torch.Tensor) -> torch.Tensor:
        """CTC log-probabilities ``[B, N, words + 1]``; the blank is the last class."""
        return F.log_softmax(self.ctc(tokens), dim=-1)

    def decode(self, tokens: torch.Tensor, prompts: PackedPrompts) -> torch.Tensor:
        """Logits ``[S, L, vocabulary]`` of the columns of ``prompts`` that predict an answer about audio
        ``tokens`` ``[B, N, width]``."""
        embeds = self.text.embed_tokens(prompts.ids)
        if tokens.shape[1]:
            places = prompts.clips[:, None] * tokens.shape[1] + prompts.audio.clamp(min=0)
            heard = tokens.flatten(0, 1).index_select(0, places.flatten()).view_as(embeds)
            embeds = torch.where(prompts.audio[:, :, None] >= 0, heard, embeds)
        per_layer = self.text.get_per_layer_inputs(prompts.ids)
        per_layer = self.text.project_per_layer_inputs(embeds, per_layer)
        rotary = {
            kind: self.text.rotary_emb(embeds, prompts.positions, kind)
            for kind in self.text.unique_layer_types
        }
        mask = _packed_mask(prompts.segments)

        shared: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        hidden = embeds
        first_sharing = self.text.first_kv_shared_layer_idx
        for index, layer in enumerate(self.text.layers):
            if index == first_sharing:
                rows = prompts.rows
                hidden = _take_rows(hidden, rows)
                per_layer = _take_rows(per_layer, rows)
                rotary = {
                    kind: (_take_rows(cos, rows), _take_rows(sin, rows))
                    for kind, (cos, sin) in rotary.items()
                }
                mask = _take_rows(mask[:, 0], rows)[:, None]
            hidden = layer(
                hidden,
                per_layer[:, :, index],
                shared_kv_states=shared,
                position_embeddings=rotary[self.text.config.layer_types[index]],
                attention_mask=mask,
            )
        cap = self.text.config.final_logit_softcapping
        return cap * torch.tanh(self.gemma.lm_head(self.text.norm(hidden)) / cap)

    @torch.no_grad()
    def write_front(self) -> None:
        """Writes the trained convolutions into Gemma's, 128 channels wide.

        Four copies of each channel have the mean and variance of one, so LayerNorm gives the same values;
        the second convolution takes a quarter from each copy.
        """
        copies = _GEMMA_CHANNELS // self.front.conv0.out_channels
        layer0, layer1 = (
            self.tower.subsample_conv_projection.layer0,
            self.tower.subsample_conv_projection.layer1,
        )
        layer0.conv.weight.copy_(self.front.conv0.weight.repeat(copies, 1, 1, 1))
        layer0.norm.weight.copy_(self.front.norm0.weight.repeat(copies))
        layer1.conv.weight.copy_(self.front.conv1.weight.repeat(1, copies, 1, 1) / copies)
        layer1.norm.weight.copy_(self.front.norm1.weight)


def _take_rows(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``values[b, rows[b, l]]`` for ``values`` ``[B, R, …]`` and ``rows`` ``[B, L]``."""
    return values[torch.arange(len(rows))[:, None], rows]


def _packed_mask(segments: torch.Tensor) -> torch.Tensor:
    """Additive mask ``[B, 1, R, R]``: a row sees earlier rows of the prefix and of its own segment, and
    always itself."""
    query, key = segments[:, :, None], segments[:, None, :]
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    allowed = ((key == 0) | (key == query)) & (key >= 0) & causal
    allowed |= torch.eye(length, dtype=torch.bool)
    return torch.zeros(allowed.shape).masked_fill_(~allowed, -1e9)[:, None]


def use_fast_norms() -> None:
    """Runs Gemma's RMSNorm as torch's fused operator for the rest of this process (the same function)."""

    def forward(self: Gemma4RMSNorm, hidden_states: torch.Tensor) -> torch.Tensor:
        weight = self.weight if self.with_scale else None
        return F.rms_norm(hidden_states, hidden_states.shape[-1:], weight, self.eps)

    Gemma4RMSNorm.forward = forward  # type: ignore[method-assign]
