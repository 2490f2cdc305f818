"""What every way of reading has in common: a reader gives frames at the recording's own rate.

    PcmReader        samples without a header, or behind that of a WAV
    SndfileReader    files that libsndfile reads well: FLAC, OGG, AIFF, ...
    ContainerReader  everything else, by FFmpeg (PyAV)

`source` chooses one and takes it from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gemma_audio_cli.audio.read.tracks import Track
from gemma_audio_cli.errors import AudioError
from gemma_audio_cli.sound import Floats

LOST = 0.1
"""Seconds: a recording that is less than that shorter than its header says has lost nothing."""


class Reader(Protocol):
    """One opened recording. It is read once."""

    rate: int
    """Frames a second."""
    channels: int
    layout: tuple[str, ...]
    """What each channel is for, as FFmpeg names it (FL, FC, LFE, ...); (): nothing is known."""
    frames: int | None
    """Length by the header's word; None: not known."""
    tracks: tuple[Track, ...]
    """The audio tracks of a container; (): there is no such thing."""

    def blocks(self, first: int) -> Iterator[Floats]:
        """Float32 [frames, channels], from frame `first` to the end. Raises AudioError where it is damaged,
        after what came before.
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def reason(error: BaseException) -> str:
    """What a library says of a failure, on one line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__


def unreadable(name: str, why: str) -> AudioError:
    """Nothing here makes sense of it."""
    return AudioError(
        f"{name}: cannot be read as audio ({why}); name a recording or a video, or, for samples without a "
        "header, say what they are with --raw s16le:16000:1"
    )


def damaged(name: str, seconds: float, why: str) -> AudioError:
    """It decodes so far and no further."""
    return AudioError(f"{name}: damaged after {seconds:.1f} s ({why}); copy or download it again")


def cut_short(name: str, present: float, promised: float) -> AudioError:
    """Its own header promises more than is there."""
    percent = min(99, int(100 * present / promised)) if promised else 0
    return AudioError(f"{name}: cut short: {percent} % of it is there; copy or download it again")


def drop(blocks: Iterator[Floats], count: int) -> Iterator[Floats]:
    """The blocks without their first `count` frames: for what cannot seek."""
    for block in blocks:
        if count >= len(block):
            count -= len(block)
            continue
        yield block[count:]
        count = 0
