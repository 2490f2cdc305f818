"""Detectors on machines that are described, and on this one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gemma_audio_cli import errors
from gemma_audio_cli.backends import tools
from gemma_audio_cli.backends.detect import detect, detect_all, fetchable, missing
from gemma_audio_cli.backends.status import advice
from gemma_audio_cli.backends.store import Build, Record
from gemma_audio_cli.backends.table import BACKENDS, find_backend
from gemma_audio_cli.backends.tools import Machine

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Described(Machine):
    """A machine whose programs print what is in tests/backends/data."""

    prints: dict[str, str] = field(default_factory=dict)
    """The file with the output of a command that begins so; the longest beginning counts."""
    files: tuple[str, ...] = ()

    def run(self, *command: str) -> str | None:
        line = " ".join(command)
        known = [start for start in self.prints if line.startswith(start)]
        return (DATA / self.prints[max(known, key=len)]).read_text() if known else None

    def which(self, *programs: str) -> str | None:
        return next((p for p in programs if any(s.split()[0] == p for s in self.prints)), None)

    def read(self, path: str) -> str | None:
        return None

    def first_file(self, *patterns: str) -> str | None:
        return next((pattern for pattern in patterns if pattern in self.files), None)

    def package(self, name: str) -> str | None:
        return None


NVIDIA = {"nvidia-smi": "nvidia-smi.txt", "nvidia-smi --query-gpu": "nvidia-smi-query.csv"}


def test_a_toolkit_newer_than_the_driver_is_reported():
    found = detect(find_backend("cuda"), Described("linux", NVIDIA | {"nvcc": "nvcc-13.0.txt"}))
    assert len(found.devices) == 2
    assert found.toolchain == "nvcc 13.0"
    assert "CUDA 12.4 at most" in found.note


def test_a_matching_toolkit_needs_no_remark():
    found = detect(find_backend("cuda"), Described("linux", NVIDIA | {"nvcc": "nvcc-12.4.txt"}))
    assert (found.toolchain, found.note) == ("nvcc 12.4", "")


def test_amd_memory_and_driver_come_from_the_second_tool():
    prints = {"rocminfo": "rocminfo.txt", "rocm-smi": "rocm-smi.json", "hipcc": "hipcc.txt"}
    (device,) = detect(find_backend("hip"), Described("linux", prints)).devices
    assert device.driver == "6.7.0"
    assert device.free is not None
    assert device.memory is not None
    assert 0 < device.free < device.memory


def test_software_is_no_hardware():
    found = detect(
        find_backend("vulkan"), Described("linux", {"vulkaninfo": "vulkaninfo-summary-llvmpipe.txt"})
    )
    assert found.devices
    assert not found.hardware


@pytest.mark.parametrize("name", ["cuda", "hip", "metal", "vulkan", "openvino", "sycl", "cann", "blas"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_a_bare_machine_has_nothing(name, system):
    found = detect(find_backend(name), Described(system))
    assert found.devices == ()
    assert found.toolchain is None


def test_what_is_missing_comes_with_its_package():
    needs = missing(find_backend("vulkan"), Described("linux", {"c++": "nvcc-12.4.txt"}))
    assert [need.package.split()[0] for need in needs] == ["glslc", "libvulkan-dev", "spirv-headers"]
    assert missing(find_backend("cpu"), Described("linux"))[0].package.startswith("g++")


def test_this_machine_has_a_cpu():
    found = detect_all()
    assert set(found) == {row.name for row in BACKENDS}
    assert found["cpu"].devices[0].name


def test_a_tool_that_hangs_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "TIMEOUT_S", 0.2)
    assert Machine().run(sys.executable, "-c", "import time; time.sleep(60)") is None
    assert Machine().run(sys.executable, "-c", "print('yes'); raise SystemExit(3)") is None
    assert Machine().run(str(tmp_path / "nothing")) is None


def test_a_name_nearly_right_is_answered_with_the_right_one():
    with pytest.raises(errors.UsageError, match="did you mean vulkan"):
        find_backend("vulcan")


def test_the_docs_say_what_the_table_says():
    root = Path(__file__).resolve().parents[2]
    for path in (root / "README.md", root / "docs" / "BACKENDS.md"):
        text = path.read_text(encoding="utf-8")
        for row in BACKENDS:
            assert f"| `{row.name}` | {row.title} | {row.verified} |" in text


def test_detection_imports_nothing_heavy():
    heavy = "{'numpy', 'rich', 'torch', 'openvino', 'llama_cpp', 'cffi'}"
    code = (
        "import sys; from gemma_audio_cli.backends.detect import detect_all; "
        f"detect_all(); print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def _advised(
    name: str, prints: dict[str, str], files: tuple[str, ...] = (), build: Build | None = None
) -> str:
    row, machine = find_backend(name), Described("linux", prints, files)
    return advice(row, detect(row, machine), build, missing(row, machine))


def test_openblas_needs_no_device_and_is_built_like_the_others(tmp_path):
    compiler, header = {"c++": "nvcc-12.4.txt"}, "/usr/include/*/cblas.h"
    without = _advised("blas", compiler)
    assert without.startswith("install libopenblas-dev; pkg-config; slower than")
    assert "device" not in without
    assert "driver" not in without
    # openblas.txt: what pkg-config --modversion prints
    ready = _advised("blas", compiler | {"pkg-config": "openblas.txt"}, (header,))
    assert ready.startswith("gemma-audio backends build blas; slower than")
    record = Record("blas", "0.1.0", "0.3.36", 3, (), "2026-11-01T00:00:00Z")
    built = _advised("blas", compiler | {"pkg-config": "openblas.txt"}, (header,), Build(tmp_path, record))
    assert built.startswith("--backend blas; slower than")
    found = detect(find_backend("blas"), Described("linux", {"pkg-config": "openblas.txt"}))
    assert found.toolchain == "OpenBLAS 0.3.21"


def test_openvino_computes_without_a_device_too():
    assert _advised("openvino", {"c++": "nvcc-12.4.txt"}).startswith("install openvino")


def test_a_device_that_is_not_there_is_reported_with_its_driver():
    assert _advised("vulkan", {}).startswith("no device seen; driver: the graphics driver")


def test_what_computes_on_the_cpu_is_never_taken_unasked():
    assert {row.name for row in BACKENDS if row.on_cpu} == {"blas", "openvino"}


def _fetched(name: str, machine: Machine) -> list[str]:
    row = find_backend(name)
    found = [fetchable(row, need, machine) for need in missing(row, machine)]
    return [fetched.packages[0] for fetched in found if fetched]


def test_what_pypi_has_is_fetched_where_it_fits():
    compiler = {"c++": "nvcc-12.4.txt"}
    assert _fetched("openvino", Described("linux", compiler)) == ["openvino>=2026.0"]
    assert _fetched("openvino", Described("win32", compiler)) == []
    toolkit = "cuda-toolkit[cccl,crt,cublas,cudart,nvcc,nvvm]==13.0.*"
    assert set(_fetched("cuda", Described("linux", compiler))) == {toolkit}
    assert _fetched("cuda", Described("linux", compiler | NVIDIA)) == []  # its driver runs 12.4 at most
