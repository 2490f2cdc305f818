"""Classes of processors: what each one may use, so that a larger machine can be measured as a smaller one.

    --class avx2 ──► GEMMA_AUDIO_CPU_CLASS=avx2     our own products
                 └─► a ggml-cpu built for AVX2      llama.cpp, and what else our engine takes from ggml

A class is a set of instruction sets by the names that ggml gives them. A build of ggml belongs to a class if
it uses no other ones, and is its best if it uses all that the processor has of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_AVX2 = ("AVX", "AVX2", "BMI2", "F16C", "FMA", "SSE42")
_AVX512 = ("AVX512", "AVX512_BF16", "AVX512_VBMI", "AVX512_VNNI")
_AMX = ("AMX_INT8", "AMX_TILE")

LINUX_NAMES = {
    "AVX": "avx", "AVX2": "avx2", "BMI2": "bmi2", "F16C": "f16c", "FMA": "fma", "SSE42": "sse4_2",
    "AVX_VNNI": "avx_vnni", "AVX512": "avx512f", "AVX512_BF16": "avx512_bf16",
    "AVX512_VBMI": "avx512vbmi", "AVX512_VNNI": "avx512_vnni", "AMX_INT8": "amx_int8",
    "AMX_TILE": "amx_tile",
}  # fmt: skip
"""An instruction set's name in ggml: its name in /proc/cpuinfo."""
_ALWAYS = frozenset({"SSE3", "SSSE3"})
"""What ggml reports beside the above wherever there is AVX; the rest of its list is no instruction set."""


@dataclass(frozen=True)
class CpuClass:
    """A kind of processor."""

    name: str
    """For --class and for GEMMA_AUDIO_CPU_CLASS."""
    title: str
    uses: tuple[str, ...]
    """All that builds for it may use."""
    marks: tuple[str, ...]
    """What a processor needs to be of this class or of a larger one."""

    def is_here(self, flags: Iterable[str]) -> bool:
        """Whether a processor with these Linux flags can be measured as one of this class."""
        return {LINUX_NAMES[name] for name in self.marks} <= set(flags)

    def wanted(self, flags: Iterable[str]) -> frozenset[str]:
        """What the best build for it uses on a processor with these flags."""
        return frozenset(name for name in self.uses if LINUX_NAMES[name] in set(flags))

    def is_best(self, built_for: Iterable[str], flags: Iterable[str]) -> bool:
        """Whether a build that reports these features is the class's best one for this processor."""
        # ggml does not report SSE4.2, and AMX_TILE only in its build options.
        told = frozenset(LINUX_NAMES) - {"SSE42", "AMX_TILE"}
        return frozenset(built_for) & told == self.wanted(flags) & told


CLASSES = (
    CpuClass("amx", "AMX", (*_AVX2, "AVX_VNNI", *_AVX512, *_AMX), ("AVX512_VNNI", "AMX_INT8")),
    CpuClass("avx512", "AVX-512 VNNI", (*_AVX2, "AVX_VNNI", *_AVX512), ("AVX512_VNNI",)),
    CpuClass("avxvnni", "AVX-VNNI", (*_AVX2, "AVX_VNNI"), ("AVX_VNNI",)),
    CpuClass("avx2", "AVX2", _AVX2, ("AVX2", "FMA", "F16C")),
)
"""The largest first."""
NAMES = tuple(one.name for one in CLASSES)


def find(name: str) -> CpuClass:
    """The class of that name, which is one of NAMES."""
    return next(one for one in CLASSES if one.name == name)


def largest(flags: Iterable[str]) -> CpuClass | None:
    """What a processor with these Linux flags is; None: none of the classes."""
    flags = set(flags)
    return next((one for one in CLASSES if one.is_here(flags)), None)
