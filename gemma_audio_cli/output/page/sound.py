"""Where a page finds its sound: in itself, or in the recording beside it.

recording, folder of the page ──► data:audio/wav;base64,...    short, and of a kind that browsers play
                              ──► ../talks/a%20talk.m4a        any other file
                              ──► None                         no file: standard input, a microphone
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gemma_audio_cli.formatting import printable

MOST_INSIDE = 2_000_000
"""Bytes of a recording that a page has in itself; base64 makes a third more of them."""

_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "mp4": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "webm": "audio/webm",
}
"""What browsers play, by extension. They look at the content themselves; it is enough to be asked."""


@dataclass(frozen=True)
class Sound:
    """What a page plays."""

    address: str
    """A URL, relative to the page if it can be."""
    name: str
    """The recording's, for messages."""

    @property
    def media(self) -> str:
        """Where it comes from, in the words of a content security policy."""
        return "data:" if self.address.startswith("data:") else "'self' file:"


def sound_of(recording: str | os.PathLike[str], folder: Path) -> Sound | None:
    """What a page in this folder plays; None where the recording is no file that is there."""
    path = Path(recording)
    name = printable(path.name)
    try:
        if not path.is_file():
            return None
        kind = _TYPES.get(path.suffix[1:].lower())
        if kind is not None and path.stat().st_size <= MOST_INSIDE:
            data = path.read_bytes()
            return Sound(f"data:{kind};base64,{base64.b64encode(data).decode()}", name)
    except (OSError, ValueError):  # a name with a null in it is none
        return None
    return Sound(_address(path, folder), name)


def _address(path: Path, folder: Path) -> str:
    """The URL of a file, seen from a folder: as both were named, since browsers know nothing of links."""
    absolute = os.path.abspath(path)
    try:
        relative = os.path.relpath(absolute, os.path.abspath(folder))
    except ValueError:  # another drive
        return Path(absolute).as_uri()
    # Also `:`, or a browser would take what stands before it for a scheme.
    return quote(os.fsencode(relative.replace(os.sep, "/")), safe="/")
