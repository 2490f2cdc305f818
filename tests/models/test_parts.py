"""Text models in parts: -00001-of-0000N, as the gguf package's own writer splits them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models.inspect import inspect
from gemma_audio_cli.models.resolve import ModelPair, resolve
from tests.models.hub import ALT


def split(whole: Path, stem: Path, tensors: int) -> list[Path]:
    """The same model in parts of so many tensors."""
    reader = GGUFReader(whole)
    writer = GGUFWriter(stem.with_suffix(".gguf"), "gemma4", split_max_tensors=tensors)
    for name, field in reader.fields.items():
        if name == "general.architecture" or name.startswith("GGUF."):
            continue
        kind = field.types[0]
        of = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, of)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(stem.parent.glob(f"{stem.name}-0*.gguf"))


@pytest.fixture(scope="session")
def parts(tiny_model, tmp_path_factory) -> list[Path]:
    """The tiny model in parts, its projector beside them."""
    folder = tmp_path_factory.mktemp("parts")
    shutil.copy(tiny_model.mmproj, folder / "mmproj-tiny-bf16.gguf")
    found = split(tiny_model.text, folder / "tiny-q4_0", 40)
    assert len(found) >= 3
    return found


@pytest.mark.parametrize("command", [("transcribe",), ("ask", "What?")], ids=["transcribe", "ask"])
def test_a_model_in_parts_says_what_the_whole_one_says(cli, tiny_model, parts, recording, command):
    whole = cli(*command, "-m", tiny_model.text, recording)
    assert (whole.code, bool(whole.out.strip())) == (0, True)
    for name in (parts[0], parts[-1], parts[0].parent):
        assert cli(*command, "-m", name, recording).out == whole.out


def test_all_parts_are_used_where_they_are_mapped(tiny_model, parts):
    whole, mmproj = tiny_model.text, tiny_model.mmproj
    with Engine(whole, mmproj) as one, Engine(parts[0], mmproj) as several:
        assert several.info == one.info


def test_facts_are_those_of_the_whole(tiny_model, parts):
    report = inspect(resolve(parts[0]))
    whole = inspect(ModelPair(tiny_model.text, tiny_model.mmproj))
    assert report.problems == []
    assert report.text == whole.text
    assert len(report.files) == len(parts) + 1


def test_show_path_and_verify_know_all_parts(models, parts):
    assert models("show", parts[0]).code == 0
    assert models("path", parts[1]).out.splitlines()[:-1] == [str(path) for path in parts]
    assert models("verify", parts[0]).out.count(": sound;") == len(parts) + 1


def test_parts_from_the_hub(cli, models, hub, tiny_model, parts, recording):
    for path in parts:
        hub.repositories[ALT][f"parts/gemma-4-E2B-it-Q6_K{path.name.removeprefix('tiny-q4_0')}"] = (
            path.read_bytes()
        )
    spec = f"{ALT}:Q6_K"
    assert models("pull", spec).code == 0
    whole = cli("transcribe", "-m", tiny_model.text, recording)
    assert cli("transcribe", "-m", spec, recording).out == whole.out
    assert models("verify", spec).code == 0
    assert models("show", spec).code == 0


def test_a_missing_part_is_named(cli, models, parts, recording, tmp_path):
    for path in (parts[0], *parts[2:], parts[0].parent / "mmproj-tiny-bf16.gguf"):
        shutil.copy(path, tmp_path)
    done = cli("transcribe", "-m", tmp_path / parts[0].name, recording)
    assert done.code == 3
    (line,) = done.err.splitlines()
    assert f"{parts[1].name} is not beside it" in line


def test_the_engine_itself_refuses_sets_that_are_not_whole(parts, tmp_path):
    mmproj = parts[0].parent / "mmproj-tiny-bf16.gguf"
    for path in parts:
        shutil.copy(path, tmp_path)
    with pytest.raises(ModelError, match="name the first part"):
        Engine(tmp_path / parts[1].name, mmproj)
    shutil.copy(parts[0], tmp_path / parts[1].name)
    with pytest.raises(ModelError, match="part 2 of"):
        Engine(tmp_path / parts[0].name, mmproj)
    (tmp_path / parts[1].name).unlink()
    with pytest.raises(ModelError, match=parts[1].name):
        Engine(tmp_path / parts[0].name, mmproj)
