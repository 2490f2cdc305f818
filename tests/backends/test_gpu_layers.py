"""--gpu-layers: what it takes, where it may be said, and that it means nothing on the CPU.

How many layers a device holds is counted in native/tests/test_placement.cpp; that layers on either side
compute the same is tested in tests/engine/test_goldens.py, on a device.
"""

from __future__ import annotations

import pytest

from gemma_audio_cli.config import layers
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.errors import GemmaAudioError, UsageError
from gemma_audio_cli.models import resolve
from gemma_audio_cli.models.resolve import demo_sample


@pytest.mark.parametrize(("text", "number"), [("auto", None), ("Auto", None), ("7", 7)])
def test_a_number_or_auto(text, number):
    assert layers(text, "--gpu-layers") == number


@pytest.mark.parametrize("text", ["-1", "all", "1.5", "", "٣", "1" * 9])
def test_anything_else_is_a_mistake(text):
    with pytest.raises(UsageError, match="--gpu-layers takes auto or a number"):
        layers(text, "--gpu-layers")


def test_on_the_cpu_it_means_nothing():
    pair = resolve("demo", None)
    for number in (None, 0, 3, 999):
        with Engine(pair.text, pair.mmproj, EngineOptions(device="CPU", gpu_layers=number)) as engine:
            assert engine.info.n_gpu_layers == engine.info.n_layer + 1


def test_a_negative_number_is_refused():
    pair = resolve("demo", None)
    with pytest.raises(GemmaAudioError, match="n_gpu_layers is -2"):
        Engine(pair.text, pair.mmproj, EngineOptions(gpu_layers=-2))


def test_flag_environment_and_file(cli, environment):
    folder = environment["GEMMA_AUDIO_CONFIG_DIR"]
    assert cli("config", "set", "gpu_layers", "12").code == 0
    assert cli("transcribe", "-q", "-m", "demo", demo_sample()).code == 0
    with open(f"{folder}/config.toml", "w") as file:
        file.write("gpu_layers = 7\n")
    assert cli("transcribe", "-q", "-m", "demo", demo_sample()).code == 0
    some = cli("transcribe", "-q", "-m", "demo", demo_sample(), env={"GEMMA_AUDIO_GPU_LAYERS": "some"})
    assert some.code == 2
    assert "GEMMA_AUDIO_GPU_LAYERS takes auto or a number of layers, not 'some'" in some.err
    reported = cli("ask", "-q", "--gpu-layers", "many", "What?", demo_sample())
    assert (reported.code, reported.out) == (2, "")
    assert reported.err.count("\n") == 1
