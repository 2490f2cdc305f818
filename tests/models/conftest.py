"""A hub with small random models, and the command line that asks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.forks import ROOT, Result
from tests.models.hub import ALT, E2B, Hub


@pytest.fixture(scope="session")
def contents(tiny_model) -> dict[str, dict[str, bytes]]:
    """Repositories named and filled as public ones are."""
    text, mmproj = tiny_model.text.read_bytes(), tiny_model.mmproj.read_bytes()
    return {
        E2B: {
            "README.md": b"# Gemma 4\n",
            "gemma-4-E2B-it-Q4_0.gguf": text,
            "gemma-4-E2B-it-Q8_0.gguf": text + b"\0" * 32,
            "mmproj-gemma-4-E2B-it-Q8_0.gguf": mmproj + b"\0" * 32,
            "mmproj-gemma-4-E2B-it-bf16.gguf": mmproj,
            "mtp-gemma-4-E2B-it-Q4_0.gguf": b"a draft model",
        },
        ALT: {"gemma-4-E2B-it-UD-Q4_K_XL.gguf": text + b"\0" * 64, "mmproj-BF16.gguf": mmproj},
    }


@pytest.fixture
def hub(contents: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    """The hub, without faults."""
    with Hub({name: dict(files) for name, files in contents.items()}) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where pulled models go."""
    return tmp_path / "hub-cache"


@pytest.fixture
def environment(environment: dict[str, str], hub: Hub, cache: Path, tmp_path: Path) -> dict[str, str]:
    """Child processes ask this hub and no other."""
    kept = {k: v for k, v in environment.items() if not k.startswith(("HF_", "HUGGING"))}
    return kept | hub.environment(cache) | {"GEMMA_AUDIO_CONFIG_DIR": str(tmp_path / "config")}


IMPATIENT = """
import sys
from gemma_audio_cli.models import fetch
fetch._PAUSE = 0.01
from gemma_audio_cli.cli import run
sys.exit(run(["models", *sys.argv[1:]]))
"""


@pytest.fixture
def impatient_models(environment: dict[str, str], tmp_path: Path) -> Callable[..., Result]:
    """`gemma-audio models ...` with pauses between its trials that take no time."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-c", IMPATIENT, *arguments], cwd=tmp_path, capture_output=True, text=True,
            env=environment | {"PYTHONPATH": str(ROOT)} | (env or {}), timeout=120,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def models(cli: Callable[..., object]) -> Callable[..., object]:
    """`gemma-audio models ...`."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> object:
        return cli("models", *arguments, env=env)

    return run
