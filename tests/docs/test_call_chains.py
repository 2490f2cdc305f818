"""The call chains of docs/ARCHITECTURE.md are those of a real run."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, blocks, read, section

# Transcribes the bundled recording, and notes who called when the text and the embeddings are made.
_RUN = r"""
import json, sys, traceback
from pathlib import Path
import gemma_audio_cli
from gemma_audio_cli.decoding import scheduler
from gemma_audio_cli.engine import audio_stream
from gemma_audio_cli.engine.session import Session

package = Path(gemma_audio_cli.__file__).parent
chains = {}

def noted(name, function):
    def call(*arguments, **named):
        chain = []
        for frame in traceback.extract_stack()[:-1]:
            path = Path(frame.filename)
            if path.is_relative_to(package) and (not chain or chain[-1][0] != path):
                chain.append((path, []))
            if chain and path == chain[-1][0]:
                chain[-1][1].append(frame.name)
        chains[name] = [(path.relative_to(package).as_posix(), names) for path, names in chain]
        return function(*arguments, **named)
    return call

Session.generate = noted("decode", Session.generate)
scheduler.encode = noted("encode", audio_stream.encode)
from gemma_audio_cli.cli import run
code = run(["transcribe", "-q", "-m", "demo", "--no-vad", sys.argv[1]])
Path(sys.argv[2]).write_text(json.dumps(chains))
sys.exit(code)
"""


LAST = {"decode": [], "encode": ["engine/audio_stream.py"]}


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """Modules and their functions, from the command on, by what is reached."""
    folder = tmp_path_factory.mktemp("chains")
    sample = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(sample), str(folder / "chains.json")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "chains.json").read_text())
    return {
        name: chain[[path for path, _ in chain].index("cli/transcribe.py") :] for name, chain in found.items()
    }


def documented() -> list[list[list[str]]]:
    """The two chains: for each hop the module and the rest of the line."""
    text = section(read("docs/ARCHITECTURE.md"), "### The call chains")
    return [[line.split(maxsplit=1) for line in block.splitlines()] for block in blocks(text, "")]


@pytest.mark.parametrize(("index", "name", "most"), [(0, "decode", 4), (1, "encode", 6)])
def test_the_chain_is_the_real_one(chains, index, name, most):
    reported, real = documented()[index], chains[name]
    assert len(reported) - 1 <= most
    assert [module for module, _ in reported[: len(real)]] == [module for module, _ in real]
    for (module, function), (_, functions) in zip(reported, real, strict=False):
        assert function.split(".")[-1] in functions, f"{module}: {functions}"
    # What was noted is who calls it. The rest is the function itself, and what it calls in C++.
    rest = reported[len(real) :]
    assert [module for module, _ in rest if module.endswith(".py")] == LAST[name]
    for module, function in rest:
        (path,) = [*(ROOT / "gemma_audio_cli").glob(module), *(ROOT / "native").rglob(module)]
        text = path.read_text(encoding="utf-8")
        for word in re.findall(r"\w+(?:::\w+)?", function.replace("which", "")):
            if "_" in word or "::" in word or word == name:
                assert re.search(rf"\b{word}\b", text), f"{module}: {word}"
