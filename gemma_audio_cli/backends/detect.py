"""What of each backend this machine has: one small detector a row of the table.

    Machine ──► vendor's tools ──► parse ──► Detection(devices, driver, tool chain)

Nothing is imported or loaded to find out; a tool that is missing, fails or hangs means "not found".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from gemma_audio_cli.backends import parse
from gemma_audio_cli.backends.parse import Device
from gemma_audio_cli.backends.table import BACKENDS, COMPILER, Backend, Fetched, Need
from gemma_audio_cli.backends.tools import Machine
from gemma_audio_cli.memory import memory


@dataclass(frozen=True)
class Detection:
    """What was found for one backend."""

    devices: tuple[Device, ...] = ()
    toolchain: str | None = None
    """What would build it, with its version; None: not all there."""
    note: str = ""
    """What a person should know before using it."""

    @property
    def hardware(self) -> bool:
        """Is there a device that is not the CPU under another name?"""
        return any(not device.note.startswith("software") for device in self.devices)


def detect(row: Backend, machine: Machine | None = None) -> Detection:
    """Look for one backend."""
    machine = machine or Machine()
    if machine.system not in row.systems:
        return Detection()
    return _DETECTORS[row.name](machine)


def detect_all(machine: Machine | None = None) -> dict[str, Detection]:
    """Look for all of them at once: the slow tools wait for their drivers, not for this processor."""
    with ThreadPoolExecutor(max_workers=len(BACKENDS)) as pool:
        found = pool.map(lambda row: detect(row, machine), BACKENDS)
        return {row.name: detection for row, detection in zip(BACKENDS, found, strict=True)}


def missing(row: Backend, machine: Machine | None = None) -> list[Need]:
    """What a build of this backend cannot find."""
    machine = machine or Machine()
    return [need for need in (COMPILER, *row.needs) if not _is_there(need, machine)]


def fetchable(row: Backend, need: Need, machine: Machine) -> Fetched | None:
    """What a build may fetch from PyPI in place of something that is missing."""
    if need.fetched is None or machine.system != "linux":
        return None
    if row.name == "cuda":  # the whole toolkit or nothing: half of one does not fit the other half
        newest = _newest_cuda(machine)
        if newest is not None and float(newest) < 13:
            return None
    return need.fetched


def _newest_cuda(machine: Machine) -> str | None:
    """The newest CUDA that NVIDIA's driver runs; None where there is no driver, or it does not say."""
    return parse.nvidia_smi_cuda(machine.run("nvidia-smi") or "")


def _is_there(need: Need, machine: Machine) -> bool:
    if need.programs and machine.which(*need.programs):
        return True
    path = machine.first_file(*need.files)
    return path is not None and (not need.holds or need.holds in (machine.read(path) or ""))


def cpu(machine: Machine | None = None) -> parse.Cpu:
    """The processor, as far as the system tells."""
    machine = machine or Machine()
    if machine.system == "linux" and (found := parse.cpuinfo(machine.read("/proc/cpuinfo") or "")):
        return found
    threads, cores = os.cpu_count() or 1, None
    if machine.system == "darwin":
        name = (machine.run("sysctl", "-n", "machdep.cpu.brand_string") or "").strip()
        physical = (machine.run("sysctl", "-n", "hw.physicalcpu") or "").strip()
        cores = int(physical) if physical.isdecimal() else None
    else:
        name = machine.environment("PROCESSOR_IDENTIFIER") or ""
    return parse.Cpu(name or "unknown", threads, cores, ())


# -- one a backend --


def _cuda(machine: Machine) -> Detection:
    query = "--query-gpu=name,memory.total,memory.free,driver_version,compute_cap"
    devices = parse.nvidia_smi(machine.run("nvidia-smi", query, "--format=csv,noheader,nounits") or "")
    compiler = machine.which("nvcc") or machine.first_file(
        "/usr/local/cuda/bin/nvcc", "$CUDA_PATH/bin/nvcc.exe"
    )
    toolkit = parse.nvcc(machine.run(compiler, "--version") or "") if compiler else None
    newest = _newest_cuda(machine) if devices else None
    note = ""
    if toolkit and newest and int(toolkit.split(".")[0]) > int(newest.split(".")[0]):
        note = f"the driver runs CUDA {newest} at most, the toolkit is {toolkit}: update the driver"
    elif devices and toolkit and int(toolkit.split(".")[0]) >= 13:
        old = [d.name for d in devices if d.note and float(d.note.split()[1]) < 7.5]
        if old:
            note = f"CUDA 13 no longer runs on {old[0]}: build with a toolkit 12"
    return Detection(tuple(devices), f"nvcc {toolkit}" if toolkit else None, note)


