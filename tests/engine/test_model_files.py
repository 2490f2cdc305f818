"""What the model scripts write: the same bytes for a seed, sizes and types as public files, clear errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from oracles.apart import LlamaCpp, quantise

from gguf_format import RawAudioShape, TensorSpec, encode, storage_type, synthetic_vocab
from gguf_format.vocab import VocabError, from_checkpoint, to_tokenizer_json
from make_random_model import FULL_VOCAB, TEXT_SHAPES, audio_shape, make_pair

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def count(shapes: list[tuple[int, ...]]) -> float:
    """Billions of values."""
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes) / 1e9


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = make_pair("tiny", "q4_0", "bf16", 3, tmp_path / "a")
    again = make_pair("tiny", "q4_0", "bf16", 3, tmp_path / "b")
    other = make_pair("tiny", "q4_0", "bf16", 4, tmp_path / "c")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    assert first[0].read_bytes() != other[0].read_bytes()


@pytest.mark.parametrize(
    ("size", "text", "audio"), [("e2b", 4.6, 0.30), ("e4b", 7.5, 0.30), ("12b", 11.9, 0.002)]
)
def test_sizes_are_those_of_the_released_models(size: str, text: float, audio: float) -> None:
    shape = TEXT_SHAPES[size]
    assert count([spec.shape for spec in shape.tensors()]) == pytest.approx(text, rel=0.01)
    encoder = [spec.shape for spec in audio_shape(size, shape.width).tensors()]
    assert count(encoder) == pytest.approx(audio, rel=0.25)


def test_norms_scalars_and_kernels_stay_float32_and_odd_rows_float16() -> None:
    f32, f16, q4 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q4_0
    expected = {
        TensorSpec("blk.0.attn_q.weight", (64, 64), "matrix"): q4,
        TensorSpec("blk.0.attn_q.weight", (64, 40), "matrix"): f16,
        TensorSpec("blk.0.attn_norm.weight", (64,), "norm"): f32,
        TensorSpec("a.blk.0.attn_q.input_max", (1,), "clamp"): f32,
        TensorSpec("a.blk.0.conv_dw.weight", (64, 5), "conv"): f32,
        TensorSpec("a.input_projection.weight", (64, 128), "matrix"): f32,
    }
    assert {spec: storage_type(spec, "q4_0") for spec in expected} == expected


def types_of(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(path).tensors}


@pytest.mark.parametrize("size", ["tiny", "blocks"])
@pytest.mark.parametrize("kind", ["q4_0", "q6_k"])
def test_quantised_files_have_the_types_that_libllama_deals_out(kind: str, size: str, tmp_path: Path) -> None:
    """Tables in Q6_K, or Q8_0 where rows are too short; per_layer_model_proj as the converter left it."""
    source, _ = make_pair(size, "bf16", "bf16", 1, tmp_path)
    ours, _ = make_pair(size, kind, "bf16", 1, tmp_path)
    quantise(source, tmp_path / "theirs.gguf", kind.upper())
    types = types_of(ours)
    assert types == types_of(tmp_path / "theirs.gguf")
    assert types["per_layer_token_embd.weight"] == "Q6_K"
    assert types["per_layer_model_proj.weight"] == "BF16"
    assert types["token_embd.weight"] == ("Q8_0" if size == "tiny" else "Q6_K")


def test_q6_k_is_written_as_libllama_reads_it() -> None:
    """Values come back within a step of their group of 16; zeros do not disturb."""
    values = np.random.default_rng(2).standard_normal((300, 256)).astype(np.float32)
    values[3] = 0
    values[4, :16] = 0
    made = encode(values, GGMLQuantizationType.Q6_K)
    assert made.shape == (300, 210)
    read = dequantize(made, GGMLQuantizationType.Q6_K)
    assert np.array_equal(read[3], values[3])
    assert np.array_equal(read[4, :16], values[4, :16])
    error = np.abs(read - values).reshape(300, 16, 16).max(-1)
    # The largest is -32 steps, so a value as large with the other sign is a step too far; scales are rounded.
    assert (error <= np.abs(values).reshape(300, 16, 16).max(-1) / 32 * 1.25).all()
    assert np.sqrt(np.mean((read - values) ** 2)) < 0.02


def test_full_vocabulary_has_gemma4_ids() -> None:
    vocab = synthetic_vocab(FULL_VOCAB)
    assert len(set(vocab.tokens)) == FULL_VOCAB
    assert [vocab.id_of(t) for t in ("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>")] == [0, 1, 2, 105, 106]
    assert [vocab.id_of(t) for t in ("<|audio>", "<|audio|>", "<audio|>")] == [256000, 258881, 258883]


@pytest.mark.parametrize("vision", [False, True])
def test_llamacpp_loads_and_runs_the_pair(vision: bool, tmp_path: Path) -> None:
    text, mmproj = make_pair("tiny", "q4_0", "bf16", 1, tmp_path, vision=vision)
    with LlamaCpp(text, mmproj) as ref:
        audio = ref.encode_audio(np.zeros(16000, dtype=np.float32))
        assert audio.shape == (25, TEXT_SHAPES["tiny"].width)
        tokens = ref.greedy(ref.prompt("Transcribe.", audio), 24)
    assert len(set(tokens)) > 3  # a random model, but not a stuck one


def test_vision_tower_is_added_beside_the_same_audio_encoder(tmp_path: Path) -> None:
    plain = GGUFReader(make_pair("tiny", "q4_0", "f16", 1, tmp_path / "a")[1])
    both = GGUFReader(make_pair("tiny", "q4_0", "f16", 1, tmp_path / "b", vision=True)[1])
    tensors = {t.name: t for t in both.tensors}
    assert any(name.startswith("v.blk.") for name in tensors)
    for tensor in plain.tensors:
        assert np.array_equal(tensor.data, tensors[tensor.name].data)


def test_12b_has_no_conformer() -> None:
    assert isinstance(audio_shape("12b", 3840), RawAudioShape)


def test_tokenizer_survives_a_checkpoint(tmp_path: Path) -> None:
    vocab = synthetic_vocab(512)
    (tmp_path / "tokenizer.json").write_text(json.dumps(to_tokenizer_json(vocab)), encoding="utf-8")
    read = from_checkpoint(tmp_path)
    assert (read.tokens, read.merges, read.special) == (vocab.tokens, vocab.merges, vocab.special)
    # `<unk>` is a control token in checkpoints.
    assert sum(a != b for a, b in zip(read.types, vocab.types, strict=True)) <= 1


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram", "vocab": []}}', encoding="utf-8")
    with pytest.raises(VocabError, match="BPE"):
        from_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "config.json"),
        ({"config.json": "nonsense"}, "not valid JSON"),
        ({"config.json": '{"model_type": "llama"}'}, "'llama' is not gemma4"),
        ({"config.json": '{"model_type": "gemma4"}'}, "model.safetensors"),
        (
            {"config.json": '{"model_type": "gemma4"}', "model.safetensors": "x" * 64},
            "not a safetensors file",
        ),
        (
            {"config.json": '{"model_type": "gemma4"}', "model.safetensors": "\x02" + "\0" * 7 + "{}"},
            "tokenizer.json is missing",
        ),
    ],
)
def test_export_says_what_is_wrong_in_one_line(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    command = [sys.executable, str(SCRIPTS / "export_gguf.py"), str(tmp_path), "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
