"""A microphone that goes on: what it hears, as blocks, whatever happens to it meanwhile.

    Capture ──► samples at the device's rate ──► soxr ──► blocks float32 [n], mono
       ▲                                                 (+ 1 s of silence where sound is missing)
       └── gone? look for it once a second, by its name; go on when it is back

A device that is unplugged, a sound server that is restarted and a machine that slept cost what was said
meanwhile, never what was said before. Nothing is lost without a word.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from types import TracebackType

import numpy as np

from gemma_audio_cli.audio.capture.capture import Capture, Gap, clock
from gemma_audio_cli.audio.capture.devices import InputDevice, choose_device, forget_devices, input_devices
from gemma_audio_cli.audio.quiet import quiet_c
from gemma_audio_cli.audio.resample import Resampler
from gemma_audio_cli.errors import DeviceError, GemmaAudioError, Notice
from gemma_audio_cli.sound import Floats

__all__ = ["InputDevice", "Microphone", "choose_device", "input_devices"]

_POLL = 0.05
_RETRY = 1.0
_BETWEEN_NOTICES = 10.0
_SILENCE = 1.0
"""Seconds of silence in place of missing sound: an utterance ends there. Shorter gaps get none."""


class Microphone:
    """One at a time in a process: looking for devices anew ends every stream.

    with Microphone(None, notice=say) as microphone:
        for block in microphone.blocks():
            ...  # until another thread or a signal handler calls microphone.stop()
    """

    blocking = False
    """`stop` ends the wait for the next block."""

    def __init__(self, device: str | None, rate: int = 16_000, *, notice: Notice) -> None:
        """`device`: number, name or part of a name; None: the default one, whichever that is."""
        self.rate = rate
        """Samples a second of the blocks."""
        self._wanted, self._notice = device, notice
        self._capture: Capture | None = None
        self._resampler = Resampler(rate, rate)
        # A plain flag: an Event's lock may be held by the very thread a signal handler interrupts.
        self._stopping = False
        self._lost, self._last_notice = 0.0, -_BETWEEN_NOTICES
        self._missing = False
        self._undo = ExitStack()

    @property
    def name(self) -> str:
        """The device in use, or the one that is waited for."""
        return self._capture.device.name if self._capture else ""

    def open(self) -> None:
        """Starts hearing. Raises DeviceError, or UsageError where the device's name fits none or several."""
        device = choose_device(self._wanted)
        self._undo.enter_context(quiet_c())
        self._begin(Capture(device))

    def blocks(self) -> Iterator[Floats]:
        """What is heard: float32 [n], mono, at `rate`, as it comes. Ends after `stop`, with all there is."""
        capture = self._capture
        if capture is None:
            raise ValueError("the microphone is not open")
        ending: float | None = None
        while True:
            yield from self._take(capture)
            if self._stopping:
                # What was said until now is on its way.
                ending = clock() + capture.latency if ending is None else ending
                if clock() >= ending:
                    break
            why = capture.trouble()
            if why is not None:
                yield from self._finish(capture)
                if self._stopping:
                    return
                next_one = yield from self._recover(capture, why)
                if next_one is None:
                    return
                capture = next_one
            time.sleep(_POLL)
        yield from self._finish(capture)

    def stop(self) -> None:
        """Ends `blocks`; from any thread or signal handler, as often as one likes."""
        self._stopping = True

    def close(self) -> None:
        """Lets go of the device."""
        if self._capture is not None:
            self._capture.close()
        self._undo.close()

    def __enter__(self) -> Microphone:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, capture: Capture) -> None:
        self._capture = capture
        self._resampler = Resampler(capture.rate, self.rate)

    def _take(self, capture: Capture) -> Iterator[Floats]:
        """What came since the last time."""
        for piece in capture.read():
            if isinstance(piece, Gap):
                self._lost += piece.seconds
                self._missing = True
                if piece.seconds >= _SILENCE:
                    yield from self._resampler.push(_silence(capture.rate))
            else:
                yield from self._resampler.push(piece)
        if self._missing and clock() - self._last_notice >= _BETWEEN_NOTICES:
            self._tell_lost(capture)

    def _tell_lost(self, capture: Capture) -> None:
        amount = f"about {self._lost:.1f} s" if self._lost >= 0.05 else "less than 0.1 s"
        self._notice(f"{capture.device.name}: {amount} of sound are lost: this machine was too busy for them")
        self._lost, self._missing, self._last_notice = 0.0, False, clock()

    def _finish(self, capture: Capture) -> Iterator[Floats]:
        """The end of a stream, to its last sample."""
        capture.close()
        yield from self._take(capture)
        yield from self._resampler.rest()
        if self._missing:
            self._tell_lost(capture)

    def _recover(self, gone: Capture, why: str) -> Generator[Floats, None, Capture | None]:
        """Waits for the device; what it yields is silence. Returns the new stream; None after `stop`."""
        since = gone.heard or gone.started
        self._notice(f"{gone.device.name}: no sound any more ({why}); looking for it until it is back")
        yield _silence(self.rate)
        while self._wait(_RETRY):
            with suppress(GemmaAudioError):
                capture = Capture(self._again(gone.device.name))
                # A device may open well and bring nothing.
                while not capture.heard and capture.trouble() is None and self._wait(_POLL):
                    pass
                if capture.heard:
                    self._begin(capture)
                    missing = max(0.0, capture.heard - since)
                    self._notice(f"{capture.device.name}: sound again; {missing:.0f} s are missing")
                    return capture
                capture.close()
        return None

    def _again(self, name: str) -> InputDevice:
        """The device of that name, if it is back; another only where none was asked for."""
        forget_devices()
        same = [device for device in input_devices() if device.name == name]
        if same:
            return same[0]
        if self._wanted is not None:
            raise DeviceError(f"{name}: not there")
        return choose_device(None)

    def _wait(self, seconds: float) -> bool:
        """Sleeps; False, and at once, after `stop`."""
        until = clock() + seconds
        while not self._stopping and clock() < until:
            time.sleep(min(_POLL, seconds))
        return not self._stopping


def _silence(rate: int) -> Floats:
    return np.zeros(round(_SILENCE * rate), dtype=np.float32)
