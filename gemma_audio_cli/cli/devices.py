"""What `--list-devices` prints: the microphones there are.

    * 1  default     2 channels  44100 Hz
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from gemma_audio_cli.cli.telling import put

DEVICE: Any = typer.Option(
    None,
    "-d",
    "--device",
    metavar="NAME|NUMBER",
    help="The microphone, by number or part of its name; default: the system's.",
    show_default=False,
)
LIST_DEVICES: Any = typer.Option(False, "--list-devices", help="Print the microphones there are, and end.")


def print_devices() -> None:
    """A line a microphone on stdout, `*` before the default one. Raises DeviceError if there is none."""
    from gemma_audio_cli.audio.devices import NO_DEVICE, input_devices
    from gemma_audio_cli.errors import DeviceError

    devices = input_devices()
    if not devices:
        raise DeviceError(NO_DEVICE)
    width = max(len(device.name) for device in devices)
    for device in devices:
        mark = "*" if device.is_default else " "
        channels = f"{device.channels} channel{'s' if device.channels > 1 else ''}"
        put(f"{mark} {device.index:2}  {device.name:{width}}  {channels:>11}  {device.rate} Hz")
    sys.stdout.flush()
