"""Model files that ended the process once: each is one line and exit code 3, and neither shown nor verified
as sound.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType

from gemma_audio_cli import Engine, errors
from gemma_audio_cli.cli.models_progress import verifying
from gemma_audio_cli.engine.structs import EngineOptions, Input, SessionOptions
from gemma_audio_cli.models.inspect import inspect
from gemma_audio_cli.models.resolve import ModelPair, resolve
from tests.models.rewrite import Part, Value, rewrite, tokens_of

UINT, INT = GGUFValueType.UINT32, GGUFValueType.INT32
FLOAT, TEXT = GGUFValueType.FLOAT32, GGUFValueType.STRING


def no_rows(part: Part) -> list[Part]:
    """Tables without rows, for a vocabulary without tokens."""
    tables = ("token_embd.weight", "per_layer_token_embd.weight", "output.weight")
    return [Part(part.name, part.data[:0], part.kind) if part.name in tables else part]


def layers(count: int) -> Callable[[Part], list[Part]]:
    """So many audio layers, all of them the first one again."""

    def several(part: Part) -> list[Part]:
        if not part.name.startswith("a.blk."):
            return [part]
        if not part.name.startswith("a.blk.0."):
            return []
        return [Part(part.name.replace(".0.", f".{i}.", 1), part.data, part.kind) for i in range(count)]

    return several


def same(part: Part) -> list[Part]:
    """No change."""
    return [part]


EPSILON = "gemma4.attention.layer_norm_rms_epsilon"
MMPROJ: list[tuple[str, dict[str, Value | None], Callable[[Part], list[Part]], str]] = [
    ("no heads", {"clip.audio.attention.head_count": (0, UINT)}, same, "head_count"),
    ("a negative number of heads", {"clip.audio.attention.head_count": (-4, INT)}, same, "head_count"),
    ("300 layers", {"clip.audio.block_count": (300, UINT)}, layers(300), "300 audio layers"),
    ("65 layers", {"clip.audio.block_count": (65, UINT)}, layers(65), "65 audio layers"),
]
WORDS: list[tuple[str, dict[str, Value | None], Callable[[Part], list[Part]], str]] = [
    ("a negative epsilon", {EPSILON: (-1e-6, FLOAT)}, same, EPSILON),
    ("an infinite epsilon", {EPSILON: (1e300, GGUFValueType.FLOAT64)}, same, EPSILON),
    ("an epsilon that is no number", {EPSILON: (float("nan"), FLOAT)}, same, EPSILON),
    ("a negative cap", {"gemma4.final_logit_softcapping": (-30.0, FLOAT)}, same, "softcapping"),
    ("a rotation base of 0", {"gemma4.rope.freq_base": (0.0, FLOAT)}, same, "freq_base"),
    ("a width of 0", {"gemma4.embedding_length": (0, UINT)}, same, "embedding_length"),
    ("no heads", {"gemma4.attention.head_count": (0, UINT)}, same, "head_count"),
    ("no tokens", {"tokenizer.ggml.tokens": ([], TEXT)}, same, "tokenizer.ggml.tokens"),
    ("a token type of 99", {"tokenizer.ggml.token_type": None}, same, ""),
    ("a first token out of range", {"tokenizer.ggml.bos_token_id": (1 << 30, UINT)}, same, "bos_token_id"),
    ("merges that are numbers", {"tokenizer.ggml.merges": ([1, 2], UINT)}, same, "merges"),
]


def refused(cli, text: Path, mmproj: Path, recording: Path, word: str) -> None:
    """One line that names the word, code 3, and no other opinion of `models`."""
    done = cli("transcribe", "-m", text, "--mmproj", mmproj, recording)
    assert (done.code, done.out) == (3, ""), done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert word in done.err
    pair = ModelPair(text, mmproj)
    assert inspect(pair).problems
    assert not all(sound for _, sound in verifying(pair, quiet=True))


@pytest.mark.parametrize(("values", "tensors", "word"), [c[1:] for c in MMPROJ], ids=[c[0] for c in MMPROJ])
def test_projectors(cli, tiny_model, recording, tmp_path, values, tensors, word):
    broken = rewrite(tiny_model.mmproj, tmp_path / "mmproj-broken.gguf", values, tensors)
    refused(cli, tiny_model.text, broken, recording, word)


@pytest.mark.parametrize(("values", "tensors", "word"), [c[1:] for c in WORDS], ids=[c[0] for c in WORDS])
def test_text_models(cli, tiny_model, recording, tmp_path, values, tensors, word):
    if not word:
        types = [1] * len(tokens_of(tiny_model.text))
        types[5] = 99
        values, word = {"tokenizer.ggml.token_type": (types, INT)}, "token_type"
    broken = rewrite(tiny_model.text, tmp_path / "broken.gguf", values, tensors)
    refused(cli, broken, tiny_model.mmproj, recording, word)


def test_a_vocabulary_without_rows(cli, tiny_model, recording, tmp_path):
    values: dict[str, Value | None] = {
        "tokenizer.ggml.tokens": ([], TEXT),
        "tokenizer.ggml.token_type": ([], INT),
        "tokenizer.ggml.scores": ([], FLOAT),
    }
    broken = rewrite(tiny_model.text, tmp_path / "broken.gguf", values, no_rows)
    refused(cli, broken, tiny_model.mmproj, recording, "token_embd.weight")


@pytest.mark.parametrize("twin", ["[EMPTY_7]", "a copy"])
def test_tokens_that_libllama_takes_for_one(cli, tiny_model, recording, tmp_path, twin):
    tokens = tokens_of(tiny_model.text)
    tokens[7] = "" if twin == "[EMPTY_7]" else "a copy"
    tokens[8] = twin
    broken = rewrite(tiny_model.text, tmp_path / "broken.gguf", {"tokenizer.ggml.tokens": (tokens, TEXT)})
    refused(cli, broken, tiny_model.mmproj, recording, "tokenizer.ggml.tokens")


def test_a_byte_that_is_not_spelled_as_one(cli, tiny_model, recording, tmp_path):
    types = [1] * len(tokens_of(tiny_model.text))
    types[0] = 6
    broken = rewrite(tiny_model.text, tmp_path / "broken.gguf", {"tokenizer.ggml.token_type": (types, INT)})
    refused(cli, broken, tiny_model.mmproj, recording, "token 0")


@pytest.mark.parametrize("kind", [UINT, GGUFValueType.INT64, GGUFValueType.UINT8])
def test_parts_are_numbered_in_any_type(cli, models, tiny_model, recording, tmp_path, kind):
    """The number of a part once had to be a u16, or libllama ended the process."""
    whole = GGUFReader(tiny_model.text)
    names = [tensor.name for tensor in whole.tensors]
    for i, mine in enumerate((names[:40], names[40:])):
        values: dict[str, Value | None] = {
            "split.no": (i, kind),
            "split.count": (2, kind),
            "split.tensors.count": (len(names), INT),
        }
        rewrite(
            tiny_model.text,
            tmp_path / f"tiny-0000{i + 1}-of-00002.gguf",
            values,
            lambda part, mine=mine: [part] if part.name in mine else [],
        )
    first = tmp_path / "tiny-00001-of-00002.gguf"
    one = cli("transcribe", "-m", tiny_model.text, recording)
    two = cli("transcribe", "-m", first, "--mmproj", tiny_model.mmproj, recording)
    assert (two.code, two.out) == (one.code, one.out)
    assert models("show", first, "--mmproj", tiny_model.mmproj).code == 0


def test_the_most_layers_that_are_allowed_work(cli, tiny_model, recording, tmp_path):
    """The bound is there for ggml's allocator, so it must hold for what is within it."""
    most = rewrite(
        tiny_model.mmproj, tmp_path / "mmproj-most.gguf", {"clip.audio.block_count": (64, UINT)}, layers(64)
    )
    done = cli("transcribe", "-m", tiny_model.text, "--mmproj", most, recording)
    assert (done.code, len(done.err.splitlines()) <= 1) == (0, True), done.err


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_1", "Q8_0", "F16", "BF16", "F32"])
def test_garbage_for_weights(cli, tiny_model, recording, tmp_path, kind):
    """Any result but an end without a word."""
    from gguf import GGML_QUANT_SIZES

    qtype = GGMLQuantizationType[kind]
    block, size = GGML_QUANT_SIZES[qtype]
    dice = np.random.default_rng(7)

    def garbage(part: Part) -> list[Part]:
        if part.data.ndim != 2 or not part.name.startswith("blk."):
            return [part]
        old_block, old_size = GGML_QUANT_SIZES[part.kind]
        itemsize = part.data.dtype.itemsize
        inputs = part.data.shape[1] * itemsize // old_size * old_block
        if inputs % block:
            return [part]
        data = dice.integers(0, 256, (part.data.shape[0], inputs // block * size), dtype=np.uint8)
        return [Part(part.name, data, qtype)]

    broken = rewrite(tiny_model.text, tmp_path / "garbage.gguf", None, garbage)
    done = cli("transcribe", "-m", broken, "--mmproj", tiny_model.mmproj, recording)
    assert done.code in (0, 1, 3), done.err
    assert "Traceback" not in done.err
    assert done.code == 0 or len(done.err.splitlines()) == 1, done.err


# ---- files that change while they are in use -----------------------------------------------------


def hear(engine: Engine) -> None:
    """Everything that reads weights, once."""
    audio = engine.audio()
    audio.push(np.zeros(8000, dtype=np.float32))
    audio.finish()
    session = engine.session(SessionOptions(n_ctx=64))
    session.forward([Input(tokens=engine.tokenize("what?")), Input(audio=audio, n_logits=1)])


def cut(path: Path) -> None:
    os.truncate(path, 4096)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 4096)


def replace(path: Path) -> None:
    path.write_bytes(b"GGUF, but another one")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let a mapped file be changed")
@pytest.mark.parametrize("change", [cut, overwrite, replace])
@pytest.mark.parametrize("repack", [True, False], ids=["packed", "mapped"])
def test_a_file_that_changes_while_it_is_in_use(tiny_model, tmp_path, change, repack):
    text = Path(shutil.copy(tiny_model.text, tmp_path / "tiny.gguf"))
    with Engine(text, tiny_model.mmproj, EngineOptions(threads=1, device="CPU", repack=repack)) as engine:
        hear(engine)
        change(text)
        for _ in range(2):
            with pytest.raises(errors.ModelFileError, match=r"tiny\.gguf: the file was"):
                hear(engine)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let a mapped file be removed")
def test_a_file_that_is_replaced_or_removed_as_programs_do_it_goes_on(tiny_model, tmp_path):
    text = Path(shutil.copy(tiny_model.text, tmp_path / "tiny.gguf"))
    with Engine(text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        (tmp_path / "new.gguf").write_bytes(b"another file")
        os.replace(tmp_path / "new.gguf", text)
        hear(engine)
        text.unlink()
        hear(engine)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_bus_error_of_somebody_else_still_ends_the_process(tiny_model, tmp_path):
    """The guard handles faults in its own mappings only."""
    pid = os.fork()
    if pid == 0:
        try:
            faulthandler.disable()
            engine = Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1))

            victim = tmp_path / "victim"
            victim.write_bytes(b"x" * 8192)
            with victim.open("r+b") as file:
                mapped = mmap.mmap(file.fileno(), 8192)
            os.truncate(victim, 0)
            mapped[4096]
            engine.close()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGBUS


# ---- what is no file -----------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="no FIFOs, no /dev")
@pytest.mark.parametrize("what", ["fifo", "/dev/zero", "/dev/null", "folder"])
@pytest.mark.parametrize("flag", ["-m", "--mmproj"])
def test_what_is_no_file_is_named(cli, tiny_model, recording, tmp_path, what, flag):
    path = Path(what) if what.startswith("/") else tmp_path / "odd.gguf"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    arguments = ("-m", path) if flag == "-m" else ("-m", tiny_model.text, "--mmproj", path)
    done = cli("transcribe", *arguments, recording)
    assert (done.code, done.out, len(done.err.splitlines())) == (3, "", 1), done.err
    assert str(path) in done.err
    pair = (path, tiny_model.mmproj) if flag == "-m" else (tiny_model.text, path)
    with pytest.raises(errors.ModelError, match=r"not a regular file|empty"):
        Engine(*pair)


def test_a_nul_in_a_path(tiny_model):
    for pair in (("a\0b.gguf", None), (str(tiny_model.text), "a\0b.gguf")):
        with pytest.raises(errors.ModelError, match="NUL"):
            resolve(*pair)
        with pytest.raises(errors.ModelError, match="NUL"):
            Engine(*pair)
