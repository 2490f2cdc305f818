"""Builds: whole or absent, and never in place of what was there before.

The compiling itself takes minutes and is not done here: docs/BACKENDS.md says what was really built. All else
is real: the folders, the first look at the library, signals, processes.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_audio_cli import errors
from gemma_audio_cli.backends import amx, store
from gemma_audio_cli.backends import build as building
from gemma_audio_cli.backends.choose import choose
from gemma_audio_cli.backends.table import Fetched, Need, find_backend
from gemma_audio_cli.backends.tools import Machine
from gemma_audio_cli.engine._binding import find_library

ROOT = Path(__file__).resolve().parents[2]
ROW = replace(find_backend("blas"), needs=())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMMA_AUDIO_BACKENDS_DIR", str(tmp_path))
    monkeypatch.setattr(
        building._Work, "_get_llama", lambda work: (work._staging / "llama_cpp/lib").mkdir(parents=True)
    )
    return tmp_path / "blas"


def give(monkeypatch, library: Path | None):
    """The engine's step puts this file in place, or something that is no library."""

    def place(work):
        target = building.Build(work._staging, None).library
        target.parent.mkdir(parents=True)
        if library is None:
            target.write_text("no library")
        else:
            target.symlink_to(library)

    monkeypatch.setattr(building._Work, "_get_engine", place)


def test_a_build_is_found_and_replaces_the_one_before(folder, monkeypatch):
    give(monkeypatch, find_library())
    first = building.build(ROW, lambda *_: None)
    assert store.find("blas") == first
    time.sleep(1.1)  # names are to the second
    second = building.build(ROW, lambda *_: None)
    assert store.find("blas") == second
    assert not first.prefix.exists()
    assert second.record.flags == ROW.flags
    assert sorted(p.name for p in folder.iterdir()) == sorted([".lock", "build.log", second.prefix.name])


def test_what_amx_needs_reaches_the_build_before_a_persons_own_flags(folder, monkeypatch):
    given = {}

    def get(work):
        given.update(work._environment)
        (work._staging / "llama_cpp/lib").mkdir(parents=True)

    monkeypatch.setattr(building._Work, "_get_llama", get)
    monkeypatch.setattr(amx, "cpu_flags", lambda: frozenset({"amx_tile"}))
    monkeypatch.setattr(amx, "remedy", lambda wanted: amx.Remedy("", ("-fno-dse", "-g") if wanted else ()))
    monkeypatch.setenv("CMAKE_ARGS", "-DMINE=1")
    give(monkeypatch, find_library())
    building.build(ROW, lambda *_: None)
    words = shlex.split(given["CMAKE_ARGS"])
    assert "-DCMAKE_CXX_FLAGS=-fno-dse -g" in [re.sub(r"FLAGS=.*?-fno", "FLAGS=-fno", w) for w in words]
    assert words[-1] == "-DMINE=1"


def test_a_library_that_does_not_load_changes_nothing(folder, monkeypatch):
    give(monkeypatch, find_library())
    before = building.build(ROW, lambda *_: None)
    give(monkeypatch, None)
    with pytest.raises(errors.BackendError, match=r"first look.*build\.log.*untouched") as caught:
        building.build(ROW, lambda *_: None)
    assert "\n" not in str(caught.value)
    assert store.find("blas") == before
    assert not list(folder.glob(".building-*"))


def test_a_build_of_another_interface_is_not_used(folder, monkeypatch):
    give(monkeypatch, find_library())
    built = building.build(ROW, lambda *_: None)
    store.write_record(built.prefix, replace(built.record, abi=built.record.abi + 1))
    assert store.find("blas") is None
    for junk in ("", "[]", "{}", '{"backend": 1}', "[" * 100_000):
        (built.prefix / store.RECORD).write_text(junk)
        assert store.builds("blas") == []


def test_all_that_runs_lies_in_one_folder(folder, monkeypatch):
    """What ggml installed but llama-cpp-python left out, and what was fetched; nothing is replaced."""

    def install(work):
        for name in ("lib", "llama_cpp/lib", ".fetched/kit/libs/plugins"):
            (work._staging / name).mkdir(parents=True)
        ggml = ("lib/libggml-openvino.so.0", "lib/libggml.so", "lib/libother.a")
        for name in (*ggml, ".fetched/kit/libs/libkit.so.2"):
            (work._staging / name).write_text(name)
        (work._staging / "lib/libggml-openvino.so").symlink_to("libggml-openvino.so.0")
        (work._staging / "llama_cpp/lib/libggml.so").write_text("the package's")

    monkeypatch.setattr(building._Work, "_fetch", lambda work: None)
    monkeypatch.setattr(building._Work, "_get_llama", install)
    give(monkeypatch, find_library())
    kit = Fetched("a kit", ("kit",), "kit", ("-DKIT={root}",), ("libs/*",))
    row = replace(ROW, needs=(Need("a kit", "kit", fetched=kit),))
    built = building.build(row, lambda *_: None, replace(Machine(), system="linux"))
    there = built.prefix / "llama_cpp" / "lib"
    assert {path.name: path.read_text() for path in there.iterdir()} == {
        "libggml.so": "the package's",
        "libggml-openvino.so": "lib/libggml-openvino.so.0",
        "libggml-openvino.so.0": "lib/libggml-openvino.so.0",
        "libkit.so.2": ".fetched/kit/libs/libkit.so.2",
    }
    assert {path.name for path in built.prefix.iterdir()} == {"build.json", "gemma_audio_cli", "llama_cpp"}


def test_what_is_missing_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.BackendError, match=r"C\+\+ compiler.*g\+\+.*glslc"):
        building.build(find_backend("vulkan"), lambda *_: None)


SLOW_PIP = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
print("[3/9] compiling", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt" or shutil.which("c++") is None, reason="signals of POSIX, and a compiler")
def test_an_interrupted_build_leaves_no_process_and_no_folder(tmp_path):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text(SLOW_PIP)
    code = (
        "from dataclasses import replace; from gemma_audio_cli.backends import build, table\n"
        "row = replace(table.find_backend('blas'), needs=())\n"
        "build.build(row, lambda *reported: print(*reported, flush=True))"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "GEMMA_AUDIO_BACKENDS_DIR": str(tmp_path / "built"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = next(line for line in process.stdout if line.rstrip().endswith("3 9"))
    assert reported.startswith("llama-cpp-python")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) != 0
    log = (tmp_path / "built" / "blas" / "build.log").read_text()
    child = int(log.split("child ")[1].split()[0])
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()
    assert sorted(p.name for p in (tmp_path / "built" / "blas").iterdir()) == [".lock", "build.log"]


def test_auto_takes_what_is_built_but_never_blas(folder, monkeypatch):
    monkeypatch.delenv("GEMMA_AUDIO_LIBRARY", raising=False)
    give(monkeypatch, find_library())
    built = building.build(ROW, lambda *_: None)
    assert choose().backend == "cpu"
    assert choose("blas").library == built.library
    assert choose("blas").device == "BLAS"
    vulkan = folder.parent / "vulkan"
    shutil.copytree(folder, vulkan, symlinks=True)
    assert choose().backend == "vulkan"
    assert choose("cpu").library is None
    with pytest.raises(errors.BackendError, match="backends build cuda"):
        choose("cuda")
