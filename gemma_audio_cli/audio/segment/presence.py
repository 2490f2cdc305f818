"""Is there anything in a recording to ask about? A model that is asked about nothing invents an answer.

windows ──► the first with speech (or, without speech detection, with sound) ──► all windows, or none
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from gemma_audio_cli.audio.segment.vad import Framer, SpeechDetector
from gemma_audio_cli.audio.segment.windows import Window

Hypothesis = Callable[[Window], bool]

_MOST_HELD = 90 * 60.0
"""Seconds kept while nothing has been heard yet: more than models take in at once, so what is longer is given
to the model all the same, which will say so."""


def speech(threshold: float) -> Hypothesis:
    """Does somebody speak in a window? To be asked of all windows of one recording, in order."""
    detector, framer = SpeechDetector(), Framer()

    def heard(window: Window) -> bool:
        return any(detector(frame) >= threshold for frame in framer.push(window.samples))

    return heard


def sound(peak: float) -> Hypothesis:
    """Is a window ever louder than this, of full scale?"""
    return lambda window: window.peak >= peak


def from_first(windows: Iterable[Window], heard: Hypothesis) -> Iterator[Window] | None:
    """All the windows, where one of them is heard; None where none is. Reads no further than to that one."""
    source, held, seconds = iter(windows), list[Window](), 0.0
    for window in source:
        held.append(window)
        seconds += window.seconds
        if heard(window) or seconds > _MOST_HELD:
            return chain(held, source)
    return None
