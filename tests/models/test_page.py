"""docs/MODELS.md is what the commands do, on a hub with the public repositories' names and sizes."""

from __future__ import annotations

import re

import pytest

from gemma_audio_cli.models import worth
from tests.docs.pages import blocks, read
from tests.models.listings import PUBLIC

PAGE = read("docs/MODELS.md")


@pytest.fixture
def contents(tiny_model) -> dict[str, dict[str, bytes]]:
    """The public repositories: one pair stands for all files."""
    text, mmproj = tiny_model.text.read_bytes(), tiny_model.mmproj.read_bytes()
    return {
        repository: {name: mmproj if "mmproj" in name else text for name in files}
        for repository, files in PUBLIC.items()
    }


def shown(command: str) -> list[str]:
    """What the page shows of a command's output, without what it leaves out."""
    (block,) = [b for b in blocks(PAGE, "console") if b.startswith(f"$ gemma-audio {command}\n")]
    return [line for line in block.splitlines()[1:] if line.strip() and line.strip() != "…"]


def test_every_pull_of_the_page_works(models):
    commands = [
        line.split("#")[0].split()[2:]
        for block in blocks(PAGE, "sh")
        for line in block.splitlines()
        if line.startswith("gemma-audio models pull")
    ]
    assert len(commands) >= 5
    for words in commands:
        done = models(*words)
        assert (done.code, len(done.out.splitlines())) == (0, 2), done.err


def test_the_notice_is_the_one_that_is_shown(models):
    done = models("pull", "ggml-org/gemma-4-E2B-it-GGUF")
    assert " ".join(shown("models pull ggml-org/gemma-4-E2B-it-GGUF")) in done.err.splitlines()


def test_the_list_is_the_one_that_is_shown(models):
    real = models("list").out.splitlines()
    lines = shown("models list")
    assert len(lines) >= 8
    for line in lines:
        assert any(written.startswith(line) for written in real), line


def test_worth_is_shown_as_it_is_printed(models):
    """The small model has an output matrix of another type."""
    models("pull", "e2b")
    page = models("show", "e2b").out
    lines = shown("models show e2b")
    assert len(lines) == 6
    for line in lines:
        assert line.replace("Q6_K", "Q8_0") in page.splitlines()


def test_types_are_named_in_the_order_in_which_they_are_taken():
    (listed,) = re.findall(r"^1\. Google's.*?^Of projectors", PAGE, re.M | re.S)
    second, third = re.split(r"^3\. ", listed.split("\n2. ")[1], flags=re.M)
    order = re.findall(r"`([A-Z0-9_]+)`", second.split(". In a public")[0])
    assert order == [name for name in worth.ORDER if name in order]
    assert len(order) == 7
    cut = re.findall(r"`([A-Z0-9_]+)`", third)
    assert len(cut) >= 4
    assert all("cut long clips short" in (worth.trouble(name) or "") for name in cut)
