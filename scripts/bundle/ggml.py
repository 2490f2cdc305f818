"""ggml and libllama as they go into a wheel: for any processor of the kind, not the one at hand.

    llama-cpp-python's sdist (pip) ──► vendor/llama.cpp ──CMake──► build/dist/prefix/{include,lib}

The CPU backend is built once for each generation of processors, as plug-ins; ggml takes the best one at run
time. Everything is made again only as far as something changed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "dist"
PREFIX = WORK / "prefix"


def release() -> str:
    """The release of llama-cpp-python that pyproject.toml asks for."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = set(re.findall(r'"llama-cpp-python==([\w.]+)"', text))
    if len(found) != 1:
        raise SystemExit(f"pyproject.toml does not name one release of llama-cpp-python, but {sorted(found)}")
    return found.pop()


def make_prefix() -> Path:
    """Build and install ggml and libllama; the prefix."""
    version = release()
    source, objects = _source(version), WORK / f"objects-{version}"
    remedy = _amx()
    print(f"==> ggml and AMX: {remedy.found}", flush=True)
    run("cmake", "-S", source, "-B", objects, *_generator(), *options(remedy=remedy))
    # Some hundred megabytes of memory for each compiler: no more of them than processors.
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 2)
    build = ("cmake", "--build", objects, "--config", "Release", "--parallel", jobs)
    run(*build, log=WORK / "ggml.log")  # ten thousands of lines of warnings
    shutil.rmtree(PREFIX, ignore_errors=True)
    run("cmake", "--install", objects, "--config", "Release", "--prefix", PREFIX, "--strip")
    shutil.copyfile(source / "LICENSE", PREFIX / "LICENSE.llama.cpp")
    # From JSON schemas to grammars: the one part of llama-cpp-python's Python that the program uses.
    shutil.copyfile(source.parents[1] / "llama_cpp" / "llama_grammar.py", PREFIX / "llama_grammar.py")
    return PREFIX


def _amx() -> Any:
    """What the compiler needs, by gemma_audio_cli/backends/amx.py, which may lie here alone."""
    spec = importlib.util.spec_from_file_location("amx", ROOT / "gemma_audio_cli" / "backends" / "amx.py")
    assert spec is not None
    assert spec.loader is not None
    amx = sys.modules["amx"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(amx)
    # One of the parts for the CPU has AMX. On Windows the test of the compiler was never tried.
    remedy = amx.remedy(sys.platform != "win32")
    if remedy.flags == amx.WITHOUT_AMX:
        raise SystemExit(f"==> {remedy.found}, which a wheel cannot be; try CC=clang CXX=clang++")
    return remedy


def options(system: str = sys.platform, remedy: Any = None) -> list[str]:
    """CMake's options on this system; `remedy`: what `amx.remedy` says."""
    values = {
        "CMAKE_BUILD_TYPE": "Release",
        "BUILD_SHARED_LIBS": "ON",
        # All in one folder, and found there by each other.
        "CMAKE_INSTALL_BINDIR": "lib",
        "CMAKE_INSTALL_LIBDIR": "lib",
        "CMAKE_INSTALL_RPATH": "@loader_path" if system == "darwin" else "$ORIGIN",
        # libggml.so, not libggml.so.0.25.3 and two links: a wheel has no links, and would hold three copies.
        "CMAKE_PLATFORM_NO_VERSIONED_SONAME": "ON",
        "GGML_NATIVE": "OFF",
        "GGML_BACKEND_DL": "ON",
        "GGML_CPU_ALL_VARIANTS": "ON",
        "GGML_CCACHE": "OFF",
        # Windows: the compiler's OpenMP is a library that most machines lack; ggml has threads of its own.
        "GGML_OPENMP": "OFF" if system == "win32" else "ON",
        "LLAMA_BUILD_IS_DEV": "OFF",
        "LLAMA_BUILD_NUMBER": "0",  # else asked of the git repository around
        "LLAMA_BUILD_COMMIT": "unknown",
        "LLAMA_OPENSSL": "OFF",
    }
    if system == "darwin":
        values["GGML_METAL_EMBED_LIBRARY"] = "ON"
    unwanted = ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER", "APP")
    values |= {f"LLAMA_BUILD_{part}": "OFF" for part in unwanted}
    if system != "win32":  # ggml's assertions name their files: not where those lay on this machine
        flags = [f"-ffile-prefix-map={WORK}=.", *(remedy.flags if remedy else ())]
        values |= dict.fromkeys(("CMAKE_C_FLAGS", "CMAKE_CXX_FLAGS"), " ".join(flags))
    if remedy and remedy.compilers:
        values |= dict(zip(("CMAKE_C_COMPILER", "CMAKE_CXX_COMPILER"), remedy.compilers, strict=True))
    return [f"-D{name}={value}" for name, value in values.items()]


def _generator() -> list[str]:
    """Ninja where it is; Windows' own project files need no prepared shell."""
    return ["-G", "Ninja"] if sys.platform != "win32" and shutil.which("ninja") else []


def _source(version: str) -> Path:
    """vendor/llama.cpp of the sdist, fetched and unpacked once."""
    folder = WORK / f"source-{version}"
    source = folder / "vendor" / "llama.cpp"
    if source.is_dir():
        return source
    archive = _sdist(version)
    fresh = WORK / "source.new"
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # not in the first releases of 3.10 and 3.11
            tar.extractall(fresh, filter="data")
        else:
            tar.extractall(fresh)
    os.rename(fresh / f"llama_cpp_python-{version}", folder)
    fresh.rmdir()
    return source


def _sdist(version: str) -> Path:
    archive = WORK / f"llama_cpp_python-{version}.tar.gz"
    if not archive.is_file():
        # pip asks the sources for their metadata; for that, what is installed here will do.
        run(
            sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", "--require-hashes",
            "--no-binary", "llama-cpp-python", "--dest", WORK, "-r", ROOT / "requirements" / "llama.txt",
        )  # fmt: skip
    return archive


def run(*command: str | Path, log: Path | None = None) -> None:
    """One step, shown; the program ends where it fails. What the step says may go to a file."""
    words = [str(word) for word in command]
    print("==>", " ".join(words), f"(output: {log})" if log else "", flush=True)
    if log:
        with open(log, "wb") as file:
            code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT).returncode
        if code:
            print("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:]))
    else:
        code = subprocess.run(words).returncode
    if code:
        raise SystemExit(f"==> failed with exit code {code}: {words[0]}")
