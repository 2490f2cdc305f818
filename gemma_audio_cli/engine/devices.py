"""The devices of the open library."""

from __future__ import annotations

from dataclasses import dataclass

from gemma_audio_cli.engine._binding import native
from gemma_audio_cli.engine._native import new_struct

_KINDS = ("CPU", "GPU", "integrated GPU", "accelerator")


@dataclass(frozen=True)
class DeviceInfo:
    """One device as ggml knows it. Memory in bytes, 0 where it does not say."""

    name: str
    description: str
    kind: str
    memory_free: int
    memory_total: int


def devices() -> list[DeviceInfo]:
    """All of them, the CPU last."""
    n = native()
    found = []
    for index in range(n.lib.ga_device_count()):
        value = new_struct(n, "ga_device_info")
        if n.lib.ga_device_get(index, value) != n.lib.GA_OK:
            continue
        kind = _KINDS[value.type] if 0 <= value.type < len(_KINDS) else "device"
        name, description = (
            n.ffi.string(text).decode("utf-8", "replace") for text in (value.name, value.description)
        )
        found.append(DeviceInfo(name, description, kind, int(value.memory_free), int(value.memory_total)))
    return found
