"""Which loudspeaker each channel is for, and how much of it goes into the one channel a model hears.

A film's voices are in the centre, its noise all around: the average of six channels holds a sixth of a voice.
Where nothing is said about the channels (a recorder with a microphone for each person), each counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence

_MASK = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL",
    "TBC", "TBR",
)  # fmt: skip
"""Bits 0 to 17 of WAVE_FORMAT_EXTENSIBLE."""
_LOW = frozenset(("LFE", "LFE2"))
_CENTRE = frozenset(("FC",))
_FRONT = frozenset(("FL", "FR", "FLC", "FRC", "DL", "DR", "BIL", "BIR", "WL", "WR"))
_BESIDE_CENTRE, _BESIDE_VOICE = 0.4, 0.1
"""What front channels count beside one in the centre, and where that is the voice. A usual downmix, 0.71, is
made for listening: it keeps the noise at the sides.
"""
_AROUND = 0.5
"""Of a channel at the side, behind or above, beside one in front."""


def mask_layout(mask: int, channels: int) -> tuple[str, ...]:
    """The channels' names by the mask of WAVE_FORMAT_EXTENSIBLE; () where it does not name all of them."""
    names = tuple(name for bit, name in enumerate(_MASK) if mask >> bit & 1)
    return names if len(names) == channels and not mask >> len(_MASK) else ()


def centre_of(layout: Sequence[str]) -> int | None:
    """The channel that a film's voices are in; None: there is none beside others."""
    return list(layout).index("FC") if "FC" in layout and len(layout) > 1 else None


def mix_weights(layout: Sequence[str], channels: int, *, voice: bool = False) -> tuple[float, ...]:
    """How much each of `channels` counts in the mix, the largest as 1. `layout` has FFmpeg's names of them
    (FL, FC, LFE, ...); an empty one, or one that does not fit, means that nothing is known. `voice`: the
    centre is as loud as anything else, as where somebody speaks.
    """
    names = tuple(layout)
    if len(names) != channels or len(set(names)) != channels or channels < 2:
        return (1.0,) * channels
    if "AMBI0" in names:  # Ambisonics: the first component is what comes from everywhere
        return tuple(float(name == "AMBI0") for name in names)
    if {"DL", "DR"} <= set(names):  # somebody has mixed it already
        return tuple(float(name in ("DL", "DR")) for name in names)
    if not all(name in _MASK or name in _LOW or name in _FRONT or _is_around(name) for name in names):
        return (1.0,) * channels
    front = 1.0
    if _CENTRE.intersection(names):
        front = _BESIDE_VOICE if voice else _BESIDE_CENTRE
    weights = tuple(_weight(name, front) for name in names)
    most = max(weights)
    return tuple(weight / most for weight in weights) if most else (1.0,) * channels


def _weight(name: str, front: float) -> float:
    if name in _LOW:
        return 0.0
    if name in _CENTRE:
        return 1.0
    return front if name in _FRONT else front * _AROUND


def _is_around(name: str) -> bool:
    """At the side, behind, above or below, as FFmpeg names them: SL, BC, TFL, BFC, SDR, TTL, ..."""
    return name[:1] in ("B", "S", "T") and 2 <= len(name) <= 3 and name.isalpha()
