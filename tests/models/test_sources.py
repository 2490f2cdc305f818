"""A model whose text model and projector come from different repositories, from the pull to the removal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.models.hub import Hub
from tests.models.listings import GGML_E2B, GOOGLE_E2B, PUBLIC, UNSLOTH_E2B
from tests.models.test_folders import write

Q4_0, MMPROJ = "gemma-4-E2B-it-Q4_0.gguf", "mmproj-BF16.gguf"


@pytest.fixture
def contents(tiny_model) -> dict[str, dict[str, bytes]]:
    """The public repositories of E2B by their names, each file with contents of its own."""
    text, mmproj = tiny_model.text.read_bytes(), tiny_model.mmproj.read_bytes()

    def content(name: str, at: int) -> bytes:
        if "mtp" in name or "imatrix" in name or "-of-" in name:
            return b"GGUF" + name.encode()
        return (mmproj if "mmproj" in name else text) + bytes(32 * (at + 1))

    return {
        repository: {name: content(name, at) for at, name in enumerate(files)}
        for repository, files in PUBLIC.items()
        if "E2B" in repository
    }


def folder(cache: Path, repository: str) -> Path:
    return cache / f"models--{repository.replace('/', '--')}"


def names_of(done) -> list[str]:
    return [Path(line).name for line in done.out.splitlines()]


def repositories_of(done) -> list[str]:
    return [
        next(part for part in Path(line).parts if part.startswith("models--"))
        .removeprefix("models--")
        .replace("--", "/")
        for line in done.out.splitlines()
    ]


def test_googles_own_pair_is_what_an_alias_means(cli, models, hub, recording):
    done = models("pull", "e2b")
    assert done.code == 0
    assert names_of(done) == ["gemma-4-E2B_q4_0-it.gguf", "gemma-4-E2B-it-mmproj.gguf"]
    assert len(done.err.splitlines()) == 1
    assert cli("transcribe", "-q", "-m", "e2b", recording).code == 0
    assert json.loads(models("show", "e2b", "--json").out)["worth"]["qat"] is True
    assert hub.count("mtp") == 0


def test_a_projector_of_another_source(cli, models, hub, recording):
    done = models("pull", GGML_E2B)
    assert (done.code, names_of(done)) == (0, [Q4_0, MMPROJ])
    assert repositories_of(done) == [GGML_E2B, UNSLOTH_E2B]
    notice, line = done.err.splitlines()
    assert f"{MMPROJ} (BF16) is that of {UNSLOTH_E2B}: {GGML_E2B} has it in Q8_0 only" in notice
    assert f"{MMPROJ} (" in line
    assert f" of {UNSLOTH_E2B}" in line
    for name in (GGML_E2B, "e2b", "e2b:Q4_0"):
        assert models("path", name).out == done.out
    # A path into the cache finds it too.
    text = done.out.splitlines()[0]
    for name in (GGML_E2B, text):
        assert cli("transcribe", "-q", "-m", name, recording).code == 0
    assert models("verify", GGML_E2B).out.count("as the hub said") == 2
    assert models("pull", "-q", GGML_E2B).err == ""
    (listed,) = json.loads(models("list", "--json").out)["pulled"]
    assert (listed["model"], listed["repository"]) == ("e2b:Q4_0", GGML_E2B)


def test_the_choice_is_told_on_request(models):
    done = models("pull", "-v", "e2b:Q8_0")
    assert done.code == 0
    for words in (
        "text model: gemma-4-E2B-it-Q8_0.gguf of ggml-org/",
        "Q8_0 was asked for",
        f"projector: {MMPROJ} of {UNSLOTH_E2B}: BF16",
        "left out: mtp-gemma-4-E2B-it-Q4_0.gguf of ggml-org/gemma-4-E2B-it-GGUF: a drafter by its name",
        f"asked: {GOOGLE_E2B}: Q4_0; gemma-4-E2B-it-mmproj.gguf",
    ):
        assert words in done.err, words


def test_a_projector_goes_with_the_last_model_that_uses_it(models, cache):
    models("pull", GGML_E2B)
    models("pull", "e2b:Q8_0")
    assert models("remove", f"{GGML_E2B}:Q4_0").code == 0
    assert repositories_of(models("path", "e2b:Q8_0")) == [GGML_E2B, UNSLOTH_E2B]
    assert models("remove", "e2b:Q8_0").code == 0
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_projector_stays_if_another_sources_model_uses_it(models, cache):
    models("pull", GGML_E2B)
    models("pull", "e2b:Q4_K_M")
    assert models("remove", "e2b:Q4_K_M").code == 0
    assert repositories_of(models("path", GGML_E2B)) == [GGML_E2B, UNSLOTH_E2B]
    assert models("verify", GGML_E2B).code == 0
    assert not list(folder(cache, UNSLOTH_E2B).rglob("*Q4_K_M*"))


def test_what_others_fetched_from_the_projectors_source_stays(models, cache):
    models("pull", GGML_E2B)
    (snapshot,) = (folder(cache, UNSLOTH_E2B) / "snapshots").iterdir()
    (snapshot / "mmproj-F32.gguf").write_bytes(b"GGUF")
    assert models("remove", GGML_E2B).code == 0
    assert [path.name for path in snapshot.iterdir()] == ["mmproj-F32.gguf"]


def test_two_models_of_one_type_have_names_of_their_own(models):
    models("pull", GGML_E2B)
    models("pull", "e2b")
    values = json.loads(models("list", "--json").out)
    assert [model["model"] for model in values["pulled"]] == ["e2b:Q4_0", f"{GGML_E2B}:Q4_0"]
    for model in values["pulled"]:
        assert models("path", model["model"]).out.splitlines() == [model["text"], model["mmproj"]]


def test_a_damaged_projector_is_fetched_again_by_the_name_that_is_said(models):
    models("pull", GGML_E2B)
    mmproj = Path(models("path", GGML_E2B).out.splitlines()[1])
    mmproj.write_bytes(mmproj.read_bytes()[:-1] + b"?")
    (line,) = models("verify", GGML_E2B).err.splitlines()
    assert f"gemma-audio models pull {GGML_E2B}:Q4_0 fetches it again" in line
    assert models("pull", f"{GGML_E2B}:Q4_0").code == 0
    assert models("verify", GGML_E2B).code == 0


def test_a_drafter_that_another_program_fetched_is_not_used(models, cache):
    models("pull", "e2b")
    (snapshot,) = (folder(cache, GOOGLE_E2B) / "snapshots").iterdir()
    for name in ("mtp-gemma-4-E2B-it-Q4_0.gguf", "gemma-4-E2B-it-qat-assistant-Q4_0.gguf"):
        (snapshot / name).write_bytes(b"GGUF")
    assert names_of(models("path", "e2b"))[0] == "gemma-4-E2B_q4_0-it.gguf"
    assert len(json.loads(models("list", "--json").out)["pulled"]) == 1


def test_a_drafter_with_an_innocent_name_is_refused_when_it_came(models, hub, tmp_path):
    drafter = write(tmp_path / "drafter.gguf", "gemma4-assistant").read_bytes()
    hub.repositories[GOOGLE_E2B]["gemma-4-E2B_q4_0-it.gguf"] = drafter
    done = models("pull", "e2b")
    assert (done.code, done.out) == (3, "")
    assert "gemma-4-E2B_q4_0-it.gguf is no text model: by its header it is a drafter" in done.err
    assert models("path", "e2b").code == 3
    assert models("pull", GGML_E2B).code == 0
    assert names_of(models("path", "e2b"))[0] == Q4_0


def test_gated_files_say_what_to_do(models, hub: Hub):
    hub.faults.file_status, hub.faults.error_code = 403, "GatedRepo"
    done = models("pull", "e2b")
    assert done.code == 3
    line = done.err.splitlines()[-1]
    for words in (f"({hub.url}/{GOOGLE_E2B})", "hf auth login", "HF_TOKEN", "another repository"):
        assert words in line, words
