"""What a weight type is worth for hearing, by what is known in public, and the order that follows from it.

    "Q4_K_M" ──► trouble "...cut long clips short...", rank behind Q8_0

The table that this rests on: E2B in llama.cpp, a clip of 17 s, one file of each type. BF16, Q8_0, Q6_K,
Q5_K_M, Q5_K_S, Q4_0 and IQ4_NL gave the whole text; Q4_K_M, Q4_K_S, Q4_1 and IQ4_XS ended too early; Q3_K_M
gave a part. It is one clip, so it decides the order and a warning, and nothing is refused.
"""

from __future__ import annotations

import re

ORDER = ("Q4_0", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "IQ4_NL", "BF16", "F16", "F32")
"""Weight types of a text model that heard the whole clip, or are no coarser than one that did; the first is
taken first. Q4_0 is the quickest here, and Google trained a version of each model for it (QAT)."""
PROJECTORS = ("BF16", "F32", "F16", "", "Q8_0")
"""Types of a projector, the best first. "" is one that nobody states: converters write 16 bits by default."""
FLOATS = ("BF16", "F32", "F16")
"""Types of a projector that lose nothing, or next to nothing."""

_CUT = ("UD-Q4_K_XL", "Q4_K_L", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q4_1", "Q3_K_M")
"""The last ones, in the order in which they are taken; behind them comes what is smaller still."""
_SEEN_CUT = ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q4_1")


def rank(label: str) -> int:
    """Where a text model's weight type stands in the order; the smallest is taken first."""
    if label in ORDER:
        return ORDER.index(label)
    if label in _CUT:
        return len(ORDER) + 1 + _CUT.index(label)
    # What no test names: with at least five bits, or without a type in the name, before those that failed.
    return len(ORDER) if _bits(label) >= 5 else len(ORDER) + 1 + len(_CUT)


def projector_rank(kind: str) -> int:
    """Where a projector's type stands in the order."""
    return PROJECTORS.index(kind) if kind in PROJECTORS else len(PROJECTORS)


def trouble(label: str) -> str | None:
    """What is known against a text model's weight type; None where nothing is."""
    if rank(label) <= len(ORDER):
        return None
    if label in _SEEN_CUT:
        return f"{label} cut long clips short or ran into loops in public tests; Q4_0 and Q8_0 did not"
    if label == "Q3_K_M":
        return "Q3_K_M wrote only a part of a long clip in public tests; Q4_0 and Q8_0 wrote all of it"
    return f"{label} is in no public test of hearing, and Q4_K_M, its like, was cut short there; Q4_0 was not"


def projector_trouble(kind: str) -> str | None:
    """What is known against a projector's type; None where nothing is."""
    if kind in FLOATS or not kind:
        return None
    if kind == "Q8_0":
        return "Q8_0 is the coarsest type at which the encoder is known to hear well; BF16 is better"
    return f"{kind} is coarser than Q8_0, below which the encoder is known to hear badly; get BF16"


def _bits(label: str) -> int:
    """Bits of a weight by the name of its type; of a name without one, many."""
    if label.endswith(("FP4", "FP4_MOE")):
        return 4
    match = re.search(r"\d+", label)
    return int(match[0]) if match else 16
