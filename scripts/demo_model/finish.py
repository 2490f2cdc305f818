"""From trained weights to a checkpoint: convolutions at Gemma's width, clamps from measured extremes,
files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4ClippableLinear

from .batches import PromptEncoder
from .clips import ClipSource, Mix
from .mel import log_mel
from .model import DemoModel
from .validate import ValidationSet
from .vocabulary import END_OF_TURN, write_tokenizer


@torch.no_grad()
def calibrate_clamps(
    model: DemoModel, source: ClipSource, mix: Mix, clips: int = 384, margin: float = 1.25
) -> int:
    """Sets the conformer's clamps to ``margin`` times the extremes seen on training clips; returns how many
    were set.

    Gemma's own clamps were trained. These bound what the layers have met, so that they hold on real speech.
    """
    rng = np.random.default_rng(2024)
    extremes: dict[Gemma4ClippableLinear, list[float]] = {}

    def watch(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        assert isinstance(module, Gemma4ClippableLinear)
        seen = extremes.setdefault(module, [0.0] * 4)
        for at, value in enumerate((inputs[0].min(), inputs[0].max(), output.min(), output.max())):
            seen[at] = min(seen[at], float(value)) if at % 2 == 0 else max(seen[at], float(value))

    hooks = [
        m.register_forward_hook(watch) for m in model.tower.modules() if isinstance(m, Gemma4ClippableLinear)
    ]
    for _ in range(clips // 16):
        drawn = [source.draw(mix, rng) for _ in range(16)]
        model.encode(*log_mel([clip.samples for clip in drawn], [clip.warp for clip in drawn]))
    for hook in hooks:
        hook.remove()
    for module, seen in extremes.items():
        for name, value in zip(("input_min", "input_max", "output_min", "output_max"), seen, strict=True):
            getattr(module, name).fill_(margin * value)
    return len(extremes)


def finish(
    model: DemoModel,
    encoder: PromptEncoder,
    source: ClipSource,
    mix: Mix,
    validation: ValidationSet,
    out: Path,
) -> None:
    """Calibrates ``model``, writes it to ``out`` and prints its figures without and with clamps."""
    model.eval()
    before = validation.measure(model, encoder)
    count = calibrate_clamps(model, source, mix)
    model.set_clamps_active(True)
    after = validation.measure(model, encoder)
    model.write_front()
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(out)
    stop = encoder.stop[0]
    model.gemma.generation_config = GenerationConfig(
        bos_token_id=2, eos_token_id=[1, stop], pad_token_id=0, do_sample=False
    )
    model.gemma.save_pretrained(out)
    print(f"{count} layers calibrated; end of answer is {END_OF_TURN} ({stop})")
    print(json.dumps({"without clamps": before, "with clamps": after}, indent=1))
