"""Which files a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.models import find_mmproj, resolve


@pytest.fixture
def folder(tmp_path):
    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / name).write_bytes(b"GGUF")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("text", "mmproj"),
    [
        ("gemma-4-E2B-it-Q4_0.gguf", "mmproj-gemma-4-E2B-it-BF16.gguf"),
        ("gemma-4-E2B-it-Q4_K_M.gguf", "gemma-4-E2B-it.mmproj-f16.gguf"),
        ("gemma-4-E4B-it-UD-Q4_K_XL.gguf", "mmproj-BF16.gguf"),
        ("gemma-4-E4B-it-IQ4_XS.gguf", "mmproj-model-f16.gguf"),
        ("tiny-q4_0.gguf", "mmproj-tiny-bf16.gguf"),
        ("text.gguf", "mmproj.gguf"),
    ],
)
def test_the_projector_beside_the_model_is_found(folder, text, mmproj):
    there = folder(text, mmproj, "README.md")
    assert resolve(there / text).mmproj.name == mmproj
    assert resolve(there).text.name == text


def test_the_one_that_agrees_with_the_model_wins(folder):
    there = folder(
        "gemma-4-E2B-it-Q4_0.gguf", "gemma-4-E4B-it-Q4_0.gguf", "mmproj-gemma-4-E2B-it-f16.gguf",
        "mmproj-gemma-4-E4B-it-f16.gguf",
    )  # fmt: skip
    assert find_mmproj(there / "gemma-4-E4B-it-Q4_0.gguf").name == "mmproj-gemma-4-E4B-it-f16.gguf"


def test_of_several_types_the_one_that_hears_best_is_taken(folder):
    there = folder("a-Q4_0.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf", "mmproj-Q8_0.gguf")
    assert find_mmproj(there / "a-Q4_0.gguf").name == "mmproj-BF16.gguf"


def test_an_unclear_choice_is_an_error(folder):
    there = folder("mine.gguf", "mmproj-one-f16.gguf", "mmproj-two-f16.gguf")
    with pytest.raises(ModelNotFoundError, match="--mmproj") as caught:
        resolve(there / "mine.gguf")
    assert "mmproj-one-f16.gguf" in str(caught.value)


def test_a_named_projector_settles_it(folder):
    there = folder("mine.gguf", "mmproj-one-f16.gguf", "mmproj-two-f16.gguf")
    assert resolve(there / "mine.gguf", there / "mmproj-two-f16.gguf").mmproj.name == "mmproj-two-f16.gguf"


def test_no_projector(folder):
    with pytest.raises(ModelNotFoundError, match="no audio projector"):
        resolve(folder("mine.gguf") / "mine.gguf")


def test_the_projector_is_no_model(folder):
    there = folder("mine.gguf", "mmproj-f16.gguf")
    with pytest.raises(ModelNotFoundError, match="is an audio projector"):
        resolve(there / "mmproj-f16.gguf")


def test_no_such_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"none\.gguf"):
        resolve(tmp_path / "none.gguf")


def test_several_models_in_a_folder(folder):
    with pytest.raises(ModelNotFoundError, match="several text models"):
        resolve(folder("a.gguf", "b.gguf", "mmproj-f16.gguf"))


def test_an_alias_that_is_not_there_yet():
    with pytest.raises(ModelNotFoundError, match="models pull e2b gets it"):
        resolve("e2b")


def test_a_repository_that_is_not_there_yet():
    with pytest.raises(ModelNotFoundError, match="models pull some/body:Q8_0 gets it"):
        resolve("some/body:Q8_0")


def test_a_model_in_parts_is_named_by_any_of_them(folder):
    there = folder("a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf", "mmproj-a-F16.gguf")
    for name in ("a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf", "."):
        pair = resolve(there / name)
        assert (pair.text.name, pair.mmproj.name) == ("a-Q8_0-00001-of-00002.gguf", "mmproj-a-F16.gguf")


def test_a_part_that_lacks_is_named(folder):
    there = folder("a-00001-of-00003.gguf", "a-00003-of-00003.gguf", "mmproj-a-F16.gguf")
    with pytest.raises(ModelNotFoundError, match=r"a-00002-of-00003\.gguf is not beside it"):
        resolve(there / "a-00001-of-00003.gguf")


@pytest.mark.parametrize("name", [None, "demo"])
def test_the_demo_model_is_in_the_package(name):
    pair = resolve(name)
    assert pair.is_demo
    assert pair.text.parent.name == "demo"
    assert pair.text.stat().st_size + pair.mmproj.stat().st_size <= 8_000_000
