"""Small models in real format: Google's vocabulary and templates, llama.cpp's converter and quantiser.

    transformers checkpoint ──► converter ──► GGUF ──► quantiser ──► GGUF of every type
           the truth                  ours and llama.cpp beside it

Converted files are kept in build/real-format between runs (5 GB). `pytest -s` prints the tables. By
default the usual types are run; GEMMA_AUDIO_EVERY_TYPE=1 adds all others that the quantiser makes.

A quantised file is judged by its error against float32 with the very weights that the file holds: ours may be
five per cent above llama.cpp's. Both engines round activations, so neither can be the other's measure.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "scripts"))

from oracles import checks
from oracles.apart import LlamaCpp, decode, quantise, quantise_tables

from export_gguf import export_pair
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.template import render
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions, Input, SessionOptions
from gguf_format.reader import from_gguf, key_types_of, keys_of, tensors_of
from real_files import convert
from real_files.source import LlamaSource

torch = pytest.importorskip("torch", reason="needs the parity extra (torch)")
pytest.importorskip("transformers", reason="needs the parity extra (transformers)")
hf = importlib.import_module("oracles.hf")
checkpoints = importlib.import_module("real_files.checkpoints")

pytestmark = pytest.mark.parity

SIZES = ("e2b", "12b")
KEPT = ROOT / "build" / "real-format"
F32_CACHE = SessionOptions(n_ctx=256, kv_type="f32")
ROWS = (1, 2, 125)
"""Rows computed at a time."""
SEEDS = (5, 6, 7)
"""Of the tokens. With the 128 rows of one, chance moves the ratio of two errors by 4 per cent."""
TABLE = "per_layer_token_embd.weight"


@dataclass(frozen=True)
class Made:
    """One checkpoint, and what is made of it."""

    size: str
    source: LlamaSource
    folder: Path

    @cached_property
    def checkpoint(self) -> Path:
        folder = self.folder / "checkpoint"
        if not folder.is_dir():
            partial = self.folder / "part-checkpoint"
            checkpoints.make(self.size, self.source, partial)
            partial.rename(folder)
        return folder

    def pair(self, kind: str, *options: str) -> tuple[Path, Path]:
        """As llama.cpp's converter writes them."""
        name = "-".join([self.size, kind, *(option.strip("-") for option in options)])
        return convert.pair(self.source, self.checkpoint, self.folder, name, kind, *options)

    def model(self) -> Any:
        return checkpoints.load(self.size, self.checkpoint)


@pytest.fixture(scope="module", params=SIZES)
def made(request: pytest.FixtureRequest, llama_source: LlamaSource) -> Made:
    return Made(request.param, llama_source, KEPT / request.param)


@pytest.fixture(scope="module")
def e2b(llama_source: LlamaSource) -> Made:
    return Made("e2b", llama_source, KEPT / "e2b")


# ---- files -----------------------------------------------------------------------------------------------


def test_the_converter_writes_the_released_vocabulary(made: Made) -> None:
    """So the tokenizer that we rebuilt from it is the one it was made of."""
    ours, released = from_gguf(made.pair("f32")[0]), from_gguf(made.source.vocabulary)
    assert ours.tokens == released.tokens
    assert ours.types == released.types
    assert ours.merges == released.merges
    assert ours.special == released.special
    assert ours.suppress == (checkpoints.SUPPRESSED if made.size == "12b" else [])


LABELS = {"general.name", "general.finetune", "general.size_label", "general.basename"}
"""What the converter guesses from the folder's name."""


def unread(name: str, shared: int, layers: int) -> bool:
    """Does our exporter leave it out? Vision, and K and V of layers that share them."""
    parts = name.split(".")
    sharing = parts[0] == "blk" and int(parts[1]) >= layers - shared
    return name.startswith(("v.", "mm.input")) or (
        sharing and parts[2] in ("attn_k", "attn_v", "attn_k_norm")
    )


@pytest.mark.parametrize("kind", ["f32", "bf16", "f16", "q8_0"])
def test_our_exporter_writes_what_the_converter_writes(kind: str, made: Made, tmp_path: Path) -> None:
    """Key by key with its type, and tensor by tensor to the byte."""
    if made.size == "e2b" and kind in ("bf16", "f16"):
        pytest.skip("the large one in two types only")
    shared = checkpoints.SHAPES[made.size].text.get("num_kv_shared_layers", 0)
    layers = len(checkpoints.SHAPES[made.size].text["layer_types"])
    ours = export_pair(made.checkpoint, tmp_path, kind, kind, "ours")
    for mine, theirs in zip(ours, made.pair(kind), strict=True):
        keys, kinds = keys_of(theirs), key_types_of(theirs)
        wanted = {k for k in keys if k not in LABELS and not k.startswith("clip.vision.")}
        wanted -= {"clip.has_vision_encoder"}
        my_keys, my_kinds = keys_of(mine), key_types_of(mine)
        assert set(my_keys) - LABELS == wanted
        assert {k: my_kinds[k] for k in wanted} == {k: kinds[k] for k in wanted}
        assert {k: my_keys[k] for k in wanted} == {k: keys[k] for k in wanted}
        tensors = {n: t for n, t in tensors_of(theirs).items() if not unread(n, shared, layers)}
        my_tensors = tensors_of(mine)
        assert set(my_tensors) == set(tensors)
        for name, tensor in tensors.items():
            other = my_tensors[name]
            assert (name, other.shape, other.qtype) == (name, tensor.shape, tensor.qtype)
            if name.endswith("per_dim_scale.weight"):  # a softplus, by another library
                values = [np.array(t.rows()).view(np.float32) for t in (tensor, other)]
                np.testing.assert_allclose(*values, rtol=1e-6)
            else:
                assert np.array_equal(tensor.rows(), other.rows()), name


