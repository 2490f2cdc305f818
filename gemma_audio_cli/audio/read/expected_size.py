"""How long a file should be by its own header: a decoder that runs out of bytes often ends without a word.

Only what a format says for certain counts. A live stream leaves these fields open and is never called cut
short.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.wav import Readable, read_header

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MP3_SLACK = 4096
_MAX_BOXES = 100_000


def missing(stream: ByteStream) -> tuple[int, int] | None:
    """(bytes there, bytes promised) of a file that is cut short, or of a pipe that was read to its end.

    How much sound that is depends on its bit rate: a few bytes may be nothing.
    """
    if stream.seekable:
        stream.seek(0)
        present = stream.left() or 0
        head = stream.peek(4096)
        if head[4:8] == b"ftyp":
            promised = _boxes(stream, present)
        elif head[8:12] == b"WAVE":
            promised = _wave(stream)
        else:
            promised = promised_bytes(head)
    else:
        head = stream.head
        present, promised = stream.tell(), promised_bytes(head)
    if promised is None:
        return None
    # Encoders of MP3 disagree whether the frame that holds the count, and what tags, are counted.
    slack = _MP3_SLACK if promised == _mp3(head) else 0
    return (present, promised) if present < promised - slack else None


def promised_bytes(head: bytes) -> int | None:
    """The whole file's length by its first bytes; None: they do not say."""
    # Some writers count the first 8 bytes, some do not: the smaller of the two is promised for certain.
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        size = int.from_bytes(head[4:8], "little")
        return None if size in (0, 0x7FFFFFFF) or size > 0xFFFFF000 - 8 else size
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return int.from_bytes(head[4:8], "big")
    if head[8:12] == b"WAVE":
        return _wave(io.BytesIO(head))
    if head[:4] == _EBML:
        return _matroska(head)
    if head[:16] == _ASF:
        return _asf(head)
    return _mp3(head)


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag in front; 0: there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + 10


def _wave(stream: Readable) -> int | None:
    header, _ = read_header(stream)
    return None if header is None or header.data_size is None else header.data_offset + header.data_size


def _mp3(head: bytes) -> int | None:
    """An encoder's own count of bytes stands in the first frame (Xing, Info)."""
    start = id3_length(head)
    frame = head[start : start + 256]
    if len(frame) < 60 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return None
    flags = struct.unpack(">I", frame[at + 4 : at + 8])[0]
    if not flags & 2:
        return None
    field = at + 8 + (4 if flags & 1 else 0)
    size = int(struct.unpack(">I", frame[field : field + 4])[0])
    return start + size if size > 2 * _MP3_SLACK else None


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """Matroska's number at `at` (None: left open) and the position behind it."""
    if at >= len(data) or not data[at]:
        return None, len(data) + 1
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def _matroska(head: bytes) -> int | None:
    size, at = _vint(head, 4)
    if size is None or head[at + size : at + size + 4] != _SEGMENT:
        return None
    length, start = _vint(head, at + size + 4)
    return None if length is None or start > len(head) else start + length


def _asf(head: bytes) -> int | None:
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    size, flags = struct.unpack("<Q", head[at + 40 : at + 48])[0], head[at + 88]
    return None if flags & 1 or not size else int(size)  # flag 1: a broadcast, whose length nobody knows


def joined_mp4(stream: ByteStream) -> int:
    """Bytes of a whole MP4 that lies behind the one in this file; 0: there is none."""
    indices = [(at, kind) for at, kind, _ in _walk(stream) if kind in (b"ftyp", b"moov")]
    # A file has one index; those of fragments are called otherwise.
    if sum(kind == b"moov" for _, kind in indices) < 2:
        return 0
    behind = [at for at, kind in indices if at and kind == b"ftyp"]
    stream.seek(behind[0] if behind else indices[-1][0])
    return stream.left() or 0


def _boxes(stream: ByteStream, present: int) -> int | None:
    """MP4: the end of the box that goes beyond the file's."""
    return next((at + size for at, _, size in _walk(stream) if at + size > present), None)


def _walk(stream: ByteStream) -> Iterator[tuple[int, bytes, int]]:
    """(place, kind, size) of the outer boxes of an MP4, up to one that goes on to the end."""
    stream.seek(0)
    at, length = 0, stream.left() or 0
    for _ in range(_MAX_BOXES):
        if at > length:
            return
        stream.seek(at)
        box = stream.peek(16)
        if len(box) < 8:
            break
        size = int.from_bytes(box[:4], "big")
        if size == 1 and len(box) == 16:
            size = int.from_bytes(box[8:], "big")
        if size < 8:  # 0: this box goes on to the end
            return
        yield at, box[4:8], size
        at += size
