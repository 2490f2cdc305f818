"""Bare samples: `s16le`, `f32le`, `mulaw`, ... as bytes, to float32 [frames, channels] in [-1, 1].

WAV is this behind a header; `--raw s16le:16000:1` is this with no header at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.reader import LOST, cut_short
from gemma_audio_cli.audio.read.tracks import Track
from gemma_audio_cli.audio.read.wavtail import More, behind, true_size
from gemma_audio_cli.errors import Notice, UsageError
from gemma_audio_cli.sound import MAX_RATE, MIN_RATE, Floats

_MAX_BLOCK_BYTES = 1 << 18
_MAX_CHANNELS = 1024

SAMPLE_BYTES = {
    "u8": 1, "s8": 1, "s16le": 2, "s16be": 2, "s24le": 3, "s24be": 3, "s32le": 4, "s32be": 4,
    "f32le": 4, "f32be": 4, "f64le": 8, "f64be": 8, "alaw": 1, "mulaw": 1,
}  # fmt: skip
"""Encodings, named as FFmpeg names them, and the bytes of one sample."""


@dataclass(frozen=True)
class RawFormat:
    """How headerless audio is to be read."""

    encoding: str
    """One of SAMPLE_BYTES."""
    rate: int
    """Samples a second."""
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in SAMPLE_BYTES:
            raise UsageError(
                f"there is no raw encoding {self.encoding!r}; choose from {', '.join(SAMPLE_BYTES)}"
            )
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise UsageError(f"raw audio at {self.rate} Hz makes no sense; from {MIN_RATE} to {MAX_RATE}")
        if not 1 <= self.channels <= _MAX_CHANNELS:
            raise UsageError(f"raw audio of {self.channels} channels makes no sense; 1 to {_MAX_CHANNELS}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return SAMPLE_BYTES[self.encoding] * self.channels


def parse_raw(text: str) -> RawFormat:
    """`ENCODING:RATE[:CHANNELS]`, as in `s16le:16000:1`."""
    encoding, *numbers = text.strip().split(":")
    if not 1 <= len(numbers) <= 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(
            f"{text!r} is no raw format; write ENCODING:RATE:CHANNELS, for instance s16le:16000:1"
        )
    return RawFormat(encoding.lower(), *(int(number[:9]) for number in numbers))


def to_float(data: bytes, encoding: str) -> Floats:
    """Whole samples of one encoding as float32 [samples]; full scale is 1."""
    if encoding in ("alaw", "mulaw"):
        return _TABLES[encoding][np.frombuffer(data, dtype=np.uint8)]
    values: npt.NDArray[np.generic]
    full_scale = 2.0 ** (8 * SAMPLE_BYTES[encoding] - 1)
    order = ">" if encoding.endswith("be") else "<"
    if encoding == "u8":
        values = np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128
    elif encoding.startswith("s24"):
        # Numpy has no 24-bit type: the bytes become the upper ones of 32-bit integers.
        padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        upper = slice(1, 4) if order == "<" else slice(0, 3)
        padded[:, upper] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        values, full_scale = padded.reshape(-1).view(f"{order}i4"), 2.0**31
    elif encoding.startswith("f"):
        values, full_scale = np.frombuffer(data, dtype=f"{order}f{SAMPLE_BYTES[encoding]}"), 1.0
    else:
        values = np.frombuffer(data, dtype=f"{order}i{SAMPLE_BYTES[encoding]}")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Floats = values.astype(np.float32) / np.float32(full_scale)
    return scaled


class PcmReader:
    """Bare samples from a stream that stands at the first of them."""

    def __init__(
        self,
        stream: ByteStream,
        form: RawFormat,
        name: str,
        notice: Notice,
        size: int | None = None,
        layout: tuple[str, ...] = (),
    ) -> None:
        """`size`: bytes of samples that a WAV header promised; None: as many as come."""
        self.rate, self.channels, self.layout = form.rate, form.channels, layout
        self.tracks: tuple[Track, ...] = ()
        self._stream, self._form, self._name, self._notice = stream, form, name, notice
        self._size = size
        there = stream.left() if size is None else size
        self.frames = None if there is None else there // form.frame_bytes

    def blocks(self, first: int) -> Iterator[Floats]:
        """Float32 [frames, channels] from frame `first` on, as they arrive."""
        size, skip = self._size, first * self._form.frame_bytes
        while True:
            gone = self._stream.skip(skip if size is None else min(skip, size))
            skip -= gone
            yield from self._stretch(size, gone, first)
            if size is None:
                return
            more = behind(self._stream, size)
            if more is None:
                return
            size = self._size_behind(more, size)
            if size == 0:
                return

    def _stretch(self, size: int | None, gone: int, first: int) -> Iterator[Floats]:
        """Samples up to `size` bytes, of which the first `gone` are passed over."""
        step = self._form.frame_bytes
        left = None if size is None else size - gone
        # A block is at most half a second, so that what is slow to arrive is not waited for.
        most = max(step, min(_MAX_BLOCK_BYTES, self.rate // 2 * step))
        carry = b""
        while left is None or left > 0:
            want = most - len(carry)
            data = self._stream.read(want if left is None else min(want, left))
            if not data:
                break
            left = None if left is None else left - len(data)
            data = carry + data
            whole = len(data) - len(data) % step
            carry = data[whole:]
            if whole:
                yield to_float(data[:whole], self._form.encoding).reshape(-1, self.channels)
        if size is not None and left and left >= LOST * self.rate * step:
            raise cut_short(self._name, size - left, size)
        if carry and self._size is None and first == 0:
            self._notice(f"{self._name}: the last {len(carry)} bytes are no whole sample and are left out")

    def _size_behind(self, more: More, size: int) -> int | None:
        """How many bytes of what lies behind `size` bytes are to be heard; None: all that come."""
        header = more.header
        if header is None:
            there = self._stream.left()
            if there is not None and there < LOST * self.rate * self._form.frame_bytes:
                return 0
            if there is not None and self._is_padding(there):
                return 0
            count = "more samples" if there is None else f"{there} bytes"
            seconds = size / self._form.frame_bytes / self.rate
            self._notice(
                f"{self._name}: {count} lie behind the {seconds:.1f} s that its header promises; "
                "they are heard too"
            )
            self._stream.skip(-size % self._form.frame_bytes)
            return None
        ours = (self._form.encoding, self.rate, self.channels)
        if (header.encoding, header.rate, header.channels) == ours:
            return true_size(header, self._stream.left())
        left = self._stream.left()
        self._notice(
            f"{self._name}: behind its end lies another WAV of another kind, "
            f"{'of unknown length' if left is None else f'{left} bytes'}, which is left out; take them apart"
        )
        return 0

    def _is_padding(self, count: int) -> bool:
        """Is all that is left one and the same byte, as disks and recorders fill up with?"""
        here, first = self._stream.tell(), self._stream.peek(1)
        try:
            while count > 0 and (data := self._stream.read(_MAX_BLOCK_BYTES)):
                if data.strip(first):
                    return False
                count -= len(data)
            return True
        finally:
            self._stream.seek(here)

    def close(self) -> None:
        """Nothing is held but the stream, which belongs to who opened it."""


def _companded() -> dict[str, Floats]:
    """The 256 values of G.711's two laws, full scale 1."""
    code = np.arange(256)
    mu = ~code & 0xFF
    mu_value = ((((mu & 0x0F) << 3) + 0x84) << ((mu & 0x70) >> 4)) - 0x84
    a = code ^ 0x55
    exponent, mantissa = (a & 0x70) >> 4, (a & 0x0F) << 4
    a_value = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return {
        "mulaw": (np.where(mu & 0x80, -mu_value, mu_value) / 32768).astype(np.float32),
        "alaw": (np.where(a & 0x80, a_value, -a_value) / 32768).astype(np.float32),
    }


_TABLES = _companded()
