"""What `--list-devices` prints: the microphones there are.

* 1  default     2 channels  44100 Hz
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.messages import put
from gemma_audio_cli.cli.options import option
from gemma_audio_cli.formatting import counted

if TYPE_CHECKING:
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.errors import Notice

_PANEL = "Microphone"


@dataclass(frozen=True)
class Microphone:
    """Which microphone."""

    microphone: Annotated[
        str | None,
        option(
            "--microphone", metavar="NAME|NUMBER", panel=_PANEL,
            help="By number or part of its name; default: the system's.",
        ),
    ] = None  # fmt: skip
    old_device: Annotated[
        str | None, option("-d", metavar="NAME|NUMBER", help="As --microphone.", hidden=True)
    ] = None
    list_devices: Annotated[
        bool, option("--list-devices", panel=_PANEL, help="Print the microphones there are, and end.")
    ] = False

    def named(self, settings: Settings, notice: Notice, device: str | None = None) -> str | None:
        """The microphone by the options or else the settings. `device`: its old spelling, --device."""
        old = self.old_device or device
        if old is not None:
            notice("the microphone is named with --microphone now")
        return self.microphone or old or settings.microphone


def print_devices() -> None:
    """A line a microphone on stdout, `*` before the default one. Raises DeviceError if there is none."""
    from gemma_audio_cli.audio.capture.devices import NO_DEVICE, input_devices
    from gemma_audio_cli.errors import DeviceError

    devices = input_devices()
    if not devices:
        raise DeviceError(NO_DEVICE)
    width = max(len(device.name) for device in devices)
    for device in devices:
        mark = "*" if device.is_default else " "
        channels = counted(device.channels, "channel")
        put(f"{mark} {device.index:2}  {device.name:{width}}  {channels:>11}  {device.rate} Hz")
    sys.stdout.flush()
