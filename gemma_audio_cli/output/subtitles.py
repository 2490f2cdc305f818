"""Subtitles, cue by cue: SubRip (srt), WebVTT (vtt), Advanced SubStation (ass) and lyrics (lrc).

pysubs2 renders cues and the head of a file; the layout is that of cues.py. Nothing in a text can be taken for
a time line or a tag: WebVTT has escapes for it, the others have none and get characters that look alike.
"""

from __future__ import annotations

import heapq
import html
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.output.cues import Cue, display_width, make_cues
from gemma_audio_cli.output.writers import Sink, Style
from gemma_audio_cli.transcript import Recording, Segment, channel_label

if TYPE_CHECKING:
    from pysubs2 import SSAFile

_HOUR = 3_600_000
_FOREVER = 1 << 60


class SubtitleWriter:
    """Subtitles of one recording after the other; each begins a new numbering."""

    def __init__(self, out: Sink, kind: str, style: Style | None = None) -> None:
        """`kind` is one of DIALECTS."""
        self._out, self._dialect, self._style = out, DIALECTS[kind], style or Style()
        self._recording = Recording("")
        self._number = self._end = 0
        self._waiting: list[tuple[int, int, Cue]] = []
        self._order = 0

    def begin(self, recording: Recording) -> None:
        """A recording starts."""
        self._recording, self._number, self._end = recording, 0, 0
        self._waiting = []
        head = self._dialect.head()
        if head:
            self._out.write(head)
            self._out.flush()

    def delta(self, text: str) -> None:
        """Nothing: a cue needs its end."""

    def segment(self, segment: Segment) -> None:
        """Its cues. Cues of several channels overlap and are held back until none can come before them."""
        start, end = self._milliseconds(segment.start), self._milliseconds(segment.end)
        self._write_until(start)
        text, said = segment.text, self._said(segment)
        if segment.translation is not None:
            text = f"{text} {segment.translation}" if self._style.bilingual else segment.translation
            said = []  # words of another language were not said
        cues = make_cues(
            one_line(text).translate(self._dialect.neutral),
            start,
            end,
            max_line=self._style.max_line,
            min_ms=self._style.min_cue_ms,
            label=channel_label(self._recording, segment.channel),
            said=said,
        )
        for cue in cues:
            heapq.heappush(self._waiting, (cue.start, self._order, cue))
            self._order += 1
        if not self._recording.split_channels:
            self._write_until(_FOREVER)

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The recording is done."""
        self._write_until(_FOREVER)
        if self._dialect.pause and self._number:
            self._out.write(self._dialect.pause(self._end))
            self._out.flush()

    def _write_until(self, limit: int) -> None:
        """Every waiting cue that begins at `limit` ms or before."""
        if not self._waiting:
            return
        while self._waiting and self._waiting[0][0] <= limit:
            cue = heapq.heappop(self._waiting)[2]
            if self._dialect.pause and self._number and cue.start > self._end:
                self._out.write(self._dialect.pause(self._end))
            self._number += 1
            self._end = max(self._end, cue.end)
            self._out.write(self._dialect.cue(self._number, cue))
        self._out.flush()

    def _said(self, segment: Segment) -> list[tuple[int, int]]:
        """Of each character, when its word was said."""
        times: list[tuple[int, int]] = []
        for word in segment.words:
            times += [(self._milliseconds(word.start), self._milliseconds(word.end))] * len(word.text)
        return times

    def _milliseconds(self, seconds: float) -> int:
        return min(max(0, round(seconds * 1000)), self._dialect.last_ms)


@dataclass(frozen=True)
class Dialect:
    """What one format makes of cues."""

    cue: Callable[[int, Cue], str]
    """The cue with this number (from 1) as it stands in the file."""
    neutral: dict[int, str]
    """What stands for characters that would begin a tag."""
    head: Callable[[], str] = str
    """The beginning of a file."""
    pause: Callable[[int], str] | None = None
    """For formats whose cues have no end: what says that nothing is shown from this moment (ms) on."""
    last_ms: int = _FOREVER
    """The last moment that can be written."""


def _file(*cues: tuple[int, int, str]) -> SSAFile:
    # Imported here: it takes a tenth of a second that no other format needs.
    from pysubs2 import SSAEvent, SSAFile

    file = SSAFile()
    file.events = [SSAEvent(start=start, end=end, text=text) for start, end, text in cues]
    return file


def _srt(number: int, cue: Cue) -> str:
    # pysubs2 begins at 1 each time.
    rendered = _file((cue.start, cue.end, r"\N".join(cue.lines))).to_string("srt", keep_ssa_tags=True)
    return f"{number}\n{rendered.partition('1' + chr(10))[2]}"


def _vtt(number: int, cue: Cue) -> str:
    # Not pysubs2's: that has SubRip's last moment, WebVTT has none.
    lines = "\n".join(html.escape(line, quote=False) for line in cue.lines)
    return f"{number}\n{_vtt_time(cue.start)} --> {_vtt_time(cue.end)}\n{lines}\n\n"


def _vtt_time(ms: int) -> str:
    """HH:MM:SS.mmm, more digits of hours where there are."""
    return f"{ms // _HOUR:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _ass_head() -> str:
    return _file().to_string("ass")


def _ass(_number: int, cue: Cue) -> str:
    # The times are not pysubs2's, which end at ten hours; players read any number of hours.
    line = _file((0, 0, r"\N".join(cue.lines))).to_string("ass").splitlines()[-1]
    layer, _start, _end, rest = line.split(",", 3)
    return f"{layer},{_ass_time(cue.start)},{_ass_time(cue.end)},{rest}\n"


def _ass_time(ms: int) -> str:
    """H:MM:SS.cc."""
    cs = (ms + 5) // 10
    return f"{cs // 360_000}:{cs // 6000 % 60:02d}:{cs // 100 % 60:02d}.{cs % 100:02d}"


def _lrc(_number: int, cue: Cue) -> str:
    text = cue.lines[0]
    for before, after in pairwise(cue.lines):
        wide = display_width(before[-1]) > 1 or display_width(after[0]) > 1
        text += after if wide else f" {after}"
    return f"[{_lrc_time(cue.start)}]{text}\n"


def _lrc_pause(ms: int) -> str:
    return f"[{_lrc_time(ms)}]\n"


def _lrc_time(ms: int) -> str:
    """MM:SS.cc; lyrics have no hours, and more than 99 minutes where it takes them."""
    cs = (ms + 5) // 10
    return f"{cs // 6000:02d}:{cs // 100 % 60:02d}.{cs % 100:02d}"


# A backslash begins line breaks and tags in the SubStation dialect, which most players read in SubRip too.
_NEUTRAL_VTT = str.maketrans({"\\": "⧵"})
_NEUTRAL_ASS = _NEUTRAL_VTT | str.maketrans({"{": "(", "}": ")"})
_NEUTRAL_SRT = _NEUTRAL_ASS | str.maketrans({"<": "‹", ">": "›"})
_NEUTRAL_LRC = str.maketrans({"[": "(", "]": ")", "<": "‹", ">": "›"})

DIALECTS = {
    "srt": Dialect(_srt, _NEUTRAL_SRT, last_ms=100 * _HOUR - 1),
    "vtt": Dialect(_vtt, _NEUTRAL_VTT, head=lambda: "WEBVTT\n\n"),
    "ass": Dialect(_ass, _NEUTRAL_ASS, head=_ass_head),
    "lrc": Dialect(_lrc, _NEUTRAL_LRC, head=lambda: "[re:gemma-audio]\n", pause=_lrc_pause),
}
"""All kinds of subtitles by the names of their formats. SubRip alone has a last moment: 99:59:59,999."""
