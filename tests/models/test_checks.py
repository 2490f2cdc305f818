"""models show and models verify: sound files, damaged ones, ones that do not belong together."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from gemma_audio_cli.models.gguf_header import read_header
from gemma_audio_cli.models.inspect import inspect
from gemma_audio_cli.models.resolve import ModelPair
from gemma_audio_cli.models.verify import _SCALES, finite_blocks, verify
from tests.models.hub import E2B

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair(tiny_model, tmp_path) -> ModelPair:
    """A copy that may be damaged."""
    return ModelPair(
        Path(shutil.copy(tiny_model.text, tmp_path)), Path(shutil.copy(tiny_model.mmproj, tmp_path))
    )


def findings(path: Path) -> list[tuple[str, bool]]:
    return list(verify(path, lambda _: None))


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


# ---- show ----------------------------------------------------------------------------------------


def test_show_tells_the_facts(models, tiny_model):
    done = models("show", tiny_model.text)
    assert (done.code, done.err) == (0, "")
    for words in (
        "gemma4a",
        "8, of which 5 write",
        "output width  128",
        "Q4_0",
        "BF16",
        "this program runs them",
    ):
        assert words in done.out
    value = json.loads(models("show", tiny_model.text, "--json").out)
    assert (value["text"]["width"], value["audio"]["output_width"], value["problems"]) == (128, 128, [])


def test_show_without_a_name_shows_what_would_be_used(models):
    assert "gemma-audio-demo.gguf" in models("show").out


@pytest.mark.parametrize("name", ["e2b", "e4b", "plain", "unified", "v_is_k"])
def test_models_of_every_shape_are_recognised(name):
    folder = ROOT / "tests" / "goldens"
    report = inspect(ModelPair(folder / f"{name}.gguf", folder / f"mmproj-{name}.gguf"))
    assert report.problems == []
    assert report.audio is not None
    assert report.audio.projector == ("gemma4ua" if name == "unified" else "gemma4a")


def test_files_that_do_not_belong_together(models, mismatched_model):
    done = models("show", mismatched_model.text)
    assert done.code == 3
    assert "problem: " in done.out
    assert "width 160" in done.out
    assert "takes 128" in done.out


def test_two_projectors_or_two_text_models_are_problems(pair):
    for wrong in (ModelPair(pair.mmproj, pair.mmproj), ModelPair(pair.text, pair.text)):
        (problem,) = inspect(wrong).problems
        assert "the architecture is" in problem


def test_show_never_breaks_on_damage(pair):
    """What the engine would refuse, too, ends as a problem or a fact, never as an exception."""
    data, dice = pair.text.read_bytes(), random.Random(7)
    end = min(tensor.offset for tensor in read_header(pair.text).tensors.values())
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 3))):
            damaged[dice.randrange(end)] = dice.randrange(256)
        pair.text.write_bytes(damaged)
        assert all(isinstance(problem, str) for problem in inspect(pair).problems)


def test_a_truncated_file_is_shown_as_such(models, pair):
    pair.text.write_bytes(pair.text.read_bytes()[:-5000])
    done = models("show", pair.text)
    assert done.code == 3
    assert "truncated" in done.out
    assert "output width  128" in done.out  # the other file is shown all the same


# ---- verify --------------------------------------------------------------------------------------


def test_sound_files(models, hub):
    models("pull", "e2b")
    done = models("verify", "e2b")
    assert (done.code, done.err) == (0, "")
    assert [line.partition(":")[0] for line in done.out.splitlines()] == [
        "gemma-4-E2B-it-Q4_0.gguf", "mmproj-gemma-4-E2B-it-bf16.gguf",
    ]  # fmt: skip
    assert done.out.count("as the hub said") == 2


def test_files_from_elsewhere_are_checked_without_a_hash(models, tiny_model):
    done = models("verify", tiny_model.text)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("its hash is not known") == 2


def test_one_wrong_bit_is_found_and_a_pull_repairs_it(models, hub):
    models("pull", "e2b")
    path = Path(models("path", "e2b").out.splitlines()[0])
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    done = models("verify", "e2b")
    assert done.code == 3
    (line,) = done.err.splitlines()
    assert str(path) in line
    assert f"gemma-audio models pull {E2B}:Q4_0 fetches it again" in line
    sent = hub.sent
    assert "damaged; it is fetched again" in models("pull", "e2b").err
    assert hub.sent == sent + len(data)
    assert models("verify", "e2b").code == 0


@pytest.mark.parametrize("tensor_type", ["F32", "Q4_0", "BF16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_named(pair, tensor_type, value):
    path = pair.mmproj if tensor_type == "BF16" else pair.text
    tensor = [t for t in read_header(path).tensors.values() if t.type == tensor_type][-1]
    if tensor_type == "F32":
        data = np.float32(value).tobytes()
    elif tensor_type == "Q4_0":
        data = np.float16(value).tobytes()  # the block's scale
    else:
        data = np.float32(value).tobytes()[2:]
    overwrite(path, tensor.offset, data)
    lines = findings(path)
    assert [good for _, good in lines] == [False]
    place = "among 0 to 31" if tensor_type == "Q4_0" else "number 0"
    assert (
        f"the tensor {tensor.name} ({tensor_type}) holds a value that is not finite, {place}" in lines[0][0]
    )
    assert str(path) in lines[0][0]


@pytest.mark.parametrize("kind", [*sorted(_SCALES), "BF16", "F16", "F32", "IQ2_XXS", "TQ1_0"])
def test_finite_blocks_are_those_that_dequantise_to_finite_values(kind):
    """Blocks of random bytes, and some whose every half is near the end of its range."""
    qtype = GGMLQuantizationType[kind]
    size = GGML_QUANT_SIZES[qtype][1]
    dice = np.random.default_rng(3)
    blocks = dice.integers(0, 256, (4000, size), dtype=np.uint8)
    blocks[:1000, 1::2] |= 0x7B  # halves of the largest exponents, among them infinities and no numbers
    with np.errstate(all="ignore"):
        expected = np.isfinite(dequantize(blocks, qtype).reshape(len(blocks), -1)).all(axis=1)
    assert expected.any()
    assert not expected.all()
    assert np.array_equal(finite_blocks(blocks, kind), expected)


def test_every_value_is_looked_at(pair):
    """The last value of the last block too."""
    tensor = [t for t in read_header(pair.text).tensors.values() if t.type == "F32"][-1]
    overwrite(pair.text, tensor.offset + tensor.n_bytes - 4, np.float32(np.nan).tobytes())
    ((line, good),) = findings(pair.text)
    assert not good
    assert f"number {tensor.elements - 1}" in line


def test_a_hole_in_a_file_is_noted(pair):
    tensor = max(read_header(pair.text).tensors.values(), key=lambda t: t.n_bytes)
    overwrite(pair.text, tensor.offset, bytes(tensor.n_bytes))
    lines = findings(pair.text)
    assert f"the tensor {tensor.name} holds only zeros" in lines[0][0]
    assert lines[-1][1]


def test_many_damaged_tensors_are_counted(pair):
    tensors = [t for t in read_header(pair.text).tensors.values() if t.type == "F32"]
    for tensor in tensors:
        overwrite(pair.text, tensor.offset, np.float32(np.nan).tobytes())
    lines = findings(pair.text)
    assert len(lines) == 11
    assert f"{len(tensors) - 10} more tensors" in lines[-1][0]


def test_progress_covers_both_readings(pair):
    done = []
    list(verify(pair.text, done.append))
    assert pair.text.stat().st_size * 1.9 < sum(done) <= pair.text.stat().st_size * 2


@pytest.mark.parametrize("content", [b"", b"no model", b"GGUF", b"GGUF\x03\0\0\0"])
def test_what_is_no_model(pair, content):
    pair.text.write_bytes(content)
    ((line, good),) = findings(pair.text)
    assert not good
    assert line.startswith(str(pair.text))
