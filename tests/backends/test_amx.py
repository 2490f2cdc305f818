"""What a build of ggml needs for AMX: compilers that lie, real ones, processors that never were here.

No machine of the project's has AMX: that ggml's own AMX products run once they are built so is unrun here.
What the compiler makes of the stores is seen without it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gemma_audio_cli.backends import amx

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "gemma_audio_cli" / "backends" / "amx.py"


class Compiler:
    """Drops the stores unless it is told (or named) otherwise, as GCC 12.2 does."""

    def __init__(
        self, *, keeps: tuple[str, ...] = (), right: tuple[str, ...] = (), knows_amx: bool = True
    ) -> None:
        self._keeps, self._right, self._knows_amx = keeps, right, knows_amx

    def __call__(self, command: list[str]) -> bytes | None:
        if not self._knows_amx:
            return None
        kept = command[0] in self._right or (self._keeps and all(flag in command for flag in self._keeps))
        return " ".join(command if kept else [w for w in command if not w.startswith("-D")]).encode()


def nothing(_: str) -> None:
    return None


def clang(name: str) -> str | None:
    return f"/usr/bin/{name}" if name.startswith("clang") else None


BOTH = ("-fno-tree-dse", "-fno-dse")


@pytest.mark.parametrize(
    ("compiler", "which", "flags", "compilers", "said"),
    [
        (Compiler(right=("c++",)), nothing, (), None, "compiles AMX right"),
        (Compiler(knows_amx=False), nothing, (), None, "goes without"),
        (Compiler(keeps=BOTH), clang, BOTH, None, "-fno-tree-dse -fno-dse"),
        (Compiler(right=("/usr/bin/clang++",)), clang, (), ("/usr/bin/clang", "/usr/bin/clang++"), "clang++"),
        (Compiler(right=("/usr/bin/clang++",)), nothing, amx.WITHOUT_AMX, None, "without it"),
        (Compiler(), clang, amx.WITHOUT_AMX, None, "-mno-amx-tile"),
        (Compiler(keeps=("-fno-tree-dse",)), nothing, BOTH, None, "-fno-dse"),
    ],
)
def test_each_compiler_gets_its_remedy(compiler, which, flags, compilers, said):
    found = amx.remedy(True, {}, compiler, which)
    assert (found.flags, found.compilers) == (flags, compilers)
    assert said in found.found
    assert "\n" not in found.found


def test_a_processor_without_amx_needs_nothing():
    def never(_: list[str]) -> bytes:
        raise AssertionError("no compiler is asked")

    assert amx.remedy(False, {}, never).cmake_args({}) == []


def test_flags_that_the_environment_sets_stay():
    remedy = amx.Remedy("", BOTH, ("clang", "clang++"))
    assert remedy.cmake_args({"CFLAGS": "-g", "CXXFLAGS": "-O2 -g"}) == [
        "-DCMAKE_C_COMPILER=clang",
        "-DCMAKE_CXX_COMPILER=clang++",
        "-DCMAKE_C_FLAGS=-g -fno-tree-dse -fno-dse",
        "-DCMAKE_CXX_FLAGS=-O2 -g -fno-tree-dse -fno-dse",
    ]


def test_the_compiler_of_the_environment_is_asked():
    asked = []

    def compile_(command):
        asked.append(command)
        return " ".join(command).encode()

    assert "ccache g++-13 compiles AMX right" in amx.remedy(True, {"CXX": "ccache g++-13"}, compile_).found
    assert {tuple(command[:2]) for command in asked} == {("ccache", "g++-13")}


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx2 amx_tile amx_int8\nflags\t\t: other\n",
            {"fpu", "avx2", "amx_tile", "amx_int8"},
        ),
        ("processor\t: 0\nFeatures\t: fp asimd\n", {"fp", "asimd"}),
        ("", set()),
        (None, set()),
    ],
)
def test_what_the_processor_says(text, flags, tmp_path):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert amx.cpu_flags(tmp_path / "cpuinfo") == flags


def test_another_processor_has_another_word():
    words = [amx.processor(frozenset(flags)) for flags in ((), ("avx2",), ("avx2", "amx_tile"))]
    assert len(set(words)) == 3
    assert words[2] == amx.processor(frozenset(("amx_tile", "avx2")))
    assert all(len(word.split()) == 1 for word in words)


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_the_remedy_for_the_real_compiler_holds():
    """Whatever compiler is here: with its remedy, stores are kept, or there is no AMX to keep them for."""
    found = amx.remedy(True)
    compiler = [found.compilers[1]] if found.compilers else shlex.split(os.environ.get("CXX", "")) or ["c++"]
    if found.flags == amx.WITHOUT_AMX:
        # What defines __AMX_INT8__ is what ggml's AMX files are compiled under.
        macros = subprocess.run(
            [*compiler, "-march=sapphirerapids", *found.flags, "-dM", "-E", "-x", "c++", "-"],
            input="", text=True, capture_output=True, check=True,
        ).stdout  # fmt: skip
        assert "__AMX" not in macros
    else:
        assert amx.judge(compiler, found.flags, amx._assembly) in ("right", "unable")


@pytest.mark.skipif(not shutil.which("g++"), reason="needs GCC")
def test_without_amx_wins_over_the_processors_own():
    command = [
        "g++",
        "-march=sapphirerapids",
        *amx.WITHOUT_AMX,
        "-march=sapphirerapids",
        "-dM",
        "-E",
        "-x",
        "c++",
        "-",
    ]
    done = subprocess.run(command, input="", text=True, capture_output=True)
    if done.returncode:
        pytest.skip("this GCC does not know the processor")
    assert "__AMX" not in done.stdout


def test_the_script_needs_nothing_installed():
    """Two lines; the second is CMake's, a person's own flags last."""
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    environment = os.environ | {"CMAKE_ARGS": "-DGGML_BLAS=ON"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found, arguments = done.stdout.splitlines()
    assert found
    assert shlex.split(arguments)[-1] == "-DGGML_BLAS=ON"
    (word,) = subprocess.run(
        [*command, "--processor"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert word == amx.processor(amx.cpu_flags())
