"""What lies in a folder beside a model: drafters, adapters, the files of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.models import find_mmproj, kinds, resolve
from gemma_audio_cli.models.appraisal import appraise
from gemma_audio_cli.models.catalogue import known
from gemma_audio_cli.models.gguf_header import read_header
from tests.models.listings import DRAFTERS
from tests.models.rewrite import rewrite


def write(path: Path, architecture: str, **values: str | int) -> Path:
    """A GGUF file of one tensor with these keys; _ stands for the point in a key's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture)
    for key, value in values.items():
        name = key.replace("__", ".")
        writer.add_string(name, value) if isinstance(value, str) else writer.add_uint32(name, value)
    writer.add_tensor("a", np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    """A pair under the names of public files."""
    there = tmp_path / "models"
    there.mkdir()
    shutil.copy(tiny_model.text, there / "gemma-4-E2B-it-Q4_0.gguf")
    shutil.copy(tiny_model.mmproj, there / "mmproj-BF16.gguf")
    return there


@pytest.mark.parametrize("form", DRAFTERS)
def test_a_drafter_by_name_is_passed_over(folder, form):
    name = form.format("gemma-4-E2B-it-Q8_0")
    (folder / name).parent.mkdir(exist_ok=True)
    # Its header says nothing: it may be any file.
    (folder / name).write_bytes(b"GGUF")
    pair = resolve(folder)
    assert (pair.text.name, pair.mmproj.name) == ("gemma-4-E2B-it-Q4_0.gguf", "mmproj-BF16.gguf")


HEADERS = {
    "drafter": ("gemma4-assistant", {}),
    "drafter too": ("gemma4_assistant", {}),
    "drafter of dflash": ("dflash", {}),
    "drafter of mtp": ("gemma4-mtp", {}),
    "drafter of eagle": ("eagle3", {}),
    "adapter": ("gemma4", {"general__type": "adapter", "adapter__type": "lora"}),
    "adapter of old": ("gemma4", {"adapter__type": "lora"}),
    "statistics file": ("", {"general__type": "imatrix"}),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_helper_by_its_header_is_passed_over(folder, what):
    architecture, values = HEADERS[what]
    path = write(folder / "gemma-4-E2B-it-Q8_0.gguf", architecture, **values)
    assert kinds.kind(path) in what
    assert resolve(folder).text.name == "gemma-4-E2B-it-Q4_0.gguf"
    with pytest.raises(ModelNotFoundError, match=r"gemma-4-E2B-it-Q8_0\.gguf is an? \w+( file)?; name the"):
        resolve(path)


def test_a_model_of_another_architecture_is_passed_over_beside_one_of_ours(folder):
    write(folder / "llama-Q4_0.gguf", "llama")
    assert resolve(folder).text.name == "gemma-4-E2B-it-Q4_0.gguf"
    (folder / "gemma-4-E2B-it-Q4_0.gguf").unlink()
    assert resolve(folder).text.name == "llama-Q4_0.gguf"  # the engine says why it does not run


def test_a_projector_that_is_not_called_one(folder):
    (folder / "mmproj-BF16.gguf").rename(folder / "gemma-4-E2B-it-hearing.gguf")
    assert resolve(folder).mmproj.name == "gemma-4-E2B-it-hearing.gguf"
    with pytest.raises(ModelNotFoundError, match="is an audio projector; name the text model"):
        resolve(folder / "gemma-4-E2B-it-hearing.gguf")


def test_a_folder_of_drafters_says_what_is_in_it(tmp_path):
    write(tmp_path / "mtp-x.gguf", "gemma4-assistant")
    write(tmp_path / "y.gguf", "gemma4", general__type="adapter")
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(tmp_path)
    assert "no text model (*.gguf)" in str(caught.value)
    assert "mtp-x.gguf is a drafter, y.gguf is an adapter" in str(caught.value)


def test_a_model_with_a_drafters_name_runs_if_it_is_named(folder):
    """Names mislead: what a person names is judged by its header."""
    path = (folder / "gemma-4-E2B-it-Q4_0.gguf").rename(folder / "my-assistant-Q4_0.gguf")
    assert resolve(path).text == path


def test_a_vocabulary_is_no_model(folder):
    writer = GGUFWriter(folder / "ggml-vocabulary.gguf", "gemma4")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert resolve(folder).text.name == "gemma-4-E2B-it-Q4_0.gguf"


def test_several_models_are_still_several(folder):
    shutil.copy(folder / "gemma-4-E2B-it-Q4_0.gguf", folder / "gemma-4-E4B-it-Q4_0.gguf")
    with pytest.raises(ModelNotFoundError, match="several text models"):
        resolve(folder)


# ---- two models in one folder --------------------------------------------------------------------


@pytest.fixture
def two(folder, mismatched_model) -> Path:
    """E2B takes 128; the projector of another model, which gives 160, has the better name."""
    shutil.copy(mismatched_model.mmproj, folder / "mmproj-gemma-4-E2B-it-BF16.gguf")
    return folder


def test_the_projector_that_fits_by_width_is_taken(two, cli, recording):
    text = two / "gemma-4-E2B-it-Q4_0.gguf"
    assert find_mmproj(text).name == "mmproj-BF16.gguf"
    assert cli("transcribe", "-q", "-m", text, recording).code == 0


def test_of_those_that_fit_the_one_of_the_name_is_taken(folder):
    shutil.copy(folder / "mmproj-BF16.gguf", folder / "gemma-4-E2B-it-mmproj.gguf")
    shutil.copy(folder / "mmproj-BF16.gguf", folder / "mmproj-gemma-4-E4B-it-BF16.gguf")
    assert find_mmproj(folder / "gemma-4-E2B-it-Q4_0.gguf").name == "gemma-4-E2B-it-mmproj.gguf"


def test_names_of_all_uploaders_agree(folder):
    shutil.copy(folder / "mmproj-BF16.gguf", folder / "mmproj-other.gguf")
    mmproj = folder / "mmproj-gemma-4-E2B-it-Q8_0.gguf"
    (folder / "mmproj-BF16.gguf").rename(mmproj)
    for name in (
        "gemma-4-E2B_q4_0-it.gguf", "google_gemma-4-E2B-it-Q4_K_M.gguf", "GEMMA-4-e2b-IT-qat-q4_0.GGUF",
        "gemma-4-E2B-it-UD-Q4_K_XL.gguf",
    ):  # fmt: skip
        shutil.copy(folder / "gemma-4-E2B-it-Q4_0.gguf", folder / name)
        assert find_mmproj(folder / name) == mmproj, name


def test_of_equal_names_the_better_type_by_its_header_is_taken(folder, tmp_path):
    """A name may lie about the type."""
    from make_random_model import make_pair

    _, mmproj = make_pair("tiny", "q4_0", "q8_0", 1, tmp_path)
    shutil.copy(mmproj, folder / "mmproj-F32.gguf")
    assert find_mmproj(folder / "gemma-4-E2B-it-Q4_0.gguf").name == "mmproj-BF16.gguf"


def test_where_none_fits_both_are_named(models, mismatched_model, tmp_path):
    for name in ("mmproj-one.gguf", "mmproj-mismatch.gguf"):
        shutil.copy(mismatched_model.mmproj, tmp_path / name)
    text = shutil.copy(mismatched_model.text, tmp_path / "mismatch-Q4_0.gguf")
    done = models("show", text)
    assert done.code == 3
    assert "mmproj-mismatch.gguf gives embeddings of width 160" in done.out


# ---- what a model is worth -----------------------------------------------------------------------


def worth(models, *arguments: object) -> dict[str, object]:
    value = json.loads(models("show", *arguments, "--json").out)["worth"]
    assert isinstance(value, dict)
    return value


def test_show_says_what_files_are_worth(models, folder):
    text = folder / "gemma-4-E2B-it-Q4_0.gguf"
    found = worth(models, text)
    assert (found["text_type"], found["qat"], found["projector_type"]) == ("Q4_0", False, "BF16")
    assert (found["output_tensor"], found["trouble"]) == ("token_embd.weight", [])
    page = models("show", text).out
    for words in ("output matrix", "(token_embd.weight)", "BF16: hears best", "known trouble none"):
        assert words in page
    google = text.rename(folder / "gemma-4-E2B_q4_0-it.gguf")
    assert worth(models, google)["qat"] is True
    assert "trained for its weight type" in models("show", google).out


def test_a_source_that_says_qat_in_the_header(models, folder):
    keys = {
        "general.base_model.0.repo_url": ("https://h/google/gemma-4-E2B-it-qat-q4_0", GGUFValueType.STRING)
    }
    path = rewrite(folder / "gemma-4-E2B-it-Q4_0.gguf", folder / "mine.gguf", keys)
    assert worth(models, path)["qat"] is True


@pytest.mark.parametrize(
    ("name", "stored", "kind"),
    [
        ("gemma-4-E2B-it-Q8_0.gguf", "Q4_K", "Q4_K_M"),  # a name that lies
        ("gemma-4-E2B-it-Q4_K_S.gguf", "Q4_K", "Q4_K_S"),
        ("gemma-4-E2B-it-UD-Q4_K_XL.gguf", "Q5_K", "UD-Q4_K_XL"),
        ("mine.gguf", "Q3_K", "Q3_K_M"),
        ("mine.gguf", "Q8_0", "Q8_0"),
    ],
)
def test_the_type_is_that_of_the_layers(tiny_model, tmp_path, name, stored, kind):
    path, qtype = tmp_path / name, GGMLQuantizationType[stored]
    writer = GGUFWriter(path, "gemma4")
    block = GGML_QUANT_SIZES[qtype][1]
    for tensor in ("token_embd.weight", "output.weight", "blk.0.ffn_up.weight"):
        writer.add_tensor(tensor, np.zeros((2, block), np.uint8), raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = appraise([read_header(path)], read_header(tiny_model.mmproj))
    assert (found.text_type, found.output_type, found.output_tensor) == (kind, stored, "output.weight")
    assert bool(found.trouble) == (kind != "Q8_0")


def test_an_upload_that_was_replaced_since_is_known_by_its_size(tiny_model, folder):
    path = folder / "gemma-4-E2B-it-Q4_0.gguf"
    (size,) = next(file.replaced for file in known("e2b").files if file.quantisation == "Q4_0")
    with path.open("r+b") as file:
        file.truncate(size)  # a hole, which takes no room
    found = appraise([read_header(path)], read_header(tiny_model.mmproj))
    assert any("gemma-audio models pull e2b:Q4_0" in line for line in found.trouble)


def test_a_projector_at_the_floor(models, folder, tmp_path):
    from make_random_model import make_pair

    _, mmproj = make_pair("tiny", "q4_0", "q8_0", 1, tmp_path)
    found = worth(models, folder / "gemma-4-E2B-it-Q4_0.gguf", "--mmproj", mmproj)
    assert (found["projector_type"], found["projector_verdict"]) == ("Q8_0", "the floor")
    assert "BF16 is better" in str(found["trouble"])
