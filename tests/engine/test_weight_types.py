"""Every weight type that `models show` calls runnable, as libllama's quantiser writes it, beside libllama
itself.

    float32 file ──► quantiser ──► file of a type ──► ours, libllama      each has an error against
                                        └──► its very values in float32 ──► the truth

Both engines round activations, so neither can be the other's measure: our error may be five per cent above
theirs. The truth is our own engine's in float32, which goldens hold to transformers; libllama is held to it.

Small files with rows of 256 values, made once; token tables and output in Q6_K where the quantiser puts them
there. Rows are computed one, two and 17 at a time, and are so many that chance moves the ratio of errors by
one or two per cent. `pytest -s` prints the table of figures.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles import checks
from oracles.apart import LlamaCpp, quantise, quantise_projector, widen

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
STEPS = (1, 2, 17)
"""Rows at a time."""
N_ROWS = 17 * 14
FLOAT32_APART = 2e-3
"""The libraries' errors in float32: libllama's is 3e-4 here, for it takes GELU from a table in float16;
libmtmd's is 1e-3.
"""
F32_CACHE = SessionOptions(n_ctx=256, kv_type="f32")
CPU = EngineOptions(threads=2, device="CPU")
TextIn = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="session")
def pair(made_once: Callable[..., Path]) -> tuple[Path, Path]:
    """The float32 files: text model, projector."""
    folder = made_once("blocks", lambda folder: make_pair("blocks", "f32", "f32", 11, folder))
    return folder / "blocks-f32.gguf", folder / "mmproj-blocks-f32.gguf"


@pytest.fixture(scope="session")
def text_in(pair: tuple[Path, Path], made_once: Callable[..., Path]) -> TextIn:
    """The text model in a weight type, made once; its values in float32."""

    def make(kind: str) -> tuple[Path, Path]:
        def fill(folder: Path) -> None:
            assert kind in quantise(pair[0], folder / "text.gguf", kind)
            widen(folder / "text.gguf", folder / "wide.gguf")

        folder = made_once(f"blocks-{kind}", fill)
        return folder / "text.gguf", folder / "wide.gguf"

    return make


def tokens(n: int, seed: int = 5) -> list[int]:
    return np.random.default_rng(seed).integers(4, 512, n).tolist()


def pieces(step: int) -> list[list[int]]:
    """All tokens, so many at a time."""
    every = tokens(N_ROWS)
    return [every[at : at + step] for at in range(0, N_ROWS, step)]


def ours_by_rows(text: Path, steps: tuple[int, ...]) -> tuple[list[checks.FloatArray], str]:
    """Logits of all rows, for each number of rows at a time; buffers in use."""
    with Engine(text, None, CPU) as engine:
        found = []
        for step in steps:
            session = engine.session(F32_CACHE)
            logits = []
            for piece in pieces(step):
                session.forward([Input(tokens=piece, n_logits=step)])
                logits += [session.logits(i) for i in range(step)]
            session.close()
            found.append(np.stack(logits))
        return found, engine.info.buffers


def theirs_by_rows(text: Path, steps: tuple[int, ...]) -> list[checks.FloatArray]:
    with LlamaCpp(text, threads=2, kv_type="f32", n_ctx=256) as ref:
        found = []
        for step in steps:
            ref.reset()
            found.append(np.concatenate([ref.forward([piece]) for piece in pieces(step)]))
        return found


@pytest.mark.parametrize("kind", MARKED)
def test_logits_are_as_near_to_float32_as_libllamas(kind: str, text_in: TextIn) -> None:
    text, wide = text_in(kind)
    (truth,), _ = ours_by_rows(wide, (N_ROWS,))
    assert checks.error(theirs_by_rows(wide, (N_ROWS,))[0], truth) <= FLOAT32_APART
    ours, buffers = ours_by_rows(text, STEPS)
    assert "AMX" not in buffers
    for step, mine, other in zip(STEPS, ours, theirs_by_rows(text, STEPS), strict=True):
        errors = checks.error(mine, truth), checks.error(other, truth)
        print(f"\n{kind:8s} {step:2d} {errors[0]:.2e}  {errors[1]:.2e}", end="")
        assert errors[0] <= max(errors[1] * checks.NOT_WORSE, checks.ROUNDING), step
    print(f"  {buffers}", end="")


# ---- two windows at once ---------------------------------------------------------------------------------


def generated(engine: Engine, prompts: list[list[int]], n: int) -> tuple[list[list[int]], checks.FloatArray]:
    """(n greedy tokens of each prompt, all prompts decoded together; logits of the prompts' rows)."""
    session = engine.session(SessionOptions(n_ctx=256, n_seq=len(prompts), kv_type="f32"))
    session.forward([Input(seq=seq, tokens=p, n_logits=len(p)) for seq, p in enumerate(prompts)])
    logits = np.stack([session.logits(row) for row in range(session.n_logits())])
    last = np.cumsum([len(prompt) for prompt in prompts]) - 1
    answers = [[session.sample(row=int(row), seq=seq)[0]] for seq, row in enumerate(last)]

    def keep(index: int, token: int, _logprob: float) -> bool:
        answers[index].append(token)
        return True

    running = [Generation(seq, answer[0], n - 1, ignore_end=True) for seq, answer in enumerate(answers)]
    session.generate(running, keep)
    session.close()
    return answers, logits


def test_two_windows_at_once_write_what_each_writes_alone(text_in: TextIn) -> None:
    """A real file in Q4_0: the output matrix is Q6_K, and two rows at a time are what broke on AMX."""
    text, wide = text_in("Q4_0")
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(text).tensors}
    assert (types["token_embd.weight"], types["blk.0.attn_q.weight"]) == ("Q6_K", "Q4_0")
    prompts = [tokens(119, seed=1), tokens(131, seed=2)]
    with LlamaCpp(text, kv_type="f32", n_ctx=256) as ref:
        theirs = []
        for prompt in prompts:
            ref.reset()
            theirs.append(ref.forward([prompt]))
    with Engine(wide, None, CPU) as engine:
        truth = generated(engine, prompts, 1)[1]
    with Engine(text, None, CPU) as engine:
        assert "AMX" not in engine.info.buffers
        together, logits = generated(engine, prompts, 12)
        alone = [generated(engine, [prompt], 12)[0][0] for prompt in prompts]
    assert checks.error(logits, truth) <= checks.error(np.concatenate(theirs), truth) * checks.NOT_WORSE
    assert together == alone
    assert [len(answer) for answer in together] == [12, 12]


