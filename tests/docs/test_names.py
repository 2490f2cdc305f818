"""Files, modules, names and commands that the pages for contributors name are there."""

from __future__ import annotations

import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from gemma_audio_cli.cli import app
from tests.docs.pages import PAGES, ROOT, blocks, prose, read, section

CONTRIBUTORS = ("CONTRIBUTING.md", "docs/ARCHITECTURE.md", "tests/README.md", "scripts/README.md")
_ENDINGS = "py|cpp|h|md|toml|yml|json|sh|txt|gguf|wav"
_FILE = re.compile(rf"(?:[\w.*-]+/)*[\w*-]+\.(?:{_ENDINGS})|\.?(?:[\w.-]+/)+[\w.-]*")


@cache
def sources() -> str:
    """All code of the package and the engine, for names."""
    files = [
        *(ROOT / "gemma_audio_cli").rglob("*.py"),
        *(path for path in (ROOT / "native").rglob("*") if path.suffix in (".h", ".cpp")),
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def spans(page: str) -> list[str]:
    """What stands between backticks, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", prose(read(page)))


def exists(name: str) -> bool:
    """Is there such a path in the repository or the package, or a file of that bare name in either half?"""
    if any(any(base.glob(name.rstrip("/"))) for base in (ROOT, ROOT / "gemma_audio_cli")):
        return True
    return "/" not in name and any(any((ROOT / half).rglob(name)) for half in ("gemma_audio_cli", "native"))


@pytest.mark.parametrize("page", CONTRIBUTORS)
def test_every_file_that_is_named_exists(page):
    named = [span for span in spans(page) if _FILE.fullmatch(span)]
    assert named
    made = (".venv/", "build/", "dist/", "config.toml")  # by builds, by people
    assert [name for name in named if not name.startswith(made) and not exists(name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_and_script_that_is_named_exists(page):
    named = re.findall(r"(?<![\w/-])((?:tests|scripts|native)/[\w./-]*\w)", read(page))
    assert [name for name in named if not exists(name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    base = (ROOT / page).parent
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page))
    assert [target for target in targets if "//" not in target and not (base / target).exists()] == []


def test_every_name_of_code_is_defined():
    """Classes, functions and constants that ARCHITECTURE.md names."""
    looks_like_one = re.compile(r"[A-Z]\w*[a-z]\w*(?:(?:\.|::)\w+)?|ga_\w+|[a-z]+_\w+")
    names = [span for span in spans("docs/ARCHITECTURE.md") if looks_like_one.fullmatch(span)]
    assert len(names) > 20
    missing = []
    for name in names:
        for part in re.split(r"\.|::", name):
            defined = rf"\b(?:def|class|struct) {part}\b|^_?{part}\b.* = |\b{part}\("
            if not re.search(defined, sources(), re.M):
                missing.append(name)
    assert missing == []


def test_the_map_is_whole():
    """Each part of the package is in the table, and nothing else is."""
    package = ROOT / "gemma_audio_cli"
    tracked = {p.name for p in package.glob("*.py")} - {"__init__.py"}
    tracked |= {f"{p.name}/" for p in package.iterdir() if p.is_dir() and any(p.glob("*.*"))}
    tracked -= {"__pycache__/", "lib/", "audio/"}  # built; audio has a row for each part
    tracked |= {f"audio/{p.name}/" for p in (package / "audio").iterdir() if (p / "__init__.py").exists()}
    table = re.search(r"^\| part \|.*?\n\n", read("docs/ARCHITECTURE.md"), re.M | re.S)
    assert table
    first = [line.split("|")[1] for line in table[0].strip().splitlines()[2:]]
    named = {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}
    assert named - tracked == set(), "docs/ARCHITECTURE.md names what is not there"
    assert tracked - named == set(), "give these a row in the map of docs/ARCHITECTURE.md"


def test_layers_stand_in_the_order_of_the_contracts():
    table = section(read("docs/ARCHITECTURE.md"), "## The map")
    rows = [
        name.strip("/").removesuffix(".py").split("/")[0]
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]
    levels: dict[str, int] = {}
    contract = re.search(r"layers = \[\n(.*?)\]", read("pyproject.toml"), re.S)
    assert contract
    for level, line in enumerate(contract[1].splitlines()):
        for name in re.findall(r"\w+", line.split("#")[0]):
            levels[name] = level
    order = [levels[name] for name in dict.fromkeys(rows) if name in levels]
    above_ground = [level for level in order if level < levels["transcript"]]
    assert len(above_ground) > 8
    assert above_ground == sorted(above_ground)


# ---- commands ------------------------------------------------------------------------------------


def command_lines(page: str) -> list[str]:
    """Every line of the page's shell blocks, without comments."""
    lines = [line for block in blocks(read(page), "sh") for line in block.splitlines()]
    return [line for line in (re.sub(r"\s+#.*$", "", line).strip() for line in lines) if line]


def recipes() -> set[str]:
    """The names in the justfile."""
    return set(re.findall(r"^([a-z-]+)(?: \*\w+)?:", read("justfile"), re.M))


def shown_commands(page: str) -> list[str]:
    """Command lines of blocks and between backticks."""
    known = re.compile(r"^(sh|python|just|gemma-audio|\.venv/bin/\S+|scripts/\S+|\.ci/run)(\s|$)")
    return [line for line in [*command_lines(page), *spans(page)] if known.match(line)]


def check_command(line: str) -> str | None:
    """What is wrong with a command line; None: nothing."""
    words = shlex.split(line)
    if words[0] == "just":
        wanted = words[1] if len(words) > 1 else None
        return None if wanted is None or wanted in recipes() else f"no recipe {wanted}"
    if words[0] == "gemma-audio":
        return check_program(words[1:])
    if words[0].startswith(".venv/bin/"):
        tool = Path(words[0]).name
        declared = tool in ("python", "cmake", "ctest", "pre-commit", "gemma-audio") or re.search(
            rf'"{"import-linter" if tool == "lint-imports" else tool}[>=]', read("pyproject.toml")
        )
        if not declared:
            return f"{tool} is no requirement"
    for word in words[1 if words[0] in ("sh", "python") else 0 :]:
        if re.match(r"(tests|scripts|docs|native)/", word) and not exists(word.split("::")[0]):
            return f"no file {word}"
    return None


def check_program(words: list[str]) -> str | None:
    """Are there this command and these options of gemma-audio?"""
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        return f"no command {words[0]}"
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    flags = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    unknown = [flag for flag in flags if flag not in options]
    return f"no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", CONTRIBUTORS)
