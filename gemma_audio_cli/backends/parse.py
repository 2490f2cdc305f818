"""Reads what the vendors' tools print. Pure functions: text in, devices out.

What cannot be understood is left out, never an error: formats change with every driver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Device:
    """One processor a backend could run on. Memory in bytes."""

    name: str
    memory: int | None = None
    free: int | None = None
    driver: str | None = None
    note: str = ""
    """The vendor's word for its architecture, or what is special about it."""


_MIB = 1 << 20


def nvidia_smi(text: str) -> list[Device]:
    """`nvidia-smi --query-gpu=name,memory.total,memory.free,driver_version,compute_cap
    --format=csv,noheader,nounits`.
    """
    devices = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 5:
            name, total, free, driver, capability = parts
            note = f"compute {capability}" if re.fullmatch(r"\d+\.\d+", capability) else ""
            devices.append(Device(name, _mib(total), _mib(free), driver, note))
    return devices


def nvidia_smi_cuda(text: str) -> str | None:
    """The newest CUDA the driver runs, from the head of plain `nvidia-smi`."""
    return _first(r"CUDA(?: UMD)? Version:\s*([\d.]+)", text)


def nvcc(text: str) -> str | None:
    """The toolkit's version, from `nvcc --version`."""
    return _first(r"release ([\d.]+)", text)


def rocminfo(text: str) -> list[Device]:
    """The GPU agents of `rocminfo`; memory is that of their first global pool."""
    devices = []
    for agent in re.split(r"^\*{3,}\s*\n\s*Agent \d+\s*\n\*{3,}\s*$", text, flags=re.M)[1:]:
        if not re.search(r"Device Type:\s*GPU", agent):
            continue
        arch = _first(r"^\s*Name:\s*(\S+)", agent) or ""
        name = _first(r"Marketing Name:[ \t]*(\S.*?)\s*$", agent) or arch
        size = _first(r"Segment:\s*GLOBAL;[^\n]*\n[^\n]*?Size:\s*(\d+)", agent)
        devices.append(Device(name, int(size) * 1024 if size else None, note=arch))
    return devices


def rocm_smi(text: str) -> tuple[str | None, list[tuple[int | None, int | None]]]:
    """Driver version, and (total, free) bytes of every card, from
    `rocm-smi --showmeminfo vram --showdriverversion --json`.
    """
    data = _object(text)
    memories = []
    for key in sorted((k for k in data if re.fullmatch(r"card\d+", k)), key=lambda k: int(k[4:])):
        card = data[key] if isinstance(data[key], dict) else {}
        total, used = (_int(card.get(f"VRAM Total {kind}(B)")) for kind in ("Memory ", "Used Memory "))
        memories.append((total, total - used if total is not None and used is not None else None))
    system = data.get("system")
    driver = system.get("Driver version") if isinstance(system, dict) else None
    return (str(driver) if driver else None), memories


def hipcc(text: str) -> str | None:
    """The toolkit's version, from `hipcc --version`."""
    return _first(r"HIP version:\s*(\d+\.\d+(?:\.\d+)?)", text)


def system_profiler(text: str) -> list[Device]:
    """`system_profiler SPDisplaysDataType -json`: the graphics processors with Metal."""
    devices = []
    for item in _object(text).get("SPDisplaysDataType") or []:
        if not isinstance(item, dict):
            continue
        family = item.get("spdisplays_mtlgpufamilysupport") or item.get("spdisplays_metal")
        if not isinstance(family, str) or "notsupported" in family.replace("_", ""):
            continue
        cores = item.get("sppci_cores")
        name = str(item.get("sppci_model") or item.get("_name") or "GPU")
        devices.append(
            Device(name, _size(item.get("spdisplays_vram")), note=f"{cores} cores" if cores else "")
        )
    return devices


def vulkaninfo(text: str) -> list[Device]:
    """The devices of `vulkaninfo --summary`; one that is the CPU under another name says so."""
    devices = []
    for block in re.split(r"^GPU\d+:\s*$", text, flags=re.M)[1:]:
        values = dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", block, flags=re.M))
        if "deviceName" not in values:
            continue
        software = values.get("deviceType") == "PHYSICAL_DEVICE_TYPE_CPU"
        driver = values.get("driverInfo") or values.get("driverName")
        api = f"Vulkan {values['apiVersion'].split()[0]}" if values.get("apiVersion") else ""
        note = "software, on the CPU" if software else api
        devices.append(Device(values["deviceName"], driver=driver, note=note))
    return devices