# ---- the projector ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """Ten seconds of noise, 250 embeddings; the prompt around it is not used."""

    seed: int
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    @property
    def samples(self) -> checks.FloatArray:
        return (np.random.default_rng(self.seed).standard_normal(160_000) * 0.1).astype(np.float32)


CLIPS = [Noise(seed) for seed in range(3)]


@pytest.mark.parametrize("kind", MARKED)
def test_the_encoder_is_as_near_to_float32_as_libmtmds(
    kind: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    made, wide = tmp_path / "made.gguf", tmp_path / "wide.gguf"
    assert kind in quantise_projector(pair[1], made, wide, kind)
    ours, theirs = [], []
    for path in (wide, made):
        with Engine(pair[0], path, CPU) as engine:
            assert "AMX" not in engine.info.buffers
            ours.append(np.concatenate([checks.Opened(engine, clip).encode() for clip in CLIPS]))
        with LlamaCpp(pair[0], path, threads=2) as ref:
            theirs.append(np.concatenate([ref.encode_audio(clip.samples) for clip in CLIPS]))
    truth = ours[0]
    assert truth.shape == theirs[0].shape == (750, 256)
    assert checks.error(theirs[0], truth) <= FLOAT32_APART
    errors = checks.error(ours[1], truth), checks.error(theirs[1], truth)
    print(f"\nprojector {kind:8s} {errors[0]:.2e}  {errors[1]:.2e}", end="")
    assert errors[0] <= max(errors[1] * checks.NOT_WORSE, checks.ROUNDING)


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
