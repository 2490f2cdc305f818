"""What lies behind the samples that a WAV header promises.

Sizes in it have 32 bits: beyond 4 GiB they start again at 0. Programs that were stopped leave them too small,
and `cat a.wav b.wav` puts a whole file behind them. None of it may be lost without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.wav import WavHeader, read_header

_WRAP = 1 << 32
_KNOWN = frozenset(
    b"LIST|list|id3 |ID3 |bext|iXML|aXML|fact|cue |smpl|PEAK|JUNK|junk|PAD |FLLR|DISP|chna|umid|minf|elm1|"
    b"regn|inst|note|labl|plst|levl|link|cart|afsp|LGWV|ovwf|SAUR|strc|acid|ResU|AFAn|_PMX|wavl|slnt|ds64".split(
        b"|"
    )
)
_ID = re.compile(rb"[\x20-\x7e]{4}")
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_MAX_CHUNKS = 10_000


@dataclass(frozen=True)
class More:
    """Samples behind those promised."""

    header: WavHeader | None
    """Their own header, of a file joined to this one; None: they simply go on."""


def true_size(header: WavHeader, left: int | None) -> int | None:
    """Bytes of samples where `left` bytes follow the header (None: a pipe, nobody knows)."""
    size = header.data_size
    if size is None or left is None or header.long or left - size < _WRAP:
        return size
    return size + (left - size) // _WRAP * _WRAP


def behind(stream: ByteStream, size: int) -> More | None:
    """What follows `size` bytes of samples, where the stream stands; None: nothing that can be heard.

    Chunks of other kinds and tags are passed over. Afterwards the stream stands at the first sample.
    """
    if size % 2 and stream.peek(1) == b"\0":
        stream.skip(1)
    for _ in range(_MAX_CHUNKS):
        head = stream.peek(12)
        if not head or head.startswith(_TAGS):
            return None
        if len(head) < 12:
            return None if _ID.match(head) else More(None)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            header, taken = read_header(stream)
            if header is not None:
                return More(header)
            stream.unread(taken)
            return More(None)
        if not _is_chunk(stream, head):
            return More(None)
        length = int.from_bytes(head[4:8], "little")
        stream.skip(8 + length + length % 2)
    return None


def _is_chunk(stream: ByteStream, head: bytes) -> bool:
    """A chunk of a known name, or, in a file, one that reaches just to its end or to another chunk."""
    if head[:4] in _KNOWN:
        return True
    left = stream.left()
    if left is None or not _ID.match(head):
        return False
    rest = left - 8 - int.from_bytes(head[4:8], "little")
    if rest in (0, 1):
        return True
    if rest < 8:
        return False
    here = stream.tell()
    stream.seek(here + left - rest)
    following = stream.peek(5)
    stream.seek(here)
    return following[:4] in _KNOWN or following[1:5] in _KNOWN