def test_every_command_exists(page):
    lines = shown_commands(page)
    assert lines
    assert [(line, wrong) for line in lines if (wrong := check_command(line))] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in CONTRIBUTORS])
def test_every_gemma_audio_command_of_a_page_exists(page):
    fenced = re.findall(r"^```(?:sh|console)\n(.*?)^```$", read(page), re.M | re.S)
    lines = [line.strip().removeprefix("$ ") for block in fenced for line in block.splitlines()]
    parts = [part.split(">")[0].strip() for line in lines for part in re.split(r"\s#\s|\|", line)]
    wrong = []
    for part in parts:
        if part.startswith("gemma-audio "):
            words = shlex.split(re.sub(r" -$", "", part))[1:]
            problem = check_program(words)
            wrong += [(part, problem)] if problem else []
    assert wrong == []


def test_a_wrong_command_is_found():
    assert check_command("gemma-audio transcibe x.wav")
    assert check_command("gemma-audio transcribe --no-such x.wav")
    assert check_command("just nothing")
    assert check_command("sh scripts/nothing")
    assert check_command(".venv/bin/python -m pytest tests/cli/test_nothing.py")
    assert not exists("decoding/nothing.py")
    assert check_command(".venv/bin/nothing")


def test_the_workflows_run_what_is_there():
    suite = read(".github/workflows/suite.yml")
    assert "run: .ci/run" in suite
    wheels = read(".github/workflows/wheels.yml")
    named = re.findall(r"^ +- ((?:scripts|native|requirements|\.github)/\S+|pyproject.toml)$", wheels, re.M)
    assert len(named) > 3
    assert [name for name in named if not exists(name)] == []
    assert "gemma-audio doctor" in read(".github/ISSUE_TEMPLATE/bug.yml")
    for tool in ("ruff", "clang-format", "lint-imports", "mypy"):
        assert f"entry: .venv/bin/{tool}" in read(".pre-commit-config.yaml")
        assert (Path(sys.executable).parent / tool).exists() or tool == "clang-format", tool
