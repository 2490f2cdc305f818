"""Builds a backend into a prefix of its own.

    what the machine lacks and PyPI has ─────────┐
    llama-cpp-python with the backend's flags ──┼──► .building-XXXX ──opened once──► renamed to its name
    native/ against it ──────────────────────────┘    (all output: build.log)

What was built before stays and is used until the new one has its name; then the older ones go. A build that
fails, is interrupted or killed leaves nothing that is used.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from gemma_audio_cli.backends import amx, store, trust
from gemma_audio_cli.backends.child import run_logged
from gemma_audio_cli.backends.detect import fetchable, missing
from gemma_audio_cli.backends.store import Build, Record
from gemma_audio_cli.backends.table import Backend, Fetched
from gemma_audio_cli.backends.tools import Machine
from gemma_audio_cli.engine import _llama
from gemma_audio_cli.errors import BackendError, UsageError
from gemma_audio_cli.version import __version__

OnProgress = Callable[[str, int, int], None]
"""Told what is done, and how far: (step, done, all); all is 0 where that is not known."""

_STAGING = ".building-"
_PACKAGE = Path(__file__).resolve().parent.parent
_OLDEST_CMAKE = (3, 21)


def build(row: Backend, on_progress: OnProgress, machine: Machine | None = None) -> Build:
    """Build the backend. Raises BackendError in one line: what is missing, or what failed and where."""
    if row.is_default:
        raise UsageError("the CPU's library comes with the package; there is nothing to build")
    machine = machine or Machine()
    if machine.system not in row.systems:
        raise UsageError(f"{row.name} is not for this system, but for {', '.join(row.systems)}")
    needs = missing(row, machine)
    fetched = list(dict.fromkeys(found for need in needs if (found := fetchable(row, need, machine))))
    if needs := [need for need in needs if need.fetched not in fetched]:
        what = "; ".join(f"{need.what} (install {need.package})" for need in needs)
        raise BackendError(f"cannot build {row.name}; missing: {what}")
    sources = _sources()
    folder = store.folder() / row.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder), open(folder / "build.log", "w", encoding="utf-8") as log:
            for stale in folder.glob(f"{_STAGING}*"):
                shutil.rmtree(stale, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
            try:
                return _Work(row, fetched, sources, staging, log, on_progress).run()
            finally:
                shutil.rmtree(staging, ignore_errors=True)  # after a success it has another name
    except OSError as error:
        place = error.filename or folder
        raise BackendError(f"cannot build {row.name} in {place}: {error.strerror or error}") from None


class _Work:
    """One build in its staging folder."""

    def __init__(
        self,
        row: Backend,
        fetched: list[Fetched],
        sources: Path,
        staging: Path,
        log: IO[str],
        on_progress: OnProgress,
    ) -> None:
        self._row, self._sources, self._staging = row, sources, staging
        self._log, self._on_progress = log, on_progress
        self._llama = _llama.release()
        # Hundreds of megabytes of objects that a compiler which is ended leaves behind go with the folder.
        temporary = str(staging / ".tmp")
        os.mkdir(temporary)
        self._roots = {found: staging / ".fetched" / found.root for found in fetched}
        flags = [
            flag.format(root=shlex.quote(str(root)))
            for found, root in self._roots.items()
            for flag in found.flags
        ]
        # No product of ours uses ggml's AMX, but what else opens this libllama may.
        flags += map(shlex.quote, amx.remedy("amx_tile" in amx.cpu_flags()).cmake_args())
        # A person's own flags come last and win: -DCMAKE_CUDA_ARCHITECTURES=86
        asked = os.environ.get("CMAKE_ARGS", "")
        if sys.platform == "linux":  # ggml's libraries find each other, and what was fetched, beside them
            flags.append("'-DCMAKE_INSTALL_RPATH=$ORIGIN'")
        self._environment = os.environ | {
            "CMAKE_ARGS": " ".join([*row.flags, *flags, "-DLLAVA_BUILD=OFF", asked]).strip(),
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
        }

    def run(self) -> Build:
        """All steps; the finished build under its name."""
        from gemma_audio_cli.engine._binding import ABI_VERSION

        self._fetch()
        self._get_llama()
        self._gather()
        self._get_engine()
        self._tidy()
        now = datetime.now(timezone.utc)
        record = Record(
            self._row.name, __version__, self._llama, ABI_VERSION, self._row.flags,
            now.isoformat(timespec="seconds"),
        )  # fmt: skip
        built = Build(self._staging, record)
        self._open_once(built)
        store.write_record(self._staging, record)
        trust.close(self._staging)
        older = store.builds(self._row.name)
        final = self._staging.parent / f"{__version__}-llama{self._llama}-{now:%Y%m%dT%H%M%SZ}"
        os.rename(self._staging, final)
        for build_before in older:
            shutil.rmtree(build_before.prefix, ignore_errors=True)
        return Build(final, record)

    def _fetch(self) -> None:
        for found, root in self._roots.items():
            target = self._staging / ".fetched"
            self._step(f"{found.what} from PyPI", *self._pip(target=target, alone=False), *found.packages)
            # Linkers look for libNAME.so; wheels bring libNAME.so.13 only, and a folder that is called lib.
            for library in sorted((root / "lib").glob("lib*.so.*")):
                link = library.with_name(library.name.split(".so.")[0] + ".so")
                if not link.exists():
                    link.symlink_to(library.name)
            if (root / "lib").is_dir() and not (root / "lib64").exists():
                (root / "lib64").symlink_to("lib")

    def _gather(self) -> None:
        """What is needed while running lies in one folder, where ggml's libraries look first."""
        target = self._staging / "llama_cpp" / "lib"
        # llama-cpp-python leaves out backends that it does not know; ggml's own installation has them.
        found = [path for place in ("lib", "bin") for path in (self._staging / place).glob("*ggml*")]
        for fetched, root in self._roots.items():
            found += [path for pattern in fetched.libraries for path in root.glob(pattern)]
        for library in found:
            if not library.is_dir() and not os.path.lexists(target / library.name):
                shutil.copy2(library, target / library.name, follow_symlinks=False)

    def _get_llama(self) -> None:
        # No cache: pip keeps wheels by name and version, whatever flags they were built with.
        self._step(
            f"llama-cpp-python {self._llama} for {self._row.name}",
            *self._pip("--no-cache-dir", "--no-binary", "llama-cpp-python", "--verbose"),
            f"llama-cpp-python=={self._llama}",
        )

    def _get_engine(self) -> None:
        if not _has_cmake() or not shutil.which("ninja"):
            tools = self._staging / ".tools"
            self._step("CMake and ninja", *self._pip(target=tools), "cmake>=3.21", "ninja")
            self._environment |= {
                "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
                "PYTHONPATH": str(tools),
            }
        cmake = shutil.which("cmake", path=self._environment["PATH"]) or "cmake"
        objects = str(self._staging / ".objects")
        self._step(
            "the engine's configuration", cmake, "-S", str(self._sources), "-B", objects, "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release", "-DGA_WERROR=OFF", f"-DGA_LLAMA_ROOT={self._staging}",
            f"-DPython_EXECUTABLE={sys.executable}",
        )  # fmt: skip
        self._step("the engine", cmake, "--build", objects)
        self._step("the engine's place", cmake, "--install", objects, "--prefix", str(self._staging))

    def _pip(self, *options: str, target: Path | None = None, alone: bool = True) -> list[str]:
        return [
            sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
            *(("--no-deps",) if alone else ()), *options, "--target", str(target or self._staging),
        ]  # fmt: skip

    def _tidy(self) -> None:
        """Leave what is needed to run: the engine, and ggml and libllama beside it."""
        for path in self._staging.iterdir():
            if path.name not in ("gemma_audio_cli", "llama_cpp"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (self._staging / "llama_cpp").iterdir():
            if path.name != "lib":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _open_once(self, built: Build) -> None:
        """A library that does not load must not take the place of one that does."""
        code = "from gemma_audio_cli.engine.devices import devices; print([d.name for d in devices()])"
        self._environment |= {
            "GEMMA_AUDIO_LIBRARY": str(built.library),
            "PYTHONPATH": os.pathsep.join([str(_PACKAGE.parent), os.environ.get("PYTHONPATH", "")]),
        }
        self._step("a first look at its devices", sys.executable, "-c", code)

    def _step(self, what: str, *command: str) -> None:
        self._on_progress(what, 0, 0)

        def counted(done: int, total: int) -> None:
            self._on_progress(what, done, total)

        if not run_logged(command, self._log, self._environment, counted):
            path = Path(self._log.name)
            raise BackendError(
                f"building {self._row.name} failed at {what}: {_reason(path)} (all of it: {path}); "
                "what was built before is untouched"
            )


def _sources() -> Path:
    """native/, from a checkout or from the package."""
    for place in (_PACKAGE.parent / "native", _PACKAGE / "native"):
        if (place / "CMakeLists.txt").is_file():
            return place
    raise BackendError("the engine's sources are not there; install the package again")


def _has_cmake() -> bool:
    try:
        text = subprocess.run(["cmake", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return False
    found = re.search(r"version (\d+)\.(\d+)", text)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST_CMAKE


def _reason(log: Path) -> str:
    """The first line of the last step that looks like the cause."""
    text = log.read_text(encoding="utf-8", errors="replace").rsplit("\n$ ", 1)[-1]
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    telling = [
        line for line in lines
        if re.search(r"\berror\b[: ]|No module named|No space left|not found", line, re.I)
        and not line.startswith(("[", "--"))
    ]  # fmt: skip
    reason = (telling or lines[-1:] or ["it said nothing"])[0]
    return reason[:200]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one build of a backend at a time."""
    from gemma_audio_cli.files import try_lock

    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if not try_lock(descriptor):
            raise BackendError(f"another build of {folder.name} is running; wait for its end")
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)
