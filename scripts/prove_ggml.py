#!/usr/bin/env python3
"""Does the installed llama.cpp compute right on this very processor?

    .venv/bin/python scripts/prove_ggml.py

A wheel from pip's cache may have been built for another processor, or by a compiler that breaks AMX: then a
product ends the process with a signal, or is wrong. So each weight type is multiplied here in each buffer
type that ggml offers for it, with few and with many rows, on two threads, and compared with plain sums. One
line on stdout; exit code 1 where a product is wrong. A signal ends this process, which the caller sees.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

# ggml_type: those that AMX or repacking has products for, and the plain ones.
TYPES = {
    "F32": 0,
    "F16": 1,
    "BF16": 30,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 8,
    "Q4_K": 12,
    "Q5_K": 13,
    "Q6_K": 14,
    "IQ4_XS": 23,
}
N_IN, N_OUT = 512, 96
ROWS = (1, 2, 17, 96)
LEAST_COSINE = 0.98
"""To products with the weights before they were rounded to a type of 4 bits; what is broken lies far
below."""


class InitParams(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


class Feature(ctypes.Structure):
    """ggml_backend_feature."""

    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p)]


class Library:
    """The functions of an installed ggml, with their types."""

    def __init__(self, folder: Path) -> None:
        names = ("libggml.so", "libggml.dylib")
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is None:
            raise SystemExit(f"{folder}: holds no libggml")
        self._library = ctypes.CDLL(str(path))

    def call(self, name: str, *arguments: Any, result: Any = ctypes.c_void_p) -> Any:
        """Pointers go in as they came out; other arguments are ctypes values."""
        function = getattr(self._library, name)
        function.restype = result
        return function(*(ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments))


class Machine:
    """ggml's CPU backend."""

    def __init__(self, ggml: Library) -> None:
        self._ggml = ggml
        ggml.call("ggml_backend_load_all", result=None)
        self.device = ggml.call("ggml_backend_dev_by_type", ctypes.c_int(0))
        self._registry = ggml.call("ggml_backend_dev_backend_reg", self.device)
        self.backend = ggml.call("ggml_backend_dev_init", self.device, ctypes.c_char_p(None))
        self._proc(b"ggml_backend_set_n_threads", None, ctypes.c_void_p, ctypes.c_int)(self.backend, 2)
        self.plain = ggml.call("ggml_backend_dev_buffer_type", self.device)

    def _proc(self, name: bytes, result: Any, *arguments: Any) -> Any:
        found = self._ggml.call("ggml_backend_reg_get_proc_address", self._registry, ctypes.c_char_p(name))
        if not found:
            raise SystemExit(f"this ggml has no {name.decode()}")
        return ctypes.CFUNCTYPE(result, *arguments)(found)

    def features(self) -> list[str]:
        """What the backend was compiled with."""
        first = self._proc(b"ggml_backend_get_features", ctypes.POINTER(Feature), ctypes.c_void_p)(
            self._registry
        )
        names = []
        for index in range(200):
            if not first[index].name:
                break
            if first[index].value == b"1":
                names.append(first[index].name.decode())
        return names

    def buffer_types(self) -> dict[str, int]:
        """All that weights may lie in, by name."""
        extra = self._proc(
            b"ggml_backend_dev_get_extra_bufts", ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p
        )
        found, several = [self.plain], extra(self.device)
        index = 0
        while several and several[index]:
            found.append(several[index])
            index += 1
        return {
            self._ggml.call("ggml_backend_buft_name", b, result=ctypes.c_char_p).decode(): b for b in found
        }


