"""Frames at a recording's own rate to what the model hears: channels chosen, made finite, 16 kHz.

    blocks [frames, channels] ──► mixed, one, or all ──► NaN to silence ──► soxr ──► blocks [n, 1 or channels]

Nothing here holds more than a block.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr

from gemma_audio_cli.audio.read.mix import Mixer
from gemma_audio_cli.errors import AudioError, Notice
from gemma_audio_cli.sound import SAMPLE_RATE, Floats


def limited(blocks: Iterator[Floats], count: int | None) -> Iterator[Floats]:
    """The first `count` frames (None: all); nothing is read beyond them."""
    if count is None:
        yield from blocks
        return
    while count > 0 and (block := next(blocks, None)) is not None:
        yield block[:count]
        count -= len(block)


def choose(
    blocks: Iterator[Floats], channel: int | None, split: bool, mixer: Mixer | None
) -> Iterator[Floats]:
    """Blocks [frames, channels] mixed to [frames, 1], or number `channel` (from 1), or `split`: all.

    When the blocks end with an error, what the mixer still holds comes before it.
    """
    failure: AudioError | None = None
    try:
        for block in blocks:
            if split or block.shape[1] == 1:
                yield block
            elif channel is not None:
                yield block[:, channel - 1 : channel]
            elif mixer is not None:
                yield from mixer.push(block)
    except AudioError as error:
        failure = error
    if mixer is not None:
        yield from mixer.finish()
    if failure is not None:
        raise failure


_LOUDEST = 1e12
"""Samples beyond this are damage: filters would overflow. Whole numbers of 32 bits, not scaled, are below."""


def finite(blocks: Iterator[Floats], rate: int, name: str, notice: Notice) -> Iterator[Floats]:
    """The blocks with silence for what is no number. Raises AudioError if nothing was one."""
    frames = bad = 0
    first_bad = 0.0
    for block in blocks:
        wrong = ~(np.abs(block) < _LOUDEST)  # also where it is no number
        rows = wrong.any(axis=1)
        if rows.any():
            if not bad:
                first_bad = (frames + int(rows.argmax())) / rate
            bad += int(rows.sum())
            block = np.where(wrong, np.float32(0), block)
        frames += len(block)
        yield block
    if not frames:
        raise AudioError(f"{name}: no audio in it (0 samples); record or export it again")
    if bad == frames:
        raise AudioError(
            f"{name}: no sample is a number (all NaN or infinite, or beyond 1e12); export it again"
        )
    if bad:
        notice(
            f"{name}: {bad} samples are NaN or infinite, or beyond 1e12, the first at {first_bad:.2f} s; "
            "read as silence; export it again to be sure"
        )


def to_model_rate(blocks: Iterator[Floats], rate: int, channels: int) -> Iterator[Floats]:
    """Blocks float32 [frames, channels] at `rate` to blocks float32 [n, channels] at 16 kHz.

    When the blocks end with an error, what the filter still holds comes before it: not a word is lost to it.
    """
    if rate == SAMPLE_RATE:
        for block in blocks:
            if len(block):
                yield np.ascontiguousarray(block, dtype=np.float32)
        return
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, channels, dtype="float32")
    failure: AudioError | None = None
    try:
        for block in blocks:
            # At most a second at a time: a decoder's block at an odd rate can be minutes.
            for at in range(0, len(block), rate):
                piece = resampler.resample_chunk(np.ascontiguousarray(block[at : at + rate]))
                if len(piece):
                    yield piece
    except AudioError as error:
        failure = error
    rest = resampler.resample_chunk(np.empty((0, channels), dtype=np.float32), last=True)
    if len(rest):
        yield rest
    if failure is not None:
        raise failure


class Resampler:
    """One channel from one rate to another, a block at a time: for what is pushed, not pulled."""

    def __init__(self, rate: int, wanted: int) -> None:
        self._soxr = None if rate == wanted else soxr.ResampleStream(rate, wanted, 1, dtype="float32")

    def push(self, block: Floats) -> Iterator[Floats]:
        """What float32 [n] more of the input gives; often nothing at first."""
        out = block if self._soxr is None else self._soxr.resample_chunk(block)
        if len(out):
            yield out

    def rest(self) -> Iterator[Floats]:
        """What the filter still holds; nothing may be pushed after it."""
        if self._soxr is not None:
            out = self._soxr.resample_chunk(np.empty(0, dtype=np.float32), last=True)
            self._soxr = None
            if len(out):
                yield out
