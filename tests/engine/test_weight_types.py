"""Every weight type that `models show` calls runnable, as libllama's quantiser writes it, beside libllama
itself.

Small files with rows of 256 values, made once; token tables and output in Q6_K where the quantiser puts them
there. Each is run with 1, 2 and 17 rows. `pytest -s` prints the table of figures.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles import checks
from oracles.apart import LlamaCpp, quantise, quantise_projector

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, Generation, Input, SessionOptions
from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models.inspect import NOT_WEIGHTS, inspect
from gemma_audio_cli.models.resolve import ModelPair
from gguf_format import (
    TEXT_ARCH,
    PlannedTensor,
    TensorSpec,
    synthetic_vocab,
    write_file,
    write_text_keys,
    write_vocab,
)
from gguf_format.storage import byte_size
from make_random_model import TEXT_SHAPES, RandomWeights, make_pair

KINDS = sorted(kind.name for kind in GGMLQuantizationType if kind.name not in NOT_WEIGHTS)
SLOW = ("IQ1_M", "IQ1_S", "IQ2_S", "IQ2_XS")
"""libllama's quantiser works out a table of neighbours for each of these first, for 5 to 12 s."""
MARKED = [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in KINDS]
ROWS = (1, 2, 17)
PROJECTOR_COSINE = 0.999
"""Activations are rounded to 8 bits where the type is quantised, and not where it is float32."""
F32_CACHE = SessionOptions(n_ctx=256, kv_type="f32")
Quantised = Callable[[str], tuple[Path, Path, Path]]


@pytest.fixture(scope="session")
def pair(made_once: Callable[..., Path]) -> tuple[Path, Path]:
    """The float32 files: text model, projector."""
    folder = made_once("blocks", lambda folder: make_pair("blocks", "f32", "f32", 11, folder))
    return folder / "blocks-f32.gguf", folder / "mmproj-blocks-f32.gguf"


@pytest.fixture(scope="session")
def in_type(pair: tuple[Path, Path], made_once: Callable[..., Path]) -> Quantised:
    """The files in a weight type, made once: text model, projector, projector with its values in float32."""

    def make(kind: str) -> tuple[Path, Path, Path]:
        names = [f"{what}-{kind}.gguf" for what in ("text", "mmproj", "wide")]

        def fill(folder: Path) -> None:
            text, mmproj, wide = (folder / name for name in names)
            assert kind in quantise_projector(pair[1], mmproj, wide, kind)
            assert kind in quantise(pair[0], text, kind)

        folder = made_once(f"blocks-{kind}", fill)
        return folder / names[0], folder / names[1], folder / names[2]

    return make


def tokens(n: int, seed: int = 5) -> list[int]:
    return np.random.default_rng(seed).integers(4, 512, n).tolist()


