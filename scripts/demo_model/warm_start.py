"""Weights of an exported pair of GGUF files, put back into the network they were trained as.

A finished model can so be trained further. The CTC head, which no file holds, starts anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader

from gguf_format.checkpoint import source_name

from .model import DemoModel

_FRONT = "audio_tower.subsample_conv_projection.layer"


@torch.no_grad()
def read_pair(model: DemoModel, text: Path, mmproj: Path) -> None:
    """Fills ``model`` from both files: the inverse of `finish` and `scripts/export_gguf.py`.

    Raises ValueError where a tensor is missing or has another shape than ``model``.
    """
    stored = {
        source_name(tensor.name): np.asarray(tensor.data, dtype=np.float32)
        for path in (text, mmproj)
        for tensor in GGUFReader(path).tensors
        if tensor.name != "rope_freqs.weight"
    }

    def tensor(name: str) -> torch.Tensor:
        if name not in stored:
            raise ValueError(f"{text.name}, {mmproj.name}: no tensor for {name}")
        return torch.from_numpy(stored[name])

    front = model.front
    for index, (conv, norm) in enumerate(((front.conv0, front.norm0), (front.conv1, front.norm1))):
        channels, inputs = conv.weight.shape[:2]
        # The second convolution sums over the copies of each channel that `write_front` made.
        wide = tensor(f"{_FRONT}{index}.conv.weight")[:channels]
        conv.weight.copy_(wide.unflatten(1, (-1, inputs)).sum(1))
        norm.weight.copy_(tensor(f"{_FRONT}{index}.norm.weight")[:channels])
    for name, parameter in model.gemma.model.named_parameters():
        if name.startswith(_FRONT):
            continue
        values = tensor(name)
        if name.endswith("per_dim_scale"):
            values = torch.log(torch.expm1(values))  # stored after its softplus
        if values.numel() != parameter.numel():
            raise ValueError(f"{name}: {list(values.shape)} in the file, {list(parameter.shape)} here")
        parameter.copy_(values.reshape(parameter.shape))
