"""Which microphones there are.

PortAudio (package sounddevice) knows a device by its number, which changes when another is plugged in, and by
its name, which stays. Only the devices of the moment it was initialised are known to it: `forget_devices`.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from gemma_audio_cli.audio.quiet import quiet
from gemma_audio_cli.errors import DeviceError, UsageError
from gemma_audio_cli.formatting import json_text, printable
from gemma_audio_cli.sound import MAX_RATE, MIN_RATE

_INSTALL = {
    "linux": "install libportaudio2 (Debian, Ubuntu) or portaudio (Fedora, Arch)",
    "darwin": "install it with: brew install portaudio",
}
NO_DEVICE = "no microphone found; connect one, or start the sound server, and look with --list-devices"


@dataclass(frozen=True)
class InputDevice:
    """Something that sound can be recorded from."""

    index: int
    """PortAudio's number for it."""
    name: str
    channels: int
    rate: int
    """Its own samples a second."""
    is_default: bool


def portaudio() -> Any:
    """The package sounddevice, with PortAudio initialised. Raises DeviceError."""
    try:
        with quiet():
            _check_alsa()
            import sounddevice
    except DeviceError:
        raise
    except OSError:
        remedy = _INSTALL.get(sys.platform, "install PortAudio")
        raise DeviceError(f"the PortAudio library is missing, which reaches microphones; {remedy}") from None
    except Exception as error:  # sounddevice's own, which cannot be named before it is imported
        raise DeviceError(f"PortAudio does not start: {explain(error)}") from None
    return sounddevice


def forget_devices() -> None:
    """Look for devices anew. No stream may be open. Raises DeviceError."""
    sounddevice = portaudio()
    with quiet():
        with suppress(sounddevice.PortAudioError):
            sounddevice._terminate()
        try:
            sounddevice._initialize()
        except sounddevice.PortAudioError as error:
            raise DeviceError(f"PortAudio does not start: {explain(error)}") from None


def sound_systems() -> list[str]:
    """What PortAudio reaches devices through: ALSA, Core Audio, WASAPI, ... Raises DeviceError without it."""
    sounddevice = portaudio()
    with quiet():
        try:
            return [str(system["name"]) for system in sounddevice.query_hostapis()]
        except sounddevice.PortAudioError as error:
            raise DeviceError(f"PortAudio lists no devices: {explain(error)}") from None


def input_devices() -> list[InputDevice]:
    """All of them; none is an empty list. Raises DeviceError without PortAudio."""
    sounddevice, systems = portaudio(), sound_systems()
    with quiet():
        try:
            found = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
        except sounddevice.PortAudioError as error:
            raise DeviceError(f"PortAudio lists no devices: {explain(error)}") from None
        try:
            default = sounddevice.query_devices(kind="input")["index"]
        except (sounddevice.PortAudioError, ValueError):
            default = -1
    # Windows offers one device through several systems, under the same name.
    often = Counter(device["name"] for device in found)
    return [
        InputDevice(
            index=device["index"],
            name=_printable(device["name"], systems[device["hostapi"]] if often[device["name"]] > 1 else ""),
            channels=device["max_input_channels"],
            rate=_sensible(device["default_samplerate"]),
            is_default=device["index"] == default,
        )
        for device in found
    ]


def choose_device(wanted: str | None) -> InputDevice:
    """The device of that number, name or part of a name; None: the default one.

    Raises UsageError where none or several fit, DeviceError where there is none at all.
    """
    devices = input_devices()
    if not devices:
        raise DeviceError(NO_DEVICE)
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    text = wanted.strip().casefold()
    fitting = [device for device in devices if str(device.index) == text]
    fitting = fitting or [device for device in devices if device.name.casefold() == text]
    fitting = fitting or [device for device in devices if text in device.name.casefold()]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(f"{device.index} {device.name}" for device in fitting or devices)
    if fitting:
        raise UsageError(f"several microphones are called {wanted!r}: {known}; give the number")
    raise UsageError(f"no microphone is called {wanted!r}; there are: {known}")


def explain(error: BaseException) -> str:
    """What PortAudio says, without its number and ours."""
    text = " ".join(str(error).split()).split(" [PaError")[0]
    for prefix in ("Error opening InputStream: ", "Error starting stream: "):
        text = text.removeprefix(prefix)
    return text.rstrip(".")


def _check_alsa() -> None:
    """PortAudio aborts the process where ALSA has no configuration; this finds out without PortAudio."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    try:
        alsa = ctypes.CDLL("libasound.so.2")
        alsa.snd_config_update()
        root = ctypes.c_void_p.in_dll(alsa, "snd_config")
    except (OSError, ValueError):
        return
    if not root or alsa.snd_config_search(root, b"pcm", ctypes.byref(ctypes.c_void_p())) < 0:
        raise DeviceError(
            "ALSA's configuration (/usr/share/alsa/alsa.conf) is missing or empty; "
            "install it (Debian, Ubuntu: libasound2-data), or unset ALSA_CONFIG_PATH"
        )


def _printable(name: str, system: str) -> str:
    whole = f"{name} ({system})" if system else name
    return printable(" ".join(whole.split())) or "(no name)"


def _sensible(rate: float) -> int:
    return round(rate) if MIN_RATE <= rate <= MAX_RATE else 48_000


def _survey() -> None:
    """Prints all of this as JSON: who must not be ended by a sound library asks a process of its own,
    `python -m gemma_audio_cli.audio.capture.devices`.
    """
    try:
        found: dict[str, object] = {
            "interfaces": sound_systems(),
            "inputs": [asdict(device) for device in input_devices()],
        }
    except DeviceError as error:
        found = {"error": str(error)}
    sys.stdout.write(json_text(found))


if __name__ == "__main__":
    _survey()