def ours_by_rows(text: Path, rows: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Logits of all rows, computed so many at a time; buffers in use."""
    with Engine(text, None, EngineOptions(threads=2, device="CPU")) as engine:
        session = engine.session(F32_CACHE)
        logits = []
        for at, n in zip(np.cumsum((0, *rows)), rows, strict=False):
            session.forward([Input(tokens=tokens(sum(rows))[at : at + n], n_logits=n)])
            logits += [session.logits(i) for i in range(n)]
        session.close()
        return np.stack(logits), engine.info.buffers


def theirs_by_rows(text: Path, rows: tuple[int, ...]) -> np.ndarray:
    with LlamaCpp(text, threads=2, kv_type="f32", n_ctx=256) as ref:
        ends = np.cumsum((0, *rows))
        return np.concatenate(
            [ref.forward([tokens(sum(rows))[at : at + n]]) for at, n in zip(ends, rows, strict=False)]
        )


@pytest.mark.parametrize("kind", MARKED)
def test_logits_are_libllamas(kind: str, in_type: Quantised) -> None:
    text, _, _ = in_type(kind)
    theirs = theirs_by_rows(text, ROWS)
    ours, buffers = ours_by_rows(text, ROWS)
    cosine = float(checks.cosines(ours, theirs).min())
    print(f"\n{kind:8s} {cosine:.6f}  {np.abs(ours - theirs).max():.4f}  {buffers}", end="")
    assert "AMX" not in buffers
    assert cosine >= checks.QUANTISED_COSINE


# ---- two windows at once ---------------------------------------------------------------------------------


def generated(engine: Engine, prompts: list[list[int]], n: int) -> tuple[list[list[int]], list[np.ndarray]]:
    """(n greedy tokens of each prompt, all prompts decoded together; logits after each prompt)."""
    session = engine.session(SessionOptions(n_ctx=256, n_seq=len(prompts), kv_type="f32"))
    session.forward([Input(seq=seq, tokens=prompt, n_logits=1) for seq, prompt in enumerate(prompts)])
    logits = [session.logits(seq) for seq in range(len(prompts))]
    answers = [[session.sample(row=seq, seq=seq)[0]] for seq in range(len(prompts))]

    def keep(index: int, token: int, _logprob: float) -> bool:
        answers[index].append(token)
        return True

    running = [Generation(seq, answer[0], n - 1, ignore_end=True) for seq, answer in enumerate(answers)]
    session.generate(running, keep)
    session.close()
    return answers, logits


def test_two_windows_at_once_write_what_each_writes_alone(in_type: Quantised) -> None:
    """A real file in Q4_0: the output matrix is Q6_K, and two rows at a time are what broke on AMX."""
    text, _, _ = in_type("Q4_0")
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(text).tensors}
    assert (types["token_embd.weight"], types["blk.0.attn_q.weight"]) == ("Q6_K", "Q4_0")
    prompts = [tokens(19, seed=1), tokens(31, seed=2)]
    with LlamaCpp(text, kv_type="f32", n_ctx=256) as ref:
        theirs = []
        for prompt in prompts:
            ref.reset()
            theirs.append(ref.forward([prompt])[-1])
    with Engine(text, None, EngineOptions(threads=2, device="CPU")) as engine:
        assert "AMX" not in engine.info.buffers
        together, logits = generated(engine, prompts, 12)
        alone = [generated(engine, [prompt], 12)[0][0] for prompt in prompts]
    assert checks.cosines(np.stack(logits), np.stack(theirs)).min() >= checks.QUANTISED_COSINE
    assert together == alone
    assert [len(answer) for answer in together] == [12, 12]


# ---- the projector ---------------------------------------------------------------------------------------


class Clip:
    """Half a second of noise; the prompt around it is not used."""

    samples = (np.random.default_rng(4).standard_normal(8_000) * 0.1).astype(np.float32)
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@pytest.mark.parametrize("kind", MARKED)
def test_the_encoder_hears_the_same_in_every_type(kind: str, in_type: Quantised) -> None:
    """Beside the float32 file of the very weights that the type holds."""
    text, made, wide = in_type(kind)
    heard = []
    for path in (made, wide):
        with Engine(text, path, EngineOptions(threads=2, device="CPU")) as engine:
            assert "AMX" not in engine.info.buffers
            heard.append(checks.Opened(engine, Clip()).encode())
    cosine = float(checks.cosines(*heard).min())
    print(f"\nprojector {kind:8s} {cosine:.6f}  {np.abs(heard[0] - heard[1]).max():.4f}", end="")
    assert heard[0].shape == heard[1].shape
    assert cosine >= PROJECTOR_COSINE


# ---- what is no weight -----------------------------------------------------------------------------------


def refused(path: Path, mmproj: Path, odd: PlannedTensor, words: str) -> None:
    """A model with this tensor is refused by `models show`, with these words, and by the engine."""
    shape, weights = TEXT_SHAPES["blocks"], RandomWeights(1, 3, large=False)
    specs = [spec for spec in shape.tensors() if spec.name != odd.spec.name]
    writer = GGUFWriter(None, TEXT_ARCH)
    write_text_keys(writer, shape, "odd", "f16")
    write_vocab(writer, synthetic_vocab(shape.vocab))
    write_file(path, writer, [odd, *(weights.plan(spec, "f16", shape.rope_freqs()) for spec in specs)])
    (problem,) = inspect(ModelPair(path, mmproj)).problems
    assert words in problem
    with pytest.raises(ModelError, match=re.escape(str(path))):
        Engine(path, mmproj, EngineOptions(threads=1, device="CPU"))


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_what_show_refuses_the_engine_refuses(kind: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    qtype = GGMLQuantizationType[kind]
    (spec,) = [spec for spec in TEXT_SHAPES["blocks"].tensors() if spec.name == "blk.1.ffn_up.weight"]
    odd = PlannedTensor(spec, qtype, lambda: [np.zeros(byte_size(spec.shape, qtype), np.uint8)])
    refused(tmp_path / "odd.gguf", pair[1], odd, f"blk.1.ffn_up.weight has type {kind}")


def test_a_second_scale_of_a_matrix_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Some NVFP4 files have them; run without, they would give wrong words."""
    spec = TensorSpec("blk.1.ffn_up.scale", (1,), "scale")
    odd = PlannedTensor(spec, GGMLQuantizationType.F32, lambda: [np.full(1, 0.5, np.float32)])
    refused(tmp_path / "odd.gguf", pair[1], odd, "blk.1.ffn_up.scale scales a matrix once more")
