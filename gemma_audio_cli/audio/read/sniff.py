"""Is a file a recording? By its first bytes, for folders in which names do not tell.

A recorder's, phone's or browser's own extension (.qta, .mpga, .weba, .3ga, ...) is no reason to leave a
recording out. What is no recording for certain, or looks like nothing known, is none.
"""

from __future__ import annotations

import re

_HEAD = 4096
_STARTS = (
    b"fLaC", b"OggS", b"caff", b"riff\x2e\x91\xcf\x11", b".snd", b"#!AMR", b"#!SILK", b"\x02#!SILK",
    b"MAC ", b"wvPk", b"TTA1", b"TTA2", b"MPCK", b"MP+", b"FLV\x01", b"\x1a\x45\xdf\xa3", b".RMF", b".ra\xfd",
    b"NIST_1A", b"RIFX", b"RF64", b"Creative Voice File", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",
    b"\x7f\xfe\x80\x01", b"DSD ", b"FRM8", b"ID3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"GSM0", b"2BIT",
)  # fmt: skip
_PICTURES = re.compile(rb"heic|heix|hei[ms]|hevc|hevx|mif[12]|msf1|avif|avis|crx |jp[2hx] |jpm |miaf")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"pnot", b"styp", b"moof", b"skip", b"free")
_RATES = (44_100, 48_000, 32_000)
_KBITS = {
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of MPEG audio by version (3: 1, else 2) and layer bits (1: III, 2: II)."""


def is_recording(path: str) -> bool:
    """Does the file look like sound or video? Raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        return sounds_like(file.read(_HEAD))


def sounds_like(head: bytes) -> bool:
    """Do these first bytes of a file begin sound or video?"""
    if head.startswith(_STARTS):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] in (b"WAVE", b"AVI ")
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC", b"8SVX")
    if head[4:8] in _BOXES:
        return not _PICTURES.match(head[8:12])
    if len(head) > 400 and head[0] == head[188] == head[376] == 0x47:
        return True
    if len(head) > 400 and head[4] == head[196] == head[388] == 0x47:  # with time stamps, as cameras write it
        return True
    return _frames(head)


def _frames(head: bytes) -> bool:
    """Bare frames of MPEG audio, ADTS or AC-3: at least two, each where the one before it says."""
    at = 0
    for _ in range(2):
        length = _frame_length(head[at : at + 8])
        if not length:
            return False
        at += length
        if at + 8 > len(head):
            return at > length
    return True


def _frame_length(head: bytes) -> int:
    """Bytes of the frame that begins here; 0: none does."""
    if len(head) < 7:
        return 0
    if head[:2] == b"\x0b\x77":  # AC-3: sizes in a table; a plausible header will do
        return 1 << 20 if head[4] & 0x3F < 38 and head[4] >> 6 < 3 and head[5] >> 3 in (6, 8, 16) else 0
    if head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:  # ADTS
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if head[1] & 0xF0 == 0xF0 else 0
    kbits = _KBITS.get((3 if version == 3 else 2, layer), _KBITS[2, 1])
    row, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or not 0 < row < 15 or rate == 3 or layer == 3:
        return 0
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 576 if version != 3 and layer == 1 else 1152
    return samples * 125 * kbits[row - 1] // hertz + (head[2] >> 1 & 1)
