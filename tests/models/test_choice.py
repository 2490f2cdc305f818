"""Which files a name stands for on the hub: never a drafter, and the same whatever a listing's order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemma_audio_cli.errors import ModelDownloadError
from gemma_audio_cli.models import hub, names, worth
from gemma_audio_cli.models.catalogue import catalogue
from gemma_audio_cli.models.plan import Plan, plan
from tests.models.listings import (
    BARTOWSKI_E2B,
    DRAFTERS,
    GGML_12B,
    GGML_E2B,
    GGML_E4B,
    GOOGLE_12B,
    GOOGLE_E2B,
    GOOGLE_E4B,
    LMSTUDIO_E4B,
    PUBLIC,
    QAT_12B,
    QAT_E2B,
    UNSLOTH_E2B,
    UNSLOTH_E4B,
    listing,
)  # fmt: skip

HELPER = re.compile(r"mtp|dflash|eagle|dspark|assistant|lora|imatrix|draft", re.I)
Files = dict[str, dict[str, int]]


@contextmanager
def answering(files: Files, orders: dict[str, list[str]] | None = None) -> Iterator[list[str]]:
    """A hub with these repositories and no others; gives the names of those that were asked for."""
    asked = []

    def answer(repository: str) -> hub.Listing:
        asked.append(repository)
        if repository not in files:
            raise hub.NotThereError(f"{repository}: there is no such repository")
        return listing(repository, files[repository], (orders or {}).get(repository))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "listing", answer)
        yield asked


def chosen(spec: str, kind: str | None = None, files: Files | None = None) -> Plan:
    with answering(PUBLIC if files is None else files):
        return plan(names.parse_spec(spec), kind)


def places(found: Plan) -> tuple[str, str, str, str]:
    text, mmproj = found.text[0], found.mmproj
    return text.repository, text.name, mmproj.repository, mmproj.name


@pytest.mark.parametrize(
    ("spec", "kind", "text_of", "text", "mmproj_of", "mmproj"),
    [
        ("e2b", None, GOOGLE_E2B, "gemma-4-E2B_q4_0-it.gguf", GOOGLE_E2B, "gemma-4-E2B-it-mmproj.gguf"),
        ("e4b", None, GOOGLE_E4B, "gemma-4-E4B_q4_0-it.gguf", GOOGLE_E4B, "gemma-4-E4B-it-mmproj.gguf"),
        ("12b", None, GOOGLE_12B, "gemma-4-12b-it-qat-q4_0.gguf", GOOGLE_12B,
         "mmproj-gemma-4-12b-it-qat-q4_0.gguf"),
        ("e2b:q4_0", None, GOOGLE_E2B, "gemma-4-E2B_q4_0-it.gguf", GOOGLE_E2B, "gemma-4-E2B-it-mmproj.gguf"),
        ("e2b:Q8_0", None, GGML_E2B, "gemma-4-E2B-it-Q8_0.gguf", UNSLOTH_E2B, "mmproj-BF16.gguf"),
        ("e2b:Q4_K_M", None, UNSLOTH_E2B, "gemma-4-E2B-it-Q4_K_M.gguf", UNSLOTH_E2B, "mmproj-BF16.gguf"),
        ("e2b:UD-Q4_K_XL", None, UNSLOTH_E2B, "gemma-4-E2B-it-UD-Q4_K_XL.gguf", UNSLOTH_E2B,
         "mmproj-BF16.gguf"),
        ("e2b:q4_k_xl", None, UNSLOTH_E2B, "gemma-4-E2B-it-UD-Q4_K_XL.gguf", UNSLOTH_E2B, "mmproj-BF16.gguf"),
        ("e2b:BF16", None, UNSLOTH_E2B, "BF16/gemma-4-E2B-it-BF16-00001-of-00002.gguf", UNSLOTH_E2B,
         "mmproj-BF16.gguf"),
        ("e2b", "q8_0", GOOGLE_E2B, "gemma-4-E2B_q4_0-it.gguf", GGML_E2B, "mmproj-gemma-4-E2B-it-Q8_0.gguf"),
        ("e2b", "bf16", GOOGLE_E2B, "gemma-4-E2B_q4_0-it.gguf", GOOGLE_E2B, "gemma-4-E2B-it-mmproj.gguf"),
        ("e2b", "F32", GOOGLE_E2B, "gemma-4-E2B_q4_0-it.gguf", UNSLOTH_E2B, "mmproj-F32.gguf"),
        ("e2b:Q8_0", "Q8_0", GGML_E2B, "gemma-4-E2B-it-Q8_0.gguf", GGML_E2B,
         "mmproj-gemma-4-E2B-it-Q8_0.gguf"),
        (GGML_E2B, None, GGML_E2B, "gemma-4-E2B-it-Q4_0.gguf", UNSLOTH_E2B, "mmproj-BF16.gguf"),
        (GGML_E4B, None, GGML_E4B, "gemma-4-E4B-it-Q4_0.gguf", UNSLOTH_E4B, "mmproj-BF16.gguf"),
        (GGML_12B, None, GGML_12B, "gemma-4-12B-it-Q4_0.gguf", GOOGLE_12B,
         "mmproj-gemma-4-12b-it-qat-q4_0.gguf"),
        (BARTOWSKI_E2B, None, BARTOWSKI_E2B, "google_gemma-4-E2B-it-Q4_K_M.gguf", UNSLOTH_E2B,
         "mmproj-BF16.gguf"),
        (QAT_E2B, None, QAT_E2B, "gemma-4-E2B-it-qat-UD-Q4_K_XL.gguf", QAT_E2B, "mmproj-BF16.gguf"),
        (QAT_12B, None, QAT_12B, "gemma-4-12B-it-qat-UD-Q4_K_XL.gguf", QAT_12B, "mmproj-BF16.gguf"),
        (LMSTUDIO_E4B, None, LMSTUDIO_E4B, "gemma-4-E4B-it-Q4_K_M.gguf", LMSTUDIO_E4B,
         "mmproj-gemma-4-E4B-it-BF16.gguf"),
        (UNSLOTH_E2B, None, UNSLOTH_E2B, "BF16/gemma-4-E2B-it-BF16-00001-of-00002.gguf", UNSLOTH_E2B,
         "mmproj-BF16.gguf"),
    ],
)  # fmt: skip
def test_what_is_taken_from_the_public_repositories(spec, kind, text_of, text, mmproj_of, mmproj):
    found = chosen(spec, kind)
    assert places(found) == (text_of, text, mmproj_of, mmproj)
    assert len(found.text) == len(names.split_names(text))
    # Whatever comes from elsewhere is said.
    said = [notice for notice in found.notices if f"is that of {mmproj_of}" in notice and mmproj in notice]
    assert len(said) == (text_of != mmproj_of)


def test_the_next_best_is_taken_as_sources_go():
    files = {name: PUBLIC[name] for name in PUBLIC if "E2B" in name}
    order = []
    while files:
        try:
            found = chosen("e2b", files=files)
        except ModelDownloadError:
            break
        order.append((found.repository, names.label(found.text[0].name)))
        name = found.text[0].name
        files[found.repository] = {k: v for k, v in files[found.repository].items() if k != name}
    assert order == [
        (GOOGLE_E2B, "Q4_0"), (GGML_E2B, "Q4_0"), (GGML_E2B, "Q8_0"), (UNSLOTH_E2B, "BF16"),
        (UNSLOTH_E2B, "UD-Q4_K_XL"), (QAT_E2B, "UD-Q4_K_XL"), (UNSLOTH_E2B, "Q4_K_M"),
        (BARTOWSKI_E2B, "Q4_K_M"), (UNSLOTH_E2B, "IQ4_XS"),
    ]  # fmt: skip


def test_only_what_is_needed_is_asked_for():
    with answering(PUBLIC) as asked:
        plan(names.parse_spec("e2b"))
        assert asked == [GOOGLE_E2B]
        asked.clear()
        plan(names.parse_spec("e2b:Q8_0"))
        assert asked == [GOOGLE_E2B, GGML_E2B, UNSLOTH_E2B]


def test_coarse_types_are_taken_with_a_notice():
    for spec, words in (
        ("e2b:Q4_K_M", "cut long clips short"),
        ("e2b:IQ4_XS", "cut long clips short"),
        (QAT_E2B, "in no public test"),
    ):
        assert any(words in notice for notice in chosen(spec).notices), spec
    for spec in ("e2b", "e4b", "12b"):
        assert chosen(spec).notices == ()
    (notice,) = chosen("e2b:Q8_0").notices
    assert "has it in Q8_0 only" in notice
    notices = chosen("e2b", "Q8_0").notices
    assert len(notices) == 2
    assert "coarsest" in notices[-1]


def test_the_choice_is_explained():
    reasons = "\n".join(chosen(GGML_12B).reasons)
    for words in (
        "text model: gemma-4-12B-it-Q4_0.gguf",
        f"projector: mmproj-gemma-4-12b-it-qat-q4_0.gguf of {GOOGLE_12B}: BF16",
        f"left out: mtp-gemma-4-12B-it-Q4_0.gguf of {GGML_12B}: a drafter by its name",
        "left out: dflash-gemma-4-12B-it-Q8_0.gguf",
        "unsloth/gemma-4-12b-it-GGUF: there is no such repository",
    ):
        assert words in reasons


def test_what_no_source_has():
    with pytest.raises(ModelDownloadError, match=r"e2b has no Q2_K; there is: Q4_0, Q8_0, BF16, UD-Q4_K_XL"):
        chosen("e2b:Q2_K")
    with pytest.raises(ModelDownloadError, match=rf"of type Q5_0; there is: .*Q8_0 \({GGML_E2B}\)"):
        chosen("e2b", "Q5_0")


def test_a_repository_of_drafters_has_nothing_to_transcribe_with():
    files = {"me/x": {"mtp-gemma-4-E2B-it.gguf": 1, "mmproj-BF16.gguf": 1}}
    with pytest.raises(ModelDownloadError, match=r"only mtp-gemma-4-E2B-it\.gguf"):
        chosen("me/x", files=files)


def test_another_model_gets_no_projector_of_this_one():
    """A model trained further may have an encoder of its own."""
    files = PUBLIC | {"me/doctor": {"gemma-4-E2B-it-doctor-Q4_0.gguf": 1}}
    with pytest.raises(ModelDownloadError, match="has no audio projector"):
        chosen("me/doctor", files=files)
    assert places(chosen("me/same", files=files | {"me/same": {"Gemma-4-e2b-it-Q4_0.gguf": 1}}))[2:] == (
        UNSLOTH_E2B, "mmproj-BF16.gguf",
    )  # fmt: skip


def refusing(status: str) -> Callable[[str], hub.Listing]:
    def answer(repository: str) -> hub.Listing:
        if repository == GOOGLE_E2B:
            raise ModelDownloadError(f"{repository}: {status}")
        return listing(repository, PUBLIC[repository])

    return answer


def test_a_better_source_that_wants_a_login_is_named(monkeypatch):
    monkeypatch.setattr(hub, "listing", refusing("accept its terms"))
    found = plan(names.parse_spec("e2b"))
    assert found.repository == GGML_E2B
    assert f"passed over: {GOOGLE_E2B}: accept its terms" in found.notices


# ---- properties ----------------------------------------------------------------------------------

SPECS = ["e2b", "e4b", "12b", *PUBLIC]
LABELS = [None, "Q4_0", "Q8_0", "Q4_K_M", "BF16", "UD-Q4_K_XL"]
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(spec: str, label: str | None, kind: str | None) -> Plan | str:
    try:
        return plan(names.Spec(spec, label), kind)
    except ModelDownloadError as error:
        return str(error)


@st.composite
def hubs(draw: st.DrawFn) -> tuple[Files, dict[str, list[str]]]:
    """Some of the public files, drafters of all kinds beside them, and another order of each listing."""
    files: Files = {}
    for repository in draw(st.lists(st.sampled_from(list(PUBLIC)), unique=True, min_size=1)):
        there = PUBLIC[repository]
        kept = draw(st.lists(st.sampled_from(list(there)), unique=True, min_size=1))
        size = re.search(r"E2B|E4B|12B", repository, re.I)
        assert size
        stem = f"gemma-4-{size[0]}-it-{draw(st.sampled_from(['Q4_0', 'q8_0', 'BF16']))}"
        added = draw(st.lists(st.sampled_from(DRAFTERS), unique=True, max_size=5))
        files[repository] = {name: there[name] for name in kept} | {a.format(stem): 1000 for a in added}
    return files, {name: draw(st.permutations(list(there))) for name, there in files.items()}


@quick
@given(hubs(), st.sampled_from(SPECS), st.sampled_from(LABELS), st.sampled_from([None, "BF16", "Q8_0"]))
def test_no_order_changes_the_choice_and_no_drafter_is_chosen(made, spec, label, kind):
    files, orders = made
    with answering(files):
        first = attempt(spec, label, kind)
    with answering(files, orders):
        second = attempt(spec, label, kind)
    with answering(
        {r: {n: s for n, s in there.items() if not HELPER.search(n)} for r, there in files.items()}
    ):
        without = attempt(spec, label, kind)
    if isinstance(first, str):
        assert first == second
        assert isinstance(without, str)
        return
    assert isinstance(second, Plan)
    assert isinstance(without, Plan)
    assert (first.text, first.mmproj, first.notices) == (second.text, second.mmproj, second.notices)
    # Drafters beside a model change nothing.
    assert places(without) == places(first)
    for file in first.files:
        assert not HELPER.search(file.name)
    assert names.is_mmproj(first.mmproj.name)
    assert not any(names.is_mmproj(file.name) for file in first.text)


@quick
@given(st.sampled_from(DRAFTERS), st.sampled_from(["gemma-4-E2B-it-Q4_0", "Gemma-4-12B_q4_0-it", "x"]))
def test_every_name_of_a_drafter_is_known(form, stem):
    assert not names.is_text_model(form.format(stem))
    assert names.helper(form.format(stem)) is not None
    assert names.helper(form.format(stem).upper()) is not None


def test_every_public_file_is_of_the_model_it_should_be():
    seen = 0
    for repository, files in PUBLIC.items():
        model = next(m for m in catalogue() if m.alias.upper() in repository.upper())
        for name in files:
            if names.is_text_model(name) or (names.is_mmproj(name) and "gemma" in name):
                assert names.base(name) == model.base, name
                seen += 1
    assert seen > 20


def test_the_order_of_types_is_total_and_what_failed_comes_last():
    assert worth.rank("Q4_0") < worth.rank("Q8_0") < worth.rank("Q5_0") < worth.rank("UD-Q4_K_XL")
    assert worth.rank("UD-Q4_K_XL") < worth.rank("Q4_K_M") < worth.rank("Q4_K_S") < worth.rank("Q2_K")
    for label in ("Q4_0", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "IQ4_NL", "BF16", ""):
        assert worth.trouble(label) is None, label
    for label in ("Q4_K_M", "Q4_K_S", "Q4_1", "IQ4_XS", "Q3_K_M", "Q2_K", "UD-Q4_K_XL", "NVFP4", "MXFP4_MOE"):
        assert label in (worth.trouble(label) or ""), label