# ---- float32 ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """A clip in the prompt of the model's own template."""

    samples: checks.FloatArray
    before: list[int]
    after: list[int]


def clip_for(engine: Engine, text_first: bool) -> Clip:
    template = engine.metadata("tokenizer.chat_template")
    assert template
    content = [{"type": "audio"}, {"type": "text", "text": "Transcribe this."}]
    shown = render(template, [{"role": "user", "content": content[:: -1 if text_first else 1]}], bos="<bos>")
    before, _, after = shown.partition("<|audio|>")
    tokens = [engine.tokenize(text, special=True) for text in (before + "<|audio>", "<audio|>" + after)]
    return Clip(hf.speech_like(0.7, 3), *tokens)


@pytest.mark.parametrize("text_first", [True, False])
def test_float32_is_transformers(made: Made, text_first: bool) -> None:
    model = made.model()
    torch.set_num_threads(2)
    with Engine(*made.pair("f32"), EngineOptions(threads=2, device="CPU")) as engine:
        clip = clip_for(engine, text_first)
        truth = hf.compute(model, clip.samples, clip.before, clip.after, 4)
        ours = checks.Opened(engine, clip)
        checks.cosine_close(ours.encode(), truth.embeddings)
        logits = ours.logits(truth.embeddings, len(truth.logits))
        assert np.abs(logits - truth.logits).max() <= checks.LOGIT_BOUND
        if truth.margin > 2 * checks.LOGIT_BOUND:
            assert ours.greedy(ours.encode(), 4) == truth.greedy
    print(f"\n{made.size} f32: logits within {np.abs(logits - truth.logits).max():.1e} of transformers")


# ---- prompts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("instruction", ["Transcribe.", " Zeile eins\n\n* Zeile zwei: 1.7 ", "日本語で。🦙"])
def test_prompts_are_the_processors(made: Made, text_first: bool, instruction: str) -> None:
    """Token for token, with the clip's tokens in their place."""
    tokenizer = checkpoints.tokenizer(made.checkpoint)
    audio, text = {"type": "audio"}, {"type": "text", "text": instruction}
    messages = [{"role": "user", "content": [text, audio] if text_first else [audio, text]}]
    shown = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    samples = hf.speech_like(0.7, 3)
    expanded = shown.replace("<|audio|>", checkpoints.audio_text(made.size, samples))
    theirs = tokenizer(expanded, add_special_tokens=False)["input_ids"]
    with Engine(*made.pair("f32"), EngineOptions(threads=1, device="CPU")) as engine:
        template = engine.metadata("tokenizer.chat_template")
        ours = render(template, messages, bos="<bos>", eos="<eos>")
        assert ours == shown
        before, mark, after = ours.partition("<|audio|>")
        assert mark
        stream = engine.audio()
        stream.push(samples)
        stream.finish()
        n = len(stream.read())
        tokens = engine.tokenize(before + "<|audio>", special=True) + [258881] * n
        assert tokens + engine.tokenize("<audio|>" + after, special=True) == theirs
        built = prompt.build(engine, instruction, layout=prompt.Layout(audio_first=not text_first))
        assert built.notice is None
        (piece,) = built.middle
        assert isinstance(piece, prompt.Clip)
        assert [*built.head, *[258881] * n, *built.tail] == theirs


# ---- every type ------------------------------------------------------------------------------------------

CONVERTED = ("f16", "bf16", "q8_0")
USUAL = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_NL")
EVERY_TYPE = "GEMMA_AUDIO_EVERY_TYPE"


def quantised() -> tuple[str, ...]:
    """Mixes by their names, other types by their own."""
    if not os.environ.get(EVERY_TYPE):
        return USUAL
    made = importlib.import_module("oracles.quantise")
    mixed = {kind.rpartition("_")[0] for kind in made.MIXES}
    others = sorted({*made.KINDS, *made.MIXES} - {"F32", "F16", "BF16", *mixed, *USUAL})
    return (*USUAL, *others)


