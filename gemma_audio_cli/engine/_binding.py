"""Finds and opens libgemma_audio.

cffi is used in ABI mode: nothing is compiled against Python, and the library is picked at run time. An
installed package has the declarations as a ready module (`_ffi.py`, written by the build); beside any other
library they are parsed from its header. Searched, in order: `GEMMA_AUDIO_LIBRARY`, the installed package,
`build/native` of a source checkout.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from gemma_audio_cli import errors
from gemma_audio_cli.engine._llama import is_bundled
from gemma_audio_cli.version import package_folders

ABI_VERSION = 6
"""What this binding was written for; `ga_abi_version()` must say the same."""

_PACKAGE = Path(__file__).resolve().parent.parent
_CHECKOUT = _PACKAGE.parent


class Native(NamedTuple):
    """The open library: `ffi` makes and reads C values, `lib` has the functions and enumerators."""

    ffi: Any
    lib: Any
    path: Path


def library_name() -> str:
    """The file name of the shared library on this platform."""
    if sys.platform == "win32":
        return "gemma_audio.dll"
    return "libgemma_audio.dylib" if sys.platform == "darwin" else "libgemma_audio.so"


_chosen: Path | None = None


def use_library(path: Path | None) -> None:
    """Open this library rather than the package's (None: the package's). One library serves the process: once
    one is open, no other is.
    """
    global _chosen
    path = path.resolve() if path is not None else None  # a loader looks for ggml beside the real file
    if native.cache_info().currsize and path != _chosen:
        other = path or "another library"
        raise errors.LibraryError(f"{native().path} is open already; {other} cannot be used")
    _chosen = path


def find_library() -> Path:
    """The library to open, or a LibraryError that says how to get one."""
    if _chosen is not None:
        return _chosen
    chosen = os.environ.get("GEMMA_AUDIO_LIBRARY")
    if chosen:
        if not Path(chosen).is_file():
            raise errors.LibraryError(f"GEMMA_AUDIO_LIBRARY names {chosen}, which is not there")
        return Path(chosen).resolve()
    places = [folder / "lib" for folder in package_folders()]
    places += [Path(entry) / _PACKAGE.name / "lib" for entry in sys.path if entry.endswith("site-packages")]
    places.append(_CHECKOUT / "build" / "native")
    for place in places:
        if (place / library_name()).is_file():
            return place / library_name()
    raise errors.LibraryError(f"{library_name()} is not built; install the package with: pip install .")


def _load_ffi(library: Path) -> Any:
    """The declarations that belong to `library`."""
    if library.parent.name == "lib":
        try:
            from gemma_audio_cli.engine._ffi import ffi

            return ffi
        except ImportError:
            pass
    from gemma_audio_cli.engine._cdef import make_ffi

    for header in (
        library.parent.parent / "include" / "gemma_audio.h",
        _CHECKOUT / "native" / "include" / "gemma_audio.h",
        _PACKAGE / "include" / "gemma_audio.h",
    ):
        if header.is_file():
            return make_ffi(header)
    raise errors.LibraryError(f"gemma_audio.h is not found beside {library}; install the package again")


def _add_dll_folder(library: Path) -> None:
    """Windows has no rpath: tell the loader where ggml and libllama are, beside the library (as in a wheel
    that brings them) or in llama-cpp-python.
    """
    if sys.platform == "win32":
        os.add_dll_directory(str(library.parent))
        spec = importlib.util.find_spec("llama_cpp")
        if spec and spec.origin:
            os.add_dll_directory(str(Path(spec.origin).parent / "lib"))


def _spin_briefly() -> None:
    """Threads that wait for others at the end of a graph's node spin for some microseconds, then sleep.

    Left to itself, GCC's OpenMP spins for milliseconds. Beside one other busy process, each wait then lasts
    until the system takes the processor away from the spinning thread: on two cores a token of E2B takes
    3.5 s, not 0.09 s. On a quiet machine the short spin costs nothing that can be measured. Read when that
    library is loaded; who sets a policy of their own keeps it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _no_debugger() -> None:
    """ggml starts gdb or lldb on a process that it ends, which print on stdout. Read when ggml is loaded; the
    library has a handler of its own (native/src/core/crash.h).
    """
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")


@functools.lru_cache(maxsize=1)
def native() -> Native:
    """Open the library once for the process."""
    path = find_library()
    ffi = _load_ffi(path)
    _add_dll_folder(path)
    _spin_briefly()
    _no_debugger()
    try:
        lib = ffi.dlopen(str(path))
        version = lib.ga_abi_version()
    except (OSError, AttributeError) as error:
        first = str(error).splitlines()[0]
        what = "this package" if is_bundled() else "llama-cpp-python and this package"
        raise errors.LibraryError(f"cannot load {path}: {first}; install {what} again") from None
    if version != ABI_VERSION:
        raise errors.LibraryError(
            f"{path} speaks version {version} of its interface, this package version {ABI_VERSION}; "
            "install the package again"
        )
    return Native(ffi, lib, path)
