"""The man page says what the command line does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import make_man_page
from gemma_audio_cli.cli import app

ROOT = Path(__file__).resolve().parents[2]
PLAIN = re.sub(r"\\f[BIR]|\\&", "", make_man_page.PAGE.read_text(encoding="utf-8")).replace(r"\-", "-")


def tree(command: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """Every command with its words; the root has none."""
    below = getattr(command, "commands", {})
    return [(path, command), *(pair for name in below for pair in tree(below[name], (*path, name)))]


COMMANDS = dict(tree(typer.main.get_command(app)))


def test_the_page_is_the_one_that_the_program_makes():
    made = make_man_page.page()
    assert made == make_man_page.PAGE.read_text(encoding="utf-8"), "run python scripts/make_man_page.py"


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=" ".join)
def test_every_command_is_there_with_all_that_its_help_names(words):
    section = re.search(rf"^\.SS {' '.join(words)}\n(.*?)(?=^\.S[SH] )", PLAIN, re.M | re.S)
    assert section
    shown = CliRunner().invoke(app, [*words, "--help"]).output
    names = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown.split("Options:")[1].split("Examples:")[0]))
    for name in names - {"-h", "--help"}:
        assert re.search(rf"(?<![\w-]){name}\b", section[1]), name


def test_every_variable_that_the_package_reads_is_there():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "gemma_audio_cli").rglob("*.py"))
    for name in set(re.findall(r"GEMMA_AUDIO_[A-Z_]*[A-Z]", sources)):
        assert name in PLAIN, name


def test_exit_codes_are_those_of_help():
    section = PLAIN.split(".SH EXIT STATUS")[1].split(".SH")[0]
    reported = CliRunner().invoke(app, ["--help"]).output.split("Exit codes:")[1]
    assert re.findall(r"^(\d+)$", section, re.M) == re.findall(r"\b\d+\b", reported)


@pytest.mark.parametrize(
    "command",
    [("mandoc", "-Tlint"), ("groff", "-man", "-ww", "-z"), ("man", "--warnings", "-E", "UTF-8", "-l")],
    ids=lambda command: command[0],
)
def test_formatters_find_nothing_wrong(command):
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, str(make_man_page.PAGE)], capture_output=True, text=True)
    complaints = done.stderr + (done.stdout if command[0] == "mandoc" else "")
    assert (done.returncode, complaints) == (0, "")


@pytest.mark.parametrize("text", [".begins with a dot", "'and a quote", "back\\slash", "a-b", "~ ^ `x`"])
def test_text_stays_text(text):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    page = f'.TH X 1 "2026-11-24"\n.SH NAME\nx \\- y\n.SH D\n{make_man_page._line(text)}\n'
    shown = subprocess.run(["mandoc", "-Tutf8"], input=page, capture_output=True, text=True).stdout
    assert text in shown