def tokens(seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(1_000, 255_000, sum(ROWS)).tolist()


def pieces(seed: int) -> list[list[int]]:
    """The tokens as they are computed."""
    ends = np.cumsum((0, *ROWS))
    return [tokens(seed)[at : at + n] for at, n in zip(ends, ROWS, strict=False)]


def ours_by_rows(text: Path) -> checks.FloatArray:
    """Logits of all rows."""
    with Engine(text, None, EngineOptions(threads=2, device="CPU")) as engine:
        logits = []
        for seed in SEEDS:
            session = engine.session(F32_CACHE)
            for piece in pieces(seed):
                session.forward([Input(tokens=piece, n_logits=len(piece))])
                logits += [session.logits(i) for i in range(len(piece))]
            session.close()
        return np.stack(logits)


def theirs_by_rows(text: Path) -> checks.FloatArray:
    with LlamaCpp(text, threads=2, kv_type="f32", n_ctx=256) as ref:
        logits = []
        for seed in SEEDS:
            ref.reset()
            logits += [ref.forward([piece]) for piece in pieces(seed)]
        return np.concatenate(logits)


@torch.no_grad()
def truth_of(text: Path, has_table: bool, model: Any) -> checks.FloatArray:
    """What transformers computes in float32 with the weights of a file."""
    used = sorted({token for seed in SEEDS for token in tokens(seed)})
    rows = {TABLE: used} if has_table else {}
    checkpoints.put(model, decode(text, rows), rows)
    return np.concatenate([hf._forward(model, tokens(seed), {}).numpy() for seed in SEEDS])


def judge(name: str, text: Path, model: Any) -> None:
    tensors = tensors_of(text)
    truth = truth_of(text, TABLE in tensors, model)
    ours, theirs = checks.error(ours_by_rows(text), truth), checks.error(theirs_by_rows(text), truth)
    types = sorted({t.qtype.name for t in tensors.values()} - {"F32"})
    print(
        f"\n{name:14s} ours {ours:.2e}  llama.cpp {theirs:.2e}  {ours / theirs:.2f}  {' '.join(types)}",
        end="",
    )
    assert ours <= max(theirs * checks.NOT_WORSE, checks.ROUNDING)


@pytest.fixture(scope="module")
def truth_model(e2b: Made) -> Any:
    """Its weights are replaced by every test."""
    torch.set_num_threads(2)
    return e2b.model()


@pytest.mark.parametrize("kind", ["f32", *CONVERTED])
def test_converted_files_are_as_near_to_float32_as_llamacpps(kind: str, e2b: Made, truth_model: Any) -> None:
    """The bfloat16 file has Q, K and V in one matrix."""
    options = ("--fuse-qkv",) if kind == "bf16" else ()
    judge(f"e2b {kind}", e2b.pair(kind, *options)[0], truth_model)


@pytest.fixture(scope="module")
def with_tables(e2b: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantised") / "tables.gguf"
    assert quantise_tables(e2b.pair("f32")[0], path)["Q6_K"] == 2
    return path


@pytest.mark.parametrize("kind", quantised())
def test_quantised_files_are_as_near_to_float32_as_llamacpps(
    kind: str, with_tables: Path, truth_model: Any, tmp_path: Path
) -> None:
    text = tmp_path / f"{kind}.gguf"
    assert any(kind.startswith(main) for main in quantise(with_tables, text, kind))
    judge(f"e2b {kind}", text, truth_model)
    text.unlink()


@pytest.mark.parametrize("kind", ["f32", *CONVERTED])
def test_converted_12b_files(kind: str, llama_source: LlamaSource) -> None:
    made = Made("12b", llama_source, KEPT / "12b")
    judge(f"12b {kind}", made.pair(kind)[0], made.model())


# ---- the projector ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f32", *CONVERTED])
def test_the_encoder_is_as_near_to_float32_as_libmtmds(kind: str, made: Made) -> None:
    options = ("--fuse-qkv",) if (made.size, kind) == ("e2b", "bf16") else ()
    text, mmproj = made.pair(kind, *options)
    model = made.model()
    checkpoints.put(model, decode(mmproj, {}), {})
    samples = hf.speech_like(10.0, 4)
    with torch.no_grad():
        output = model.model.get_audio_features(**hf.features(model, samples), return_dict=True)
        truth = output.pooler_output[0][output.attention_mask[0].bool()].numpy()
    with Engine(text, mmproj, EngineOptions(threads=2, device="CPU")) as engine:
        ours = checks.Opened(engine, Clip(samples, [], [])).encode()
    with LlamaCpp(text, mmproj, threads=2) as ref:
        theirs = ref.encode_audio(samples)
    assert ours.shape == truth.shape == theirs.shape
    errors = checks.error(ours, truth), checks.error(theirs, truth)
    print(f"\n{made.size} audio {kind:5s} ours {errors[0]:.2e}  libmtmd {errors[1]:.2e}", end="")
    assert errors[0] <= max(errors[1] * checks.NOT_WORSE, checks.ROUNDING)
    if kind == "f32":
        checks.cosine_close(ours, truth)
