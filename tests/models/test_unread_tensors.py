"""Tensors that nobody asked for: what would change the result is refused by name, what real files hold beside
it is left alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, Input, SessionOptions
from gemma_audio_cli.models.inspect import inspect
from gemma_audio_cli.models.resolve import ModelPair
from tests.models.rewrite import Part, rewrite

ONE, WIDTH = (1,), 128
# The tiny model has 8 layers, the last 3 of them without K/V of their own; its encoder has 3.
TEXT: list[tuple[str, tuple[int, ...], str]] = [
    ("blk.0.attn_q.scale", ONE, "scales a matrix once more"),
    ("blk.7.ffn_down.scale", ONE, "scales a matrix once more"),
    ("blk.0.attn_q.input_scale", ONE, "scales the input of a matrix"),
    ("blk.6.attn_k.scale", ONE, "scales a matrix once more"),
    ("output.scale", ONE, "scales a matrix once more"),
    ("token_embd.scale", ONE, "scales a matrix once more"),
    ("per_layer_model_proj.input_scale", ONE, "scales the input of a matrix"),
    ("blk.0.attn_q.bias", (WIDTH,), "not part of"),
    ("blk.0.attn_k_b.weight", (WIDTH, WIDTH), "not part of"),
    ("blk.5.attn_q_gate.weight", (WIDTH, WIDTH), "not part of"),
    ("blk.8.attn_norm.weight", (WIDTH,), "not part of"),
    ("blk.07.attn_norm.weight", (WIDTH,), "not part of"),
    ("token_embd_norm.weight", (WIDTH,), "not part of"),
    ("output.bias", (WIDTH,), "not part of"),
]
AUDIO: list[tuple[str, tuple[int, ...]]] = [
    ("a.blk.0.attn_q.scale", ONE),
    ("a.blk.2.conv_pw1.input_scale", ONE),
    ("a.blk.0.attn_q.bias", (64,)),
    ("a.blk.1.attn_k_rel.input_max", ONE),
    ("a.blk.1.per_dim_k_scale.weight", (16,)),
    ("a.blk.1.mystery.weight", (64, 64)),
    ("a.conv1d.0.bias", (128,)),
    ("a.conv1d.2.weight", (3, 3, 8, 8)),
    ("a.position_embd.weight", (64, 64)),
    ("mm.a.input_projection.scale", ONE),
    ("mm.a.input_projection.bias", (WIDTH,)),
    ("mm.a.soft_emb_norm.weight", (96,)),
]
BESIDE_AUDIO = ("v.mystery.weight", "v.blk.0.attn_q.input_max", "mm.input_projection.bias", "mm.1.weight")


def with_tensors(source: Path, target: Path, *names: tuple[str, tuple[int, ...]]) -> Path:
    """The file with more tensors at its end."""
    more = [Part(name, np.full(shape, 0.5, np.float32), GGMLQuantizationType.F32) for name, shape in names]
    waiting = iter([more])
    return rewrite(source, target, tensors=lambda part: [part, *next(waiting, [])])


def refused(cli, text: Path, mmproj: Path, recording: Path, wrong: Path, *words: str) -> None:
    """One line with the file, the tensor and the reason; `models show` has the same opinion."""
    done = cli("transcribe", "-m", text, "--mmproj", mmproj, recording)
    assert (done.code, done.out) == (3, ""), done.err
    assert len(done.err.splitlines()) == 1, done.err
    (problem,) = inspect(ModelPair(text, mmproj)).problems
    for said in (done.err, problem):
        assert str(wrong) in said
        for word in words:
            assert word in said


@pytest.mark.parametrize(("name", "shape", "reason"), TEXT, ids=[case[0] for case in TEXT])
def test_text_models(cli, tiny_model, recording, tmp_path, name, shape, reason):
    odd = with_tensors(tiny_model.text, tmp_path / "odd.gguf", (name, shape))
    refused(cli, odd, tiny_model.mmproj, recording, odd, f"the tensor {name} ", reason)


@pytest.mark.parametrize(("name", "shape"), AUDIO, ids=[case[0] for case in AUDIO])
def test_projectors(cli, tiny_model, recording, tmp_path, name, shape):
    odd = with_tensors(tiny_model.mmproj, tmp_path / "mmproj-odd.gguf", (name, shape))
    refused(cli, tiny_model.text, odd, recording, odd, f"the tensor {name} ", "not part of")


def heard(text: Path, mmproj: Path) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a clip, and logits behind them."""
    samples = (np.random.default_rng(3).standard_normal(8_000) * 0.1).astype(np.float32)
    with Engine(text, mmproj, EngineOptions(threads=1, device="CPU")) as engine:
        stream = engine.audio()
        stream.push(samples)
        stream.finish()
        embeddings = stream.read()
        session = engine.session(SessionOptions(n_ctx=64))
        session.forward([Input(tokens=[2, 5]), Input(embeddings=embeddings, n_logits=1)])
        return embeddings, session.logits()


def test_what_real_files_hold_beside_it_is_left_alone(tiny_model, tmp_path):
    """K and V of layers that share them, as in released E2B and E4B; anything about images."""
    dims = {5: 32, 6: 32, 7: 64}
    unused = [
        (f"blk.{layer}.{name}.weight", shape)
        for layer, dim in dims.items()
        for name, shape in (
            ("attn_k", (2 * dim, WIDTH)),
            ("attn_v", (2 * dim, WIDTH)),
            ("attn_k_norm", (dim,)),
        )
    ]
    text = with_tensors(tiny_model.text, tmp_path / "text.gguf", *unused)
    mmproj = with_tensors(
        tiny_model.mmproj, tmp_path / "mmproj.gguf", *((name, ONE) for name in BESIDE_AUDIO)
    )
    assert inspect(ModelPair(text, mmproj)).problems == []
    for ours, theirs in zip(heard(text, mmproj), heard(tiny_model.text, tiny_model.mmproj), strict=True):
        assert np.array_equal(ours, theirs)


def test_an_encoder_beside_the_projector_of_raw_sound_is_refused(tmp_path):
    """An encoder-free projector reads none of the encoder's tensors: it would be silently another model."""
    from make_random_model import make_pair

    text, mmproj = make_pair("tiny", "q4_0", "bf16", 1, tmp_path)
    raw = rewrite(
        mmproj,
        tmp_path / "mmproj-raw.gguf",
        {"clip.audio.projector_type": ("gemma4ua", 8)},
        lambda part: [
            part
            if part.name != "mm.a.input_projection.weight"
            else Part(part.name, np.zeros((WIDTH, 640), np.float32), GGMLQuantizationType.F32)
        ],
    )
    (problem,) = inspect(ModelPair(text, raw)).problems
    assert "not part of Gemma 4's audio encoder" in problem
