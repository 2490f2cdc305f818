"""llama.cpp for a class of processors: the best build of it that works here.

    installed llama-cpp-python ──is it the class's best, and right?──► its folder
    its sources (pip) ──CMake: ggml-cpu for the class──► CACHE/llama-0.3.36-avx2/ ──proof──► that folder

Only ggml-cpu depends on the processor, so only that library is built; the others are the installed ones. A
build that ends before its time goes on where it was. Each candidate has to multiply right in all its weight
types (scripts/prove_ggml.py) before it is taken: the first that does, the largest instruction set first.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cpu_classes
from cpu_classes import CpuClass

from gemma_audio_cli.backends import amx
from real_files.source import SourceError, download, release

SCRIPTS = Path(__file__).resolve().parents[1]
PROVE = SCRIPTS / "prove_ggml.py"
_KEPT = ("CMakeLists.txt", "LICENSE", "cmake/", "ggml/", "include/", "src/", "scripts/", "vendor/", "common/")


Say = Callable[[str], None]
"""Told what takes long."""


class BuildError(RuntimeError):
    """No build works; the message is one line."""


@dataclass(frozen=True)
class Build:
    """A folder with libllama, libmtmd and ggml, proved on this processor."""

    folder: Path
    what: str
    """For the report: where it is from, and what it uses."""

    def environment(self) -> dict[str, str]:
        """What makes a process load these libraries, in both engines."""
        return {"LD_LIBRARY_PATH": str(self.folder), "LLAMA_CPP_LIB_PATH": str(self.folder)}


def installed() -> Path:
    """The folder of llama-cpp-python's libraries. Raises BuildError."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise BuildError("llama-cpp-python is not installed: sh -c '. scripts/environment.sh; prepare test'")
    return Path(spec.origin).parent / "lib"


def best(wanted: CpuClass, cache: Path, say: Say) -> Build:
    """The best build for the class that works here. Raises BuildError."""
    flags = amx.cpu_flags()
    if not wanted.is_here(flags):
        raise BuildError(f"this processor has no {wanted.title}; it can be measured as: {_possible(flags)}")
    reasons = []
    for name, features, extra in candidates(wanted, flags):
        folder = installed()
        works, report = prove(folder)
        built = "installed"
        if not works or not cpu_classes.find(name).is_best(report.partition("built for ")[2].split(), flags):
            built = f"built for {name}"
            folder = _made(name, features, extra, cache, say)
            works, report = prove(folder)
        if works:
            return Build(folder, f"{built}; {report}")
        reasons.append(f"{name}: {report}")
    raise BuildError("no build of llama.cpp works here: " + "; ".join(reasons))


def candidates(wanted: CpuClass, flags: frozenset[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Builds to try for a class on a processor: (name, what it uses, CMake's further options)."""
    for one in cpu_classes.CLASSES[cpu_classes.CLASSES.index(wanted) :]:
        remedy = amx.remedy("AMX_INT8" in one.uses)
        yield one.name, sorted(one.wanted(flags)), remedy.cmake_args()
        if one.name != "amx":  # the only one that compilers get wrong
            return


def options(features: list[str]) -> list[str]:
    """CMake's options for a ggml-cpu that uses these and nothing else."""
    values = {
        "CMAKE_BUILD_TYPE": "Release",
        "BUILD_SHARED_LIBS": "ON",
        "GGML_NATIVE": "OFF",
        "GGML_CCACHE": "OFF",
        "LLAMA_BUILD_IS_DEV": "OFF",
        "LLAMA_BUILD_NUMBER": "0",
        "LLAMA_BUILD_COMMIT": "unknown",
        "LLAMA_OPENSSL": "OFF",
    }
    values |= {
        f"LLAMA_BUILD_{part}": "OFF" for part in ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER", "APP")
    }
    values |= {f"GGML_{name}": "ON" if name in features else "OFF" for name in cpu_classes.LINUX_NAMES}
    return [f"-D{name}={value}" for name, value in values.items()]


def prove(folder: Path) -> tuple[bool, str]:
    """Whether the ggml in a folder multiplies right here, and what it says or how it ended."""
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([sys.executable, PROVE, folder], capture_output=True, text=True, env=environment)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"it ended with status {done.returncode}"


def _made(name: str, features: list[str], extra: list[str], cache: Path, say: Say) -> Path:
    """The folder of a build in the cache; made where it is not there yet."""
    version = release().replace("llama-cpp-python==", "llama-")
    folder = cache / f"{version}-{name}-{'_'.join(features).lower()}"
    if folder.is_dir():
        return folder
    source, objects = _source(cache / f"{version}-source", say), cache / f"{folder.name}.objects"
    say(f"building ggml-cpu for {name} in {objects}: some minutes, once")
    log = cache / f"{folder.name}.log"
    ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
    with log.open("w") as out:
        for command in (
            ["cmake", "-S", source, "-B", objects, *ninja, *options(features), *extra],
            ["cmake", "--build", objects, "--target", "ggml-cpu", "--parallel", str(os.cpu_count() or 2)],
        ):
            if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode:
                raise BuildError(f"ggml-cpu for {name} is not built; see {log}")
    (made,) = {path.resolve() for path in objects.glob("bin/libggml-cpu.so*")}
    fresh = cache / f"{folder.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for path in installed().iterdir():
        if re.fullmatch(r"lib[\w-]+\.so(\.\d+)?", path.name):
            shutil.copyfile(made if path.name.startswith("libggml-cpu.") else path, fresh / path.name)
    fresh.rename(folder)
    shutil.rmtree(objects)
    return folder


def _source(folder: Path, say: Say) -> Path:
    """llama.cpp's sources, as llama-cpp-python brings them. Raises BuildError."""
    if folder.is_dir():
        return folder
    say(f"fetching the sources of {release()}")
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        archive = download(release(), fresh)
    except SourceError as error:
        raise BuildError(str(error)) from None
    with tarfile.open(archive) as tar:
        for member in tar:
            match = re.fullmatch(r"[^/]+/vendor/llama\.cpp/(.+)", member.name)
            if match is None or not member.isfile() or not match[1].startswith(_KEPT):
                continue
            target = fresh / match[1]
            if ".." in Path(match[1]).parts:
                raise BuildError(f"{archive}: {member.name} leads out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            data = tar.extractfile(member)
            assert data is not None  # it is a file
            with data, target.open("wb") as out:
                shutil.copyfileobj(data, out)
    archive.unlink()
    fresh.rename(folder)
    return folder


def _possible(flags: frozenset[str]) -> str:
    return ", ".join(one.name for one in cpu_classes.CLASSES if one.is_here(flags)) or "none of the classes"
