"""The header of a WAV file.

libsndfile must seek, a pipe cannot; and a WAV whose sizes were never filled in (`ffmpeg -f wav -` writes
0xFFFFFFFF) is to be read to its end. So the header is read here, and the samples behind it by `PcmReader`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_ENCODINGS = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16le",
    (_PCM, 24): "s24le",
    (_PCM, 32): "s32le",
    (_FLOAT, 32): "f32le",
    (_FLOAT, 64): "f64le",
    (_ALAW, 8): "alaw",
    (_MULAW, 8): "mulaw",
}
_UNKNOWN_SIZES = (range(1), range(0x7FFFF000, 0x80000100), range(0xFFFFF000, 0x100000000))
"""What programs write that do not know how much will come: nothing, or about as much as a number can say."""
_MAX_HEADER = 1 << 24


class Readable(Protocol):
    """Anything with `read`; it may give less than it was asked for."""

    def read(self, count: int, /) -> bytes: ...


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples."""

    format: int
    """1 integer PCM, 3 float, others as registered."""
    channels: int
    rate: int
    bits: int
    data_offset: int
    """Bytes from the start of the file to the first sample."""
    data_size: int | None
    """Bytes of samples promised; None: not said."""
    mask: int = 0
    """Which loudspeakers the channels are for, a bit each; 0: not said."""
    long: bool = False
    """Its sizes have 64 bits."""
    byte_rate: int = 0
    """Bytes a second, by the header's word."""

    @property
    def encoding(self) -> str | None:
        """The samples' encoding as `pcm` names it; None: compressed, or not known here."""
        return _ENCODINGS.get((self.format, self.bits)) if self.channels and self.rate else None


def read_header(stream: Readable) -> tuple[WavHeader | None, bytes]:
    """The header, and every byte read to get it. None: this is no RIFF WAV, or its header is damaged."""
    taken = bytearray()

    def take(count: int) -> bytes:
        start = len(taken)
        while len(taken) - start < count and (data := stream.read(count - len(taken) + start)):
            taken.extend(data)
        return bytes(taken[start:])

    riff = take(12)
    if len(riff) < 12 or riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
        return None, bytes(taken)
    kind = channels = rate = bits = mask = byte_rate = 0
    long_size: int | None = None
    while True:
        chunk = take(8)
        if len(chunk) < 8:
            return None, bytes(taken)
        size = struct.unpack("<I", chunk[4:])[0]
        if chunk[:4] == b"data":
            if not rate:
                return None, bytes(taken)
            known = None if any(size in sizes for sizes in _UNKNOWN_SIZES) else size
            long = riff[:4] == b"RF64"
            header = WavHeader(
                kind, channels, rate, bits, len(taken), long_size if long else known, mask, long, byte_rate
            )
            return header, bytes(taken)
        if len(taken) + size > _MAX_HEADER:  # nothing honest before the samples is that long
            return None, bytes(taken)
        body = take(size + size % 2)
        if chunk[:4] == b"fmt " and len(body) >= 16:
            kind, channels, rate, byte_rate, _, bits = struct.unpack("<HHIIHH", body[:16])
            if kind == _EXTENSIBLE and len(body) >= 26:
                mask, kind = struct.unpack("<IH", body[20:26])
        elif chunk[:4] == b"ds64" and len(body) >= 16:
            # RF64: sizes beyond 4 GiB stand here; 0 or all ones when they were never filled in.
            long_size = struct.unpack("<Q", body[8:16])[0]
            long_size = long_size if 0 < long_size < 1 << 62 else None
