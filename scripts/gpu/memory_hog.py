"""Takes a GPU's memory until so much is left, and holds it: a small card in place of a large one.

with MemoryHog(leave=2_000_000_000): ...        # libcudart by ctypes; CudaError where there is none
"""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from types import TracebackType

_STEP = 256 << 20


class CudaError(RuntimeError):
    """CUDA is not there, or refuses; the message is one line."""


def _runtime() -> ctypes.CDLL:
    places = [ctypes.util.find_library("cudart"), "libcudart.so", "libcudart.so.13", "libcudart.so.12"]
    places += [str(path) for path in sorted(Path("/usr/local").glob("cuda*/lib64/libcudart.so*"))]
    for place in places:
        if place:
            try:
                return ctypes.CDLL(place)
            except OSError:
                continue
    raise CudaError("libcudart is not found")


class MemoryHog:
    """Plain allocations, freed at the end."""

    def __init__(self, leave: int) -> None:
        """`leave`: bytes of the device's memory that stay free, to within 256 MB."""
        self._cuda, self._leave = _runtime(), leave
        self._held: list[ctypes.c_void_p] = []

    def __enter__(self) -> MemoryHog:
        try:
            while self.free() > self._leave + _STEP:
                block = ctypes.c_void_p()
                self._call("cudaMalloc", ctypes.byref(block), ctypes.c_size_t(_STEP))
                self._held.append(block)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def free(self) -> int:
        """Bytes that are free now."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def _release(self) -> None:
        while self._held:
            self._cuda.cudaFree(self._held.pop())

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code:
            raise CudaError(f"{name} failed with code {code}")
