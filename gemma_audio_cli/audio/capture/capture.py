"""One stream from one device, as long as it lasts.

    PortAudio's thread: callback ──► mixed to mono ──► Ring ──► read(): what came, and where sound is missing

The callback copies and returns; whatever else the program is busy with, the ring takes twenty seconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gemma_audio_cli.audio.capture.devices import InputDevice, explain, portaudio
from gemma_audio_cli.audio.capture.ring import Ring
from gemma_audio_cli.audio.quiet import quiet
from gemma_audio_cli.errors import DeviceError
from gemma_audio_cli.sound import Floats

LATENCY = 0.2
"""Seconds of sound that the system may hold for us: so long Python may be busy without any loss."""
PATIENCE, FIRST_PATIENCE = 2.0, 5.0
"""Seconds without a callback after which a stream counts as dead; and before its first one."""
_BLOCK = 0.05
_RING_SECONDS = 20
_MAX_CHANNELS = 2
_ABSENCE = 1.0
"""Seconds without a callback after which the callback itself asks whether sound is missing."""
_DRIFT = 1e-3
"""By how much, at most, a sound card's clock is slower than ours."""


def clock() -> float:
    """Seconds that never jump and, where the system can tell, go on while the machine sleeps."""
    if _CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_CLOCK)


def _find_clock() -> int | None:
    # macOS: CLOCK_MONOTONIC counts sleep, Python's time.monotonic() does not. Windows has neither, and its
    # monotonic clock counts it.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        number: int | None = getattr(time, name, None)
        if number is not None:
            with suppress(OSError):
                time.clock_gettime(number)
                return number
    return None


_CLOCK = _find_clock()


@dataclass(frozen=True)
class Gap:
    """So much sound is missing there, about."""

    position: int
    """Samples of this stream before it."""
    seconds: float


class Capture:
    """An open stream. One thread reads it, and asks often what is wrong with it."""

    def __init__(self, device: InputDevice) -> None:
        """Opens and starts. Raises DeviceError."""
        self.device = device
        self.heard = 0.0
        """When the last samples came (`clock`); 0: none so far."""
        self._frames = 0
        self._behind = 0.0
        self._gaps: deque[Gap] = deque()
        self._seen = self._silent = 0.0
        self.started = self._checked = clock()
        self._awake = time.monotonic()
        self.rate = device.rate
        self._stream = self._open(device)

    def read(self) -> Iterator[Floats | Gap]:
        """What came since the last call, in order: float32 [n] at `rate`, and gaps."""
        while self._gaps:
            gap = self._gaps.popleft()
            yield from self._until(gap.position)
            yield gap
        yield from self._until(self._ring.written)

    def trouble(self) -> str | None:
        """Why nothing more will come; None: it goes on."""
        now = clock()
        # A caller that was away for long has not watched for as long.
        step, self._checked = min(now - self._checked, 4 * _BLOCK), now
        self._silent = 0.0 if self.heard != self._seen else self._silent + step
        self._seen = self.heard
        if (now - self.started) - (time.monotonic() - self._awake) > PATIENCE:
            return "this machine slept"
        try:
            if not self._stream.active:
                return "it ended"
        except portaudio().PortAudioError as error:
            return explain(error)
        if self._silent > (PATIENCE if self._seen else FIRST_PATIENCE):
            return f"nothing came for {self._silent:.0f} s"
        return None

    @property
    def latency(self) -> float:
        """Seconds from a sound to its samples, by PortAudio's word; at most half a second."""
        return min(0.5, max(0.0, float(self._stream.latency))) + _BLOCK

    def close(self) -> None:
        """Ends the stream; what it brought can still be read."""
        with quiet(), suppress(portaudio().PortAudioError):
            self._stream.abort()
        with quiet(), suppress(portaudio().PortAudioError):
            self._stream.close()

    def _until(self, position: int) -> Iterator[Floats]:
        block = self._ring.read(position - self._ring.taken)
        if len(block):
            yield block

    def _open(self, device: InputDevice) -> Any:
        sounddevice = portaudio()
        failure: Exception | None = None
        for rate in dict.fromkeys((device.rate, 48_000, 44_100, 16_000)):
            self.rate, self._ring = rate, Ring(_RING_SECONDS * rate)
            stream = None
            try:
                with quiet():
                    stream = sounddevice.InputStream(
                        device=device.index,
                        channels=min(device.channels, _MAX_CHANNELS),
                        samplerate=rate,
                        dtype="float32",
                        latency=LATENCY,
                        blocksize=round(_BLOCK * rate),
                        callback=self._callback,
                    )
                    stream.start()
                return stream
            except (sounddevice.PortAudioError, ValueError) as error:
                failure = failure or error
                if stream is not None:
                    with quiet(), suppress(sounddevice.PortAudioError):
                        stream.close()
        why = "" if failure is None else explain(failure)
        raise DeviceError(
            f"{device.name}: cannot record from it: {why}; is it in use? choose another with --device"
        )

    def _callback(self, data: Floats, frames: int, _times: object, status: Any) -> None:
        """On PortAudio's thread, some twenty times a second."""
        now, before = clock(), self._ring.written
        written = self._ring.write(data[:, 0] if data.shape[1] == 1 else data.mean(axis=1))
        rate = self.rate
        self._frames += frames
        # By how much the samples are fewer than the time that went by; it wavers, and at a loss it steps up.
        behind = now - self.started - self._frames / rate
        if self.heard == 0.0:
            self._behind = behind
        elif status.input_overflow or now - self.heard > _ABSENCE:
            lost = max(0.0, behind - self._behind)
            if status.input_overflow or lost > 2 * LATENCY:
                self._gaps.append(Gap(before, lost))
                self._behind = behind
        else:
            self._behind = min(behind, self._behind + _DRIFT * frames / rate)
        if written < frames:
            self._gaps.append(Gap(self._ring.written, (frames - written) / rate))
        self.heard = now
