"""What this machine could compute on: each backend's hardware, build and use, in one table."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gemma_audio_cli import config
from gemma_audio_cli.backends.choose import choose
from gemma_audio_cli.backends.detect import Detection, detect_all, fetchable, missing
from gemma_audio_cli.backends.store import Build, find
from gemma_audio_cli.backends.table import BACKENDS, Backend, Need
from gemma_audio_cli.backends.tools import Machine
from gemma_audio_cli.errors import BackendError


@dataclass(frozen=True)
class Line:
    """One backend's line of the table."""

    row: Backend
    found: Detection
    build: Build | None
    in_use: bool
    advice: str

    def as_json(self) -> dict[str, object]:
        """The line as one object; memory in bytes."""
        row = self.row
        return {
            "name": row.name,
            "title": row.title,
            "devices": [asdict(device) for device in self.found.devices],
            "toolchain": self.found.toolchain,
            "note": self.found.note,
            "built": row.is_default or self.build is not None,
            "build": asdict(self.build.record) if self.build else None,
            "in_use": self.in_use,
            "verified": row.verified,
            "advice": self.advice,
        }


def lines() -> list[Line]:
    """The table: every backend of this system, the one in use marked."""

    machine = Machine()
    try:
        used = choose(config.load().backend).backend
    except BackendError:  # the configured one is not built
        used = ""
    found = detect_all(machine)
    table = []
    for row in BACKENDS:
        if machine.system not in row.systems:
            continue
        build = None if row.is_default else find(row.name)
        needs = [need for need in missing(row, machine) if not fetchable(row, need, machine)]
        to_do = advice(row, found[row.name], build, needs)
        table.append(Line(row, found[row.name], build, row.name == used, to_do))
    return table


def advice(row: Backend, found: Detection, build: Build | None, needs: list[Need]) -> str:
    """What a person may do to use it, in a few words, and what they should know before."""
    if row.is_default:
        return "part of the package"
    if build is not None:
        step = f"--backend {row.name}"
    elif not found.hardware and not row.on_cpu:
        return found.note or f"no device seen; driver: {row.driver}"
    elif needs:
        step = "install " + "; ".join(need.package for need in needs)
    else:
        step = f"gemma-audio backends build {row.name}"
    slower = "slower than the package's own products on the CPU" if row.on_cpu else ""
    return "; ".join(filter(None, (step, found.note, slower)))