def _hip(machine: Machine) -> Detection:
    devices = parse.rocminfo(machine.run("rocminfo") or "")
    if devices:
        text = machine.run("rocm-smi", "--showmeminfo", "vram", "--showdriverversion", "--json") or ""
        driver, memories = parse.rocm_smi(text)
        if len(memories) == len(devices):
            devices = [
                replace(device, memory=total or device.memory, free=free, driver=driver)
                for device, (total, free) in zip(devices, memories, strict=True)
            ]
        else:
            devices = [replace(device, driver=driver) for device in devices]
    compiler = machine.which("hipcc") or machine.first_file("/opt/rocm/bin/hipcc")
    toolkit = parse.hipcc(machine.run(compiler, "--version") or "") if compiler else None
    return Detection(tuple(devices), f"hipcc {toolkit}" if toolkit else None)


def _metal(machine: Machine) -> Detection:
    devices = parse.system_profiler(machine.run("system_profiler", "SPDisplaysDataType", "-json") or "")
    total = memory(machine.read).total  # Apple's processors share it
    devices = [replace(device, memory=device.memory or total) for device in devices]
    return Detection(tuple(devices), "Xcode" if machine.run("xcode-select", "-p") else None)


def _vulkan(machine: Machine) -> Detection:
    devices = parse.vulkaninfo(machine.run("vulkaninfo", "--summary") or "")
    compiler = "glslc" if machine.which("glslc") else None
    # Without the tool the driver's own files still tell that there is one, if not for what.
    icd = machine.first_file("/usr/share/vulkan/icd.d/*.json", "/etc/vulkan/icd.d/*.json")
    note = "a driver is there; install vulkan-tools to see its devices" if not devices and icd else ""
    return Detection(tuple(devices), compiler, note)


def _openvino(machine: Machine) -> Detection:
    devices = parse.clinfo(machine.run("clinfo", "--list") or "")
    config = machine.first_file(
        "$INTEL_OPENVINO_DIR/runtime/cmake/OpenVINOConfig.cmake",
        "/opt/intel/openvino*/runtime/cmake/OpenVINOConfig.cmake",
        "/usr/lib/cmake/openvino*/OpenVINOConfig.cmake",
    )
    if machine.first_file("/dev/accel/accel*") and devices:
        devices.append(Device("NPU"))
    return Detection(tuple(devices), "OpenVINO" if config else None)


def _sycl(machine: Machine) -> Detection:
    devices = parse.sycl_ls(machine.run("sycl-ls") or "")
    toolkit = parse.icpx(machine.run("icpx", "--version") or "")
    return Detection(tuple(devices), f"icpx {toolkit}" if toolkit else None)


def _cann(machine: Machine) -> Detection:
    devices = parse.npu_smi(machine.run("npu-smi", "info") or "")
    return Detection(
        tuple(devices), "CANN" if machine.first_file("$ASCEND_TOOLKIT_HOME/include/acl/acl.h") else None
    )


def _blas(machine: Machine) -> Detection:
    version = (machine.run("pkg-config", "--modversion", "openblas") or "").strip()
    devices = (Device(cpu(machine).name),) if version else ()
    return Detection(devices, f"OpenBLAS {version}" if version else None)


def _cpu(machine: Machine) -> Detection:
    found, (total, free) = cpu(machine), memory(machine.read)
    wide = [f for f in found.features if f.startswith(("avx512", "amx", "avx2", "sve", "i8mm"))]
    compiler = machine.which(*COMPILER.programs)
    return Detection((Device(found.name, total, free, note=" ".join(wide)),), "C++" if compiler else None)


_DETECTORS: dict[str, Callable[[Machine], Detection]] = {
    "cuda": _cuda,
    "hip": _hip,
    "metal": _metal,
    "vulkan": _vulkan,
    "openvino": _openvino,
    "sycl": _sycl,
    "cann": _cann,
    "blas": _blas,
    "cpu": _cpu,
}
