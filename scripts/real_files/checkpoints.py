"""Small random Gemma 4 checkpoints with the released vocabulary, as `transformers` writes them.

    SHAPES["e2b"] ──► make ──► a folder with config, weights, tokenizer and template, as the hub has it

Rows are multiples of 256 values, so that the quantiser gives every type it is asked for; everything else is
as small as it can be. The tables have 262,144 rows, which is most of the size: 1.4 GB for `e2b`, 0.3 GB for
`12b`. Needs torch and transformers.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import torch
from oracles import hf
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    Gemma4AudioFeatureExtractor,
    Gemma4Processor,
    Gemma4UnifiedAudioFeatureExtractor,
    Gemma4UnifiedProcessor,
)

from gguf_format.checkpoint import source_name
from gguf_format.reader import from_gguf

from .source import LlamaSource

S, G = hf.S, hf.G
PLACEHOLDERS = (258881, 258880, 258884)
"""`<|audio|>`, `<|image|>`, `<|video|>` of the released vocabulary."""
SUPPRESSED = [258882, 258883]
"""`<image|>`, `<audio|>`: an example of what generation settings may keep from being written."""
MARKS = {
    "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
    "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>",
    "video_token": "<|video|>", "sot_token": "<|turn>", "eot_token": "<turn|>", "think_token": "<|think|>",
    "std_token": "<|tool>", "etd_token": "<tool|>",
}  # fmt: skip
"""Special tokens beyond the usual roles, by names for the tokenizer's settings."""
SAMPLING = {"do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95}

_TEXT: dict[str, Any] = {
    "vocab_size": 262144, "vocab_size_per_layer_input": 262144, "hidden_size": 256, "intermediate_size": 256,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 64, "global_head_dim": 128,
    "sliding_window": 16, "final_logit_softcapping": 30.0, "max_position_embeddings": 4096,
}  # fmt: skip

SHAPES: dict[str, hf.Case] = {
    # Per-layer embeddings, sharing with double width, a conformer with clamps, a vision tower.
    "e2b": hf.Case(
        _TEXT | {"layer_types": [S, G, S, G], "num_kv_shared_layers": 2, "use_double_wide_mlp": True,
                 "hidden_size_per_layer_input": 256},
        {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "output_proj_dims": 256,
         "subsampling_conv_channels": [128, 32]},
        vision={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 2, "head_dim": 32, "position_embedding_size": 64,
                "use_clipped_linears": True},
        placeholders=PLACEHOLDERS,
    ),
    # No encoder for sound and none for images, V = K in global layers, tokens that are never written.
    "12b": hf.Case(
        _TEXT | {"layer_types": [S, S, G], "num_key_value_heads": 2, "attention_k_eq_v": True,
                 "num_global_key_value_heads": 1, "hidden_size_per_layer_input": 0},
        unified=True,
        vision={"mm_embed_dim": 256, "mm_posemb_size": 64, "output_proj_dims": 256},
        placeholders=PLACEHOLDERS,
    ),
}  # fmt: skip


def make(size: str, source: LlamaSource, folder: Path, seed: int = 1) -> hf.Model:
    """Write the checkpoint of a size; the model as it was written, in float32."""
    case = SHAPES[size]
    vocab = from_gguf(source.vocabulary)
    template = source.templates()["google-gemma-4-31B-it"]
    if not case.unified:
        template = template.replace(_EMPTY_THOUGHT, "")
    model = hf.build(case, seed)
    hf.save(model, folder, replace(vocab, chat_template=template))
    roles = {f"{role}_token": f"<{role}>" for role in vocab.special}
    _write(folder / "tokenizer_config.json", roles | {"extra_special_tokens": MARKS})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["moe_intermediate_size"] = None  # the converter looks for it
    _write(folder / "config.json", config)
    settings = {"eos_token_id": [1, 106, 50], "bos_token_id": 2, "pad_token_id": 0, **SAMPLING}
    if case.unified:
        settings["suppress_tokens"] = SUPPRESSED
    _write(folder / "generation_config.json", settings)
    # The converter reads these of a vision tower.
    _write(folder / "preprocessor_config.json", {"image_mean": [0.0] * 3, "image_std": [1.0] * 3})
    if case.text.get("num_kv_shared_layers"):
        _add_unused_weights(folder / "model.safetensors", case)
    return model


_EMPTY_THOUGHT = "{{- '<|channel>thought\\n<channel|>' -}}"
"""What the templates of 12B, 26B and 31B end in, and those of E2B and E4B do not."""


def _add_unused_weights(path: Path, case: hf.Case) -> None:
    """K/V weights in the layers that share, as the released E2B and E4B have them; nobody reads them."""
    tensors = load_file(path)
    kinds = case.text["layer_types"]
    generator = torch.Generator().manual_seed(5)
    for layer in range(len(kinds) - case.text["num_kv_shared_layers"], len(kinds)):
        dim = case.text["head_dim" if kinds[layer] == S else "global_head_dim"]
        name = f"model.language_model.layers.{layer}.self_attn."
        shape = (dim * case.text["num_key_value_heads"], case.text["hidden_size"])
        for projection in ("k_proj", "v_proj"):
            tensors[f"{name}{projection}.weight"] = torch.randn(shape, generator=generator)
        tensors[f"{name}k_norm.weight"] = torch.ones(dim)
    save_file(tensors, path.with_name("new"), metadata={"format": "pt"})
    shutil.move(path.with_name("new"), path)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def load(size: str, folder: Path) -> hf.Model:
    """The checkpoint of `make`, in float32."""
    case = SHAPES[size]
    kind = hf.Gemma4UnifiedForConditionalGeneration if case.unified else hf.Gemma4ForConditionalGeneration
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def tokenizer(folder: Path) -> Any:
    """The checkpoint's tokenizer and template, as transformers has them."""
    made = AutoTokenizer.from_pretrained(folder)
    made.chat_template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    return made


def audio_text(size: str, samples: hf.FloatArray) -> str:
    """What transformers' processor puts into a prompt for a clip.

    The whole processor cannot be made: for its images it needs packages that nothing else here does.
    """
    unified = SHAPES[size].unified
    kind: Any = Gemma4UnifiedProcessor if unified else Gemma4Processor
    extractor: Any = Gemma4UnifiedAudioFeatureExtractor() if unified else Gemma4AudioFeatureExtractor()
    batch = extractor([samples], return_tensors="pt")
    return str(kind.replace_audio_token(SimpleNamespace(**MARKS), batch, 0))


@torch.no_grad()
def put(model: hf.Model, tensors: dict[str, Any], rows: dict[str, list[int]]) -> None:
    """Replace the model's matrices by those of a GGUF file, decoded (`rows`: some rows of a table only).

    What no file quantises is left as it is; a fused matrix is taken apart.
    """
    state = model.state_dict()
    for name, values in tensors.items():
        if name.startswith(("v.", "mm.input", "rope_freqs")) or values.ndim != 2 or ".conv_dw." in name:
            continue
        if not name.endswith("attn_qkv.weight"):
            parts = [(name, values)]
        else:
            layer = name.removesuffix("attn_qkv.weight")
            n = len(state["model." + source_name(layer + "attn_q.weight")])
            kv = (len(values) - n) // 2
            names = [layer + what for what in ("attn_q.weight", "attn_k.weight", "attn_v.weight")]
            pieces = (values[:n], values[n : n + kv], values[n + kv :])
            parts = list(zip(names, pieces, strict=True))
        for part, data in parts:
            target = state.get("model." + source_name(part))
            if target is not None:  # None: K or V of a layer that shares them
                new = torch.from_numpy(data)
                if name in rows:
                    target[torch.tensor(rows[name])] = new
                else:
                    target.copy_(new.reshape(target.shape))
