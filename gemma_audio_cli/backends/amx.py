"""What a build of ggml needs so that its AMX products work, by a test of the compiler.

    python amx.py                # two lines: what was found, and CMAKE_ARGS for the build
    python amx.py --processor    # one word, another one on another kind of processor

GCC's `_tile_loadconfig` (12.2, 12.3 and others) declares 8 of the 64 bytes that it reads, so the compiler may
drop the stores to the rest; the program then ends with SIGSEGV at `ldtilecfg` (llama.cpp #20824). Whether it
does is found without the processor: two programs that store different values there must not compile to the
same code.

Nothing but Python is needed, nor the package itself: scripts/environment.sh runs this file before anything is
installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["right", "wrong", "unable"]
"""Of a compiler: "unable" where it has no AMX at all, so that ggml's AMX products are left out by
themselves."""
Compile = Callable[[Sequence[str]], "bytes | None"]
"""Compiles `_PROGRAM` with a command; the assembly, or None where that fails."""

KEEP_STORES = ("-fno-tree-dse", "-fno-dse")
"""Both are needed; what they cost was not measurable."""
WITHOUT_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")
"""ggml takes AMX from -march=native, and then reads none of its own options about it."""

# As ggml writes it; what is compared lies in the bytes that the header does not declare.
_PROGRAM = """
#include <immintrin.h>
struct tile_config {
    unsigned char palette, start_row, reserved[14];
    unsigned short columns[16];
    unsigned char rows[16];
};
void load() {
    alignas(64) tile_config config = {};
    config.palette = 1;
    for (int i = 0; i < 7; i++) {
        config.rows[i] = 16;
        config.columns[i] = 64;
    }
    config.rows[7] = ROWS;
    config.columns[7] = COLUMNS;
    _tile_loadconfig(&config);
}
"""
_VALUES = (("16", "64"), ("11", "64"), ("16", "48"))


@dataclass(frozen=True)
class Remedy:
    """What to add to a build."""

    found: str
    """A line for people."""
    flags: tuple[str, ...] = ()
    """Of the C and the C++ compiler."""
    compilers: tuple[str, str] | None = None
    """(C, C++) to use instead of the usual ones."""

    def cmake_args(self, environment: Mapping[str, str] = os.environ) -> list[str]:
        """CMake's options, each one word; they hold CFLAGS and CXXFLAGS too, which CMake would not read any
        more."""
        options = []
        if self.compilers:
            options += [
                f"-DCMAKE_{lang}_COMPILER={path}"
                for lang, path in zip(("C", "CXX"), self.compilers, strict=True)
            ]
        if self.flags:
            for lang, variable in (("C", "CFLAGS"), ("CXX", "CXXFLAGS")):
                options.append(
                    f"-DCMAKE_{lang}_FLAGS={' '.join([environment.get(variable, ''), *self.flags]).strip()}"
                )
        return options


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor can do, in Linux' words; empty where the system does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    words = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(words.split())


def judge(compiler: Sequence[str], flags: Sequence[str], compile_: Compile) -> Verdict:
    """Does a compiler keep what is stored for `_tile_loadconfig`?"""
    common = [*compiler, "-x", "c++", "-std=c++17", "-O3", "-mamx-tile", *flags]
    listings = [compile_([*common, f"-DROWS={rows}", f"-DCOLUMNS={columns}"]) for rows, columns in _VALUES]
    if None in listings:
        return "unable"
    return "right" if len(set(listings)) == len(listings) else "wrong"


def remedy(
    amx_wanted: bool,
    environment: Mapping[str, str] = os.environ,
    compile_: Compile | None = None,
    which: Callable[[str], str | None] = shutil.which,
) -> Remedy:
    """What to add to a build of ggml.

    `amx_wanted`: will it hold AMX products (a build for the processor at hand that has AMX, or for any)?
    """
    if not amx_wanted:
        return Remedy("this processor has no AMX: nothing to look after")
    compile_ = compile_ or _assembly
    compiler = shlex.split(environment.get("CXX", "")) or ["c++"]
    name = " ".join(compiler)
    verdict = judge(compiler, (), compile_)
    if verdict == "right":
        return Remedy(f"{name} compiles AMX right")
    if verdict == "unable":
        return Remedy(f"{name} compiles no AMX: ggml goes without")
    if judge(compiler, KEEP_STORES, compile_) == "right":
        return Remedy(
            f"{name} drops stores that AMX needs: ggml is built with {' '.join(KEEP_STORES)}", KEEP_STORES
        )
    clang = which("clang"), which("clang++")
    if clang[0] and clang[1] and judge([clang[1]], (), compile_) == "right":
        return Remedy(
            f"{name} compiles AMX wrong: ggml is built with {clang[1]}", compilers=(clang[0], clang[1])
        )
    return Remedy(
        f"{name} compiles AMX wrong: ggml is built without it, by {' '.join(WITHOUT_AMX)}", WITHOUT_AMX
    )


def _assembly(command: Sequence[str]) -> bytes | None:
    try:
        done = subprocess.run(
            [*command, "-S", "-o", "-", "-"],
            input=_PROGRAM.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def processor(flags: frozenset[str]) -> str:
    """One word for a kind of processor."""
    return hashlib.sha256(" ".join([platform.machine(), *sorted(flags)]).encode()).hexdigest()[:16]


def main(arguments: Sequence[str]) -> int:
    """The two lines, in which a person's own CMAKE_ARGS come last and win; or the one word."""
    flags = cpu_flags()
    if list(arguments) == ["--processor"]:
        print(processor(flags))
        return 0
    answer = remedy("amx_tile" in flags)
    print(answer.found)
    print(" ".join([*map(shlex.quote, answer.cmake_args()), os.environ.get("CMAKE_ARGS", "")]).strip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
