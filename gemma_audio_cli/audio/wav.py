"""WAV headers, and WAV from a pipe.

libsndfile must seek, a pipe cannot. This reader takes the samples as they come, also behind a header whose
sizes were never filled in (`ffmpeg -f wav -` writes 0xFFFFFFFF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFFE, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFF000)


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples."""

    encoding: int
    """1 integer PCM, 3 float, others as registered."""
    channels: int
    rate: int
    bits: int
    data_offset: int
    """Bytes from the start of the file to the first sample."""
    data_size: int | None
    """Bytes of samples promised; None: not said."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8

    @property
    def plain(self) -> bool:
        """Can `wav_blocks` read it?"""
        kinds = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
        return self.channels > 0 and self.rate > 0 and self.bits in kinds.get(self.encoding, ())


def read_header(stream: BinaryIO) -> tuple[WavHeader | None, bytes]:
    """The header, and every byte read to get it. None: this is no RIFF WAV, or its header is damaged."""
    taken = bytearray()

    def take(count: int) -> bytes:
        data = stream.read(count)
        taken.extend(data)
        return data

    riff = take(12)
    if len(riff) < 12 or riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
        return None, bytes(taken)
    encoding = channels = rate = bits = 0
    while True:
        chunk = take(8)
        if len(chunk) < 8:
            return None, bytes(taken)
        size = struct.unpack("<I", chunk[4:])[0]
        if chunk[:4] == b"data":
            known = size not in _UNKNOWN_SIZES and riff[:4] == b"RIFF"
            if not rate:
                return None, bytes(taken)
            header = WavHeader(encoding, channels, rate, bits, len(taken), size if known else None)
            return header, bytes(taken)
        if size > 1 << 24:  # no honest chunk before the samples is that long
            return None, bytes(taken)
        body = take(size + size % 2)
        if chunk[:4] == b"fmt " and len(body) >= 16:
            encoding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if encoding == _EXTENSIBLE and len(body) >= 26:
                encoding = struct.unpack("<H", body[24:26])[0]


def wav_blocks(stream: BinaryIO, header: WavHeader, block_frames: int) -> Iterator[Floats]:
    """Samples as float32 [frames, channels] in [-1, 1], from a stream that stands behind its header.

    A frame cut off by the end of the stream is dropped.
    """
    left = header.data_size
    size = header.frame_bytes
    carry = b""
    while left is None or left > 0:
        want = block_frames * size - len(carry)
        data = stream.read(want if left is None else min(want, left))
        if not data:
            return
        if left is not None:
            left -= len(data)
        data = carry + data
        whole = len(data) - len(data) % size
        carry = data[whole:]
        if whole:
            yield _to_float(data[:whole], header).reshape(-1, header.channels)


def _to_float(data: bytes, header: WavHeader) -> Floats:
    values: npt.NDArray[np.generic]
    full_scale = 1.0
    if header.encoding == _FLOAT:
        values = np.frombuffer(data, dtype="<f4" if header.bits == 32 else "<f8")
    elif header.bits == 8:
        values = np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128
        full_scale = 128.0
    elif header.bits == 24:
        padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        values = padded.reshape(-1).view("<i4")
        full_scale = 2.0**31
    else:
        values = np.frombuffer(data, dtype=f"<i{header.bits // 8}")
        full_scale = 2.0 ** (header.bits - 1)
    with np.errstate(over="ignore"):
        scaled: Floats = values.astype(np.float32) / np.float32(full_scale)
    return scaled
