"""The machine that figures are of, and the engine: what must be the same for them to stand in one table."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

_WANTED = ("model name", "cpu family", "model", "Hardware", "CPU part")


def processor() -> dict[str, str]:
    """What /proc/cpuinfo says about the first processor; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip() in _WANTED}


def title() -> str:
    """One line for a processor, with its family: virtual machines often call several kinds alike."""
    found = processor()
    name = found.get("model name") or platform.processor() or platform.machine()
    numbers = [
        f"{word} {found[key]}" for key, word in (("cpu family", "family"), ("model", "model")) if key in found
    ]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def engine() -> str:
    """One word for the engine's library as it was built."""
    from gemma_audio_cli.engine._binding import find_library

    return hashlib.sha256(find_library().read_bytes()).hexdigest()[:16]


def about() -> dict[str, Any]:
    """For a report."""
    return {"cpu": title(), "system": platform.platform(), "engine": engine()}
