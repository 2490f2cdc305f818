"""README and --help agree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every gemma-audio command line in the README's code blocks."""
    blocks = re.findall(r"```(?:sh|console|text)?\n(.*?)```", README, re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("#")[0].split("|")]
    return [part for part in parts if part.startswith("gemma-audio ")]


def test_there_are_examples():
    assert len(commands()) >= 5


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_and_flag_in_the_readme_exists(cli, line):
    words = shlex.split(re.sub(r"\s>.*", "", line))[1:]
    command = [] if words[0].startswith("-") else [words[0]]
    text = cli(*command, "--help").out
    assert text.startswith("Usage:"), line
    for word in words:
        if word.startswith("-") and word != "-":
            flag = word.split("=")[0]
            assert re.search(rf"(^|[\s,]){re.escape(flag)}\b", text), f"{flag} of: {line}"


def test_the_two_commands_are_there():
    assert "sh scripts/demo" in README
    assert "sh scripts/test" in README
    assert (ROOT / "scripts" / "demo").is_file()
    assert (ROOT / "scripts" / "test").is_file()


def test_exit_codes_are_documented_alike(cli):
    help_text = " ".join(cli("--help").out.split())
    documented = re.findall(r"\| `(\d+)` \| ([^|]+?) \|", README)
    assert documented
    for code, words in documented:
        assert f"{code} {words}" in help_text


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target
