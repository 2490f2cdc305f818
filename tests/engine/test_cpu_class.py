"""GEMMA_AUDIO_CPU_CLASS: one model on every class of kernels that this processor has, and on ggml's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles import checks

from gemma_audio_cli.backends.amx import cpu_flags
from gemma_audio_cli.engine._native import cpu_products
from make_random_model import make_pair

TYPES = ("q4_0", "q8_0")
CLASSES = ("avx512", "avxvnni", "avx2")  # the best first
CHILD = """
import json, sys
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine._native import cpu_products
from gemma_audio_cli.engine.structs import EngineOptions, Input, SessionOptions
with Engine(sys.argv[1], None, EngineOptions(threads=2, device="CPU")) as engine:
    session = engine.session(SessionOptions(n_ctx=64, kv_type="f32"))
    tokens, logits = list(range(5, 45)), []
    for first, n in ((0, 1), (1, 3), (4, 36)):
        session.forward([Input(tokens=tokens[first : first + n], n_logits=n)])
        logits += [session.logits(i).tolist() for i in range(n)]
    print(json.dumps({"products": cpu_products(), "buffers": engine.info.buffers, "logits": logits}))
    session.close()
"""


def in_class(name: str, text: Path) -> dict[str, object]:
    environment = {**os.environ, "GEMMA_AUDIO_CPU_CLASS": name}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, text], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    found["logits"] = np.array(found["logits"], np.float64)
    return found


@pytest.fixture(scope="module", params=TYPES)
def text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pair("blocks", request.param, "f32", 3, tmp_path_factory.mktemp(request.param))[0]


def test_every_class_gives_the_same_logits(text: Path) -> None:
    portable = in_class("portable", text)
    assert str(portable["products"]).startswith("portable: q4_0 q8_0")
    present = [name for name in CLASSES if str(in_class(name, text)["products"]).startswith(f"{name}: ")]
    assert not present or cpu_products().startswith(f"{present[0]}: ")
    results = {name: in_class(name, text) for name in present}
    for name, found in results.items():
        assert "left out" not in str(found["products"])
        # With BF16 dot products, AVX-512 rounds rows that meet a BF16 matrix.
        if name != "avx512" or "avx512_bf16" not in cpu_flags():
            assert np.array_equal(found["logits"], results[present[-1]]["logits"])
        # The portable class's attention is ggml's: sums in another order, and other values rounded to 8 bits.
        assert checks.cosines(found["logits"], portable["logits"]).min() >= checks.QUANTISED_COSINE
    ggml = in_class("ggml", text)
    assert ggml["products"] == "ggml"
    assert checks.cosines(ggml["logits"], portable["logits"]).min() >= checks.QUANTISED_COSINE


def test_a_class_that_is_none_is_said_to_be(text: Path) -> None:
    found = in_class("avx3", text)
    assert str(found["products"]).startswith(cpu_products())
    assert str(found["products"]).endswith(
        "; left out: GEMMA_AUDIO_CPU_CLASS is avx3, which is no class of processors"
    )


ENCODER = """
import sys
import numpy as np
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
with Engine(sys.argv[1], sys.argv[2], EngineOptions(threads=1, device="CPU")) as engine:
    audio = engine.audio()
    audio.push(np.random.default_rng(1).standard_normal(16000).astype(np.float32) * 0.1)
    audio.finish()
    np.save(sys.argv[3], audio.read())
    audio.close()
"""


def test_a_class_below_avx512_keeps_the_encoder_from_it_too(tmp_path: Path) -> None:
    """BF16 files: AVX-512 rounds activations to bfloat16, and AVX2 does not."""
    pair = make_pair("blocks", "f32", "bf16", 3, tmp_path)
    found = {}
    for name in ("", "avx512", "avx2"):
        target = tmp_path / f"{name}.npy"
        environment = {**os.environ, "GEMMA_AUDIO_CPU_CLASS": name}
        subprocess.run([sys.executable, "-c", ENCODER, *pair, target], env=environment, check=True)
        found[name] = np.load(target)
    assert np.array_equal(found[""], found["avx512"])
    if "avx512_bf16" not in cpu_flags():  # where it is there, its speed decides whether it is used
        assert np.array_equal(found["avx2"], found["avx512"])
    assert checks.cosines(found["avx2"], found["avx512"]).min() >= 0.999