def product(ggml: Library, machine: Machine, kind: int, data: Any, x: Any, buffer_type: int) -> Any:
    """float32 [rows, N_OUT], or None where this buffer type does not take part in it."""
    params = InitParams(1 << 20, None, True)
    weights, values = (ggml.call("ggml_init", params) for _ in range(2))
    size = ctypes.c_int64
    w = ggml.call("ggml_new_tensor_2d", weights, ctypes.c_int(kind), size(N_IN), size(N_OUT))
    r = ggml.call("ggml_new_tensor_2d", values, ctypes.c_int(TYPES["F32"]), size(N_IN), size(len(x)))
    y = ggml.call("ggml_mul_mat", values, w, r)
    held = ggml.call("ggml_backend_alloc_ctx_tensors_from_buft", weights, buffer_type)
    out = None
    if ggml.call("ggml_backend_dev_supports_op", machine.device, y, result=ctypes.c_bool):
        graph = ggml.call("ggml_new_graph", values)
        ggml.call("ggml_build_forward_expand", graph, y, result=None)
        room = ggml.call("ggml_backend_alloc_ctx_tensors_from_buft", values, machine.plain)
        for tensor, content in ((w, data), (r, x)):
            bytes_ = ctypes.c_size_t(content.nbytes)
            ggml.call(
                "ggml_backend_tensor_set",
                tensor,
                content.ctypes.data,
                ctypes.c_size_t(0),
                bytes_,
                result=None,
            )
        if ggml.call("ggml_backend_graph_compute", machine.backend, graph, result=ctypes.c_int):
            raise SystemExit("ggml does not compute a product")
        out = np.empty((len(x), N_OUT), np.float32)
        bytes_ = ctypes.c_size_t(out.nbytes)
        ggml.call("ggml_backend_tensor_get", y, out.ctypes.data, ctypes.c_size_t(0), bytes_, result=None)
        ggml.call("ggml_backend_buffer_free", room, result=None)
    ggml.call("ggml_backend_buffer_free", held, result=None)
    for context in (weights, values):
        ggml.call("ggml_free", context, result=None)
    return out


def encoded(ggml: Library, kind: int, values: Any) -> Any:
    """`values` float32 [N_OUT, N_IN] in a weight type, by ggml's own quantiser."""
    row = ggml.call("ggml_row_size", ctypes.c_int(kind), ctypes.c_int64(N_IN), result=ctypes.c_size_t)
    data = np.zeros(row * N_OUT, np.uint8)
    where, count = ctypes.c_int64(0), ctypes.c_int64(N_OUT)
    if kind == TYPES["F32"]:
        return values
    ggml.call(
        "ggml_quantize_chunk", ctypes.c_int(kind), values.ctypes.data, data.ctypes.data, where, count,
        ctypes.c_int64(N_IN), ctypes.c_char_p(None), result=ctypes.c_size_t,
    )  # fmt: skip
    return data


def cosine(a: Any, b: Any) -> float:
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def main(arguments: list[str]) -> int:
    if arguments:
        folder = Path(arguments[0])
    else:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.origin is None:
            raise SystemExit("llama-cpp-python is not installed")
        folder = Path(spec.origin).parent / "lib"
    ggml = Library(folder)
    machine = Machine(ggml)
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((N_OUT, N_IN), dtype=np.float32)
    used: dict[str, list[str]] = {}
    buffer_types = machine.buffer_types()
    for name, kind in TYPES.items():
        data = encoded(ggml, kind, weights)
        for (buffer_name, buffer_type), count in itertools.product(buffer_types.items(), ROWS):
            x = rng.standard_normal((count, N_IN), dtype=np.float32)
            got = product(ggml, machine, kind, data, x, buffer_type)
            if got is None:
                continue
            likeness = cosine(got, x @ weights.T)
            if not likeness >= LEAST_COSINE:
                print(f"{name} in {buffer_name}, {count} rows: the cosine to plain sums is {likeness:.4f}")
                return 1
            used.setdefault(buffer_name, []).append(name)
    buffers = ", ".join(f"{name} ({len(set(kinds))} types)" for name, kinds in used.items())
    print(f"its products are right in the buffers {buffers}; built for {' '.join(machine.features())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