def sycl_ls(text: str) -> list[Device]:
    """The GPUs of `sycl-ls` that Level Zero drives; each is listed for every runtime, one is enough."""
    devices = []
    for kinds, rest in re.findall(r"^((?:\[[^\]]*\])+)\s*(.*)$", text, flags=re.M):
        if "level_zero:gpu" in kinds:
            name = rest.split(", ", 1)[-1]
            driver = _first(r"\[([\d.]+)[^\]]*\]\s*$", name)
            devices.append(Device(re.sub(r"\s+[\d.]+\s*\[[^\]]*\]\s*$", "", name), driver=driver))
    return devices


def icpx(text: str) -> str | None:
    """The compiler's version, from `icpx --version`."""
    return _first(r"DPC\+\+/C\+\+ Compiler (\d+\.\d+(?:\.\d+)?)", text)


def clinfo(text: str) -> list[Device]:
    """The devices of Intel's OpenCL platforms, from `clinfo --list`: those OpenVINO runs on."""
    devices, intel = [], False
    for line in text.splitlines():
        if platform := re.match(r"Platform #\d+:\s*(.*)", line):
            intel = "Intel" in platform[1]
        elif intel and (found := re.search(r"-- Device #\d+:\s*(.*\S)", line)):
            devices.append(Device(found[1]))
    return devices


def npu_smi(text: str) -> list[Device]:
    """The chips of `npu-smi info`: two rows of a table for each, memory in the second."""
    version = _first(r"npu-smi\s+(\S+)", text)
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if "|" in line
    ]
    devices = []
    for first, second in pairwise(rows):
        head = first[0].split()
        if len(first) != 3 or len(second) != 3 or len(head) != 2 or not head[0].isdigit():
            continue
        if not re.fullmatch(r"\d+(\s+\d+)?", second[0]):
            continue
        pairs = re.findall(r"(\d+)\s*/\s*(\d+)", second[2])
        used, total = (int(n) * _MIB for n in pairs[-1]) if pairs else (0, 0)
        note = "" if first[1] == "OK" else f"health: {first[1]}"
        devices.append(
            Device(f"Ascend {head[1]}", total or None, total - used if total else None, version, note)
        )
    return devices


CPU_FEATURES = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
"""What ggml and the engine have products for."""


@dataclass(frozen=True)
class Cpu:
    """The processor. cores: physical ones, None where the system does not say."""

    name: str
    threads: int
    cores: int | None
    features: tuple[str, ...]


def cpuinfo(text: str) -> Cpu | None:
    """Linux's /proc/cpuinfo, of x86 and ARM."""
    blocks = [dict(re.findall(r"^([^\t:]+?)\s*:\s*(.*)$", b, flags=re.M)) for b in re.split(r"\n\s*\n", text)]
    blocks = [block for block in blocks if "processor" in block]
    if not blocks:
        return None
    first = blocks[0]
    have = set((first.get("flags") or first.get("Features") or "").split())
    cores = {(b.get("physical id"), b["core id"]) for b in blocks if "core id" in b}
    name = first.get("model name") or f"ARM part {first.get('CPU part', 'unknown')}"
    return Cpu(name, len(blocks), len(cores) or None, tuple(f for f in CPU_FEATURES if f in have))


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, flags=re.M)
    return found[1] if found else None


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, (int, str)) and str(value).isdecimal() else None


def _mib(text: str) -> int | None:
    return int(text) * _MIB if text.isdecimal() else None


def _size(value: object) -> int | None:
    """ "8 GB" or "1536 MB" as bytes."""
    found = re.fullmatch(r"(\d+) ([GM])B", str(value))
    return int(found[1]) * (_MIB << 10 if found[2] == "G" else _MIB) if found else None


def _object(text: str) -> dict[str, Any]:
    """The JSON object in a text that may have warnings before it."""
    for start in _braces(text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _braces(text: str) -> Iterator[int]:
    return (found.start() for found in re.finditer(r"(?<!\S)\{", text))
