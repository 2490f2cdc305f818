"""What file names say, and which of them may become paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.models import choice, names, worth
from gemma_audio_cli.models.catalogue import catalogue


@pytest.mark.parametrize(
    ("name", "label", "base"),
    [
        ("gemma-4-E2B-it-Q4_0.gguf", "Q4_0", "gemma-4-e2b-it"),
        ("gemma-4-E2B-it-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", "gemma-4-e2b-it"),
        ("gemma-4-E2B-it-qat-q4_0.gguf", "Q4_0", "gemma-4-e2b-it"),
        ("gemma-4-E4B-it-IQ4_XS.gguf", "IQ4_XS", "gemma-4-e4b-it"),
        ("gemma-4-E2B_q4_0-it.gguf", "Q4_0", "gemma-4-e2b-it"),
        ("google_gemma-4-E2B-it-Q4_K_M.gguf", "Q4_K_M", "gemma-4-e2b-it"),
        ("mmproj-gemma-4-12b-it-qat-q4_0.gguf", "Q4_0", "gemma-4-12b-it"),
        ("gemma-4-E2B-it-mmproj.gguf", "", "gemma-4-e2b-it"),
        ("BF16/gemma-4-12B-it-BF16-00001-of-00002.gguf", "BF16", "gemma-4-12b-it"),
        ("mmproj-BF16.gguf", "BF16", ""),
        ("gemma-4-E2B-it.mmproj-Q8_0.gguf", "Q8_0", "gemma-4-e2b-it"),
        ("model.gguf", "", ""),
        ("tiny-mxfp4.gguf", "MXFP4", "tiny"),
    ],
)
def test_types_and_models_in_names(name, label, base):
    assert (names.label(name), names.base(name)) == (label, base)


def test_parts():
    first = "a/b-Q8_0-00001-of-00003.gguf"
    assert names.split_part(first) == (1, 3)
    assert names.split_names("a/b-Q8_0-00003-of-00003.gguf") == [
        first, "a/b-Q8_0-00002-of-00003.gguf", "a/b-Q8_0-00003-of-00003.gguf",
    ]  # fmt: skip
    for name in ("a.gguf", "a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-00001-of-99999.gguf"):
        assert names.split_names(name) == [name]


def test_only_whole_text_models_count():
    found = names.text_models(
        ["a-Q4_0.gguf", "mmproj-a-F16.gguf", "mtp-a-Q4_0.gguf", "MTP/a-Q8_0.gguf", "README.md",
         "imatrix.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "c-00001-of-00002.gguf"]
    )  # fmt: skip
    assert [model.first for model in found] == ["a-Q4_0.gguf", "b-00001-of-00002.gguf"]


def test_of_two_files_of_a_type_the_one_trained_for_it_is_taken():
    files = ("g-E2B-it-Q4_0.gguf", "g-E2B-it-qat-Q4_0.gguf", "g-E2B-it-Q8_0.gguf", "g-E2B-it-qat-Q8_0.gguf")

    def taken(quant: str | None) -> str | None:
        best = choice.best_text([choice.Source("a/b", files)], quant)
        return best and best.files.first

    assert taken("q4_0") == taken(None) == "g-E2B-it-qat-Q4_0.gguf"
    assert taken("Q8_0") == "g-E2B-it-Q8_0.gguf"
    assert taken("g-E2B-it-Q4_0.gguf") == "g-E2B-it-Q4_0.gguf"
    assert taken("Q5_K_M") is None


@given(st.text(alphabet="ab./\\:\x1b\n ~C-", max_size=12) | st.text(max_size=20))
@example("..")
@example("a/../../b")
def test_a_safe_name_stays_where_it_is_put(name):
    if names.is_safe(name):
        root = Path("/models/here")
        path = Path(os.path.normpath(root / name))
        assert path.is_relative_to(root)
        assert path != root
        assert name.isprintable()
        assert "\\" not in name
        assert path.relative_to(root).as_posix() == name


@given(st.text(max_size=30))
def test_a_spec_reads_back(text):
    try:
        spec = names.parse_spec(text)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any text may be a spec or not
    else:
        assert str(spec).lower() == text.lower()


def test_the_catalogue_is_sound():
    assert [model.alias for model in catalogue()] == ["e2b", "e4b", "12b"]
    for model in catalogue():
        assert all(names.parse_spec(name).is_repository for name in model.repositories)
        assert model.repositories[0].startswith("google/")
        labels = [file.quantisation for file in model.files]
        assert all(names.label(f"x-{label}.gguf") == label for label in labels)
        assert labels == sorted(labels, key=worth.rank)
        assert names.base(f"{model.base}-Q4_0.gguf") == model.base
