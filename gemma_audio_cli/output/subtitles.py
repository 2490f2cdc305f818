"""Subtitles, cue by cue: SubRip (srt), WebVTT (vtt), Advanced SubStation (ass) and lyrics (lrc).

    segment ──► its text, marked and neutral ──► cues.py: cues ──► the dialect's text of each ──► a file

pysubs2 renders cues and the head of a file; the layout is that of cues.py. Nothing in a text can be taken for
a time line or a tag: WebVTT has escapes for it, the others have none and get characters that look alike.
"""

from __future__ import annotations

import heapq
import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.output import karaoke
from gemma_audio_cli.output.cues import Cue, Timed, make_cues
from gemma_audio_cli.output.lines import display_width
from gemma_audio_cli.output.writers import Sink, Style
from gemma_audio_cli.transcript import Recording, Segment, source_label

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
        head = self._dialect.head(self._style.karaoke)
        if head:
            self._out.write(head)
            self._out.flush()

    def delta(self, text: str) -> None:
        """Nothing: a cue needs its end."""

    def segment(self, segment: Segment) -> None:
        """Its cues. Cues of several channels overlap and are held back until none can come before them."""
        start, end = self._milliseconds(segment.start), self._milliseconds(segment.end)
        self._write_until(start)
        text, words = self._text(segment)
        label = self._neutral(source_label(self._recording, segment))
        voice = self._neutral(segment.speaker) if segment.speaker and self._dialect.voice else ""
        cues = make_cues(
            text,
            start,
            end,
            max_line=self._style.max_line,
            min_ms=self._style.min_cue_ms,
            label="" if voice or not label else f"{label} ",
            max_words=self._style.max_words,
            words=words,
        )
        for cue in cues:
            cue = replace(cue, voice=voice)
            heapq.heappush(self._waiting, (cue.start, self._order, cue))
            self._order += 1
        if not self._recording.labelled:
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
            self._out.write(self._dialect.cue(self._number, cue, self._body(cue)))
        self._out.flush()

    def _text(self, segment: Segment) -> tuple[str, list[Timed]]:
        """What is shown of a segment, and its words, where they have times and are what is shown."""
        text, words = segment.text, segment.words
        if self._style.unsure is not None:
            text = self._style.unsure.text(text, segment)
            _, words = self._style.unsure.marked(segment.text, words)
        if segment.translation is not None:
            text = f"{text} {segment.translation}" if self._style.bilingual else segment.translation
            words = ()  # words of another language were not said
        ms = self._milliseconds
        return self._neutral(text), [
            Timed(self._neutral(word.text), ms(word.start), ms(word.end)) for word in words
        ]

    def _neutral(self, text: str) -> str:
        return one_line(text).translate(self._dialect.neutral)

    def _body(self, cue: Cue) -> str:
        """Its text, word by word where that is wanted and known."""
        sung = self._dialect.karaoke if self._style.karaoke and cue.said else None
        text = (sung or self._dialect.plain)(cue)
        return self._dialect.voice(cue.voice) + text if self._dialect.voice and cue.voice else text

    def _milliseconds(self, seconds: float) -> int:
        return min(max(0, round(seconds * 1000)), self._dialect.last_ms)


@dataclass(frozen=True)
class Dialect:
    """What one format makes of cues."""

    cue: Callable[[int, Cue, str], str]
    """The cue with this number (from 1) and this text as it stands in the file."""
    plain: Callable[[Cue], str]
    """The text of a cue."""
    neutral: dict[int, str]
    """What stands for characters that would begin a tag."""
    head: Callable[[bool], str] = lambda _karaoke: ""
    """The beginning of a file; True: with `karaoke`."""
    pause: Callable[[int], str] | None = None
    """For formats whose cues have no end: what says that nothing is shown from this moment (ms) on."""
    last_ms: int = _FOREVER
    """The last moment that can be written."""
    karaoke: Callable[[Cue], str] | None = None
    """The text of a cue whose words have times, with these; None: the format has no way to say them."""
    voice: Callable[[str], str] | None = None
    """What stands before a cue's text to say whose it is; None: it is part of the text."""


def _file(*cues: tuple[int, int, str]) -> SSAFile:
    # Imported here: it takes a tenth of a second that no other format needs.
    from pysubs2 import SSAEvent, SSAFile

    file = SSAFile()
    file.events = [SSAEvent(start=start, end=end, text=text) for start, end, text in cues]
    return file


def _substation(cue: Cue) -> str:
    return r"\N".join(cue.lines)


def _srt(number: int, cue: Cue, text: str) -> str:
    # pysubs2 begins at 1 each time.
    rendered = _file((cue.start, cue.end, text)).to_string("srt", keep_ssa_tags=True)
    return f"{number}\n{rendered.partition('1' + chr(10))[2]}"


def _vtt(number: int, cue: Cue, text: str) -> str:
    # Not pysubs2's: that has SubRip's last moment, WebVTT has none.
    return f"{number}\n{_vtt_time(cue.start)} --> {_vtt_time(cue.end)}\n{text}\n\n"


def _vtt_plain(cue: Cue) -> str:
    return "\n".join(map(_escaped, cue.lines))


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _vtt_time(ms: int) -> str:
    """HH:MM:SS.mmm, more digits of hours where there are."""
    return f"{ms // _HOUR:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _ass_head(karaoke: bool) -> str:
    file = _file()
    if karaoke:
        from pysubs2 import Color

        file.styles["Default"].secondarycolor = Color(160, 160, 160)  # what has not been said yet
    return file.to_string("ass")


def _ass(_number: int, cue: Cue, text: str) -> str:
    # The times are not pysubs2's, which end at ten hours; players read any number of hours.
    line = _file((0, 0, text)).to_string("ass").splitlines()[-1]
    layer, _start, _end, rest = line.split(",", 3)
    return f"{layer},{_ass_time(cue.start)},{_ass_time(cue.end)},{rest}\n"


def _ass_time(ms: int) -> str:
    """H:MM:SS.cc."""
    cs = _centiseconds(ms)
    return f"{cs // 360_000}:{cs // 6000 % 60:02d}:{cs // 100 % 60:02d}.{cs % 100:02d}"


def _centiseconds(ms: int) -> int:
    return (ms + 5) // 10


def _lrc(_number: int, cue: Cue, text: str) -> str:
    return f"[{_lrc_time(cue.start)}]{text}\n"


def _lrc_plain(cue: Cue) -> str:
    text = cue.lines[0]
    for before, after in pairwise(cue.lines):
        text += _joint(before, after) + after
    return text


def _joint(before: str, after: str) -> str:
    """What stands between two lines of a cue where they are one: nothing in scripts without spaces."""
    wide = display_width(before[-1]) > 1 or display_width(after[0]) > 1
    return "" if wide else " "


def _lrc_pause(ms: int) -> str:
    return f"[{_lrc_time(ms)}]\n"


def _lrc_time(ms: int) -> str:
    """MM:SS.cc; lyrics have no hours, and more than 99 minutes where it takes them."""
    cs = _centiseconds(ms)
    return f"{cs // 6000:02d}:{cs // 100 % 60:02d}.{cs % 100:02d}"


# A backslash begins line breaks and tags in the SubStation dialect, which most players read in SubRip too.
_NEUTRAL_VTT = str.maketrans({"\\": "⧵"})
_NEUTRAL_ASS = _NEUTRAL_VTT | str.maketrans({"{": "(", "}": ")"})
_NEUTRAL_SRT = _NEUTRAL_ASS | str.maketrans({"<": "‹", ">": "›"})
_NEUTRAL_LRC = str.maketrans({"[": "(", "]": ")", "<": "‹", ">": "›"})

DIALECTS = {
    "srt": Dialect(_srt, _substation, _NEUTRAL_SRT, last_ms=100 * _HOUR - 1),
    "vtt": Dialect(
        _vtt,
        _vtt_plain,
        _NEUTRAL_VTT,
        head=lambda _karaoke: "WEBVTT\n\n",
        karaoke=lambda cue: karaoke.vtt(cue, _vtt_time, _escaped),
        voice=lambda name: f"<v {_escaped(name)}>",
    ),
    "ass": Dialect(
        _ass,
        _substation,
        _NEUTRAL_ASS,
        head=_ass_head,
        karaoke=lambda cue: karaoke.ass(cue, _centiseconds),
    ),
    "lrc": Dialect(
        _lrc,
        _lrc_plain,
        _NEUTRAL_LRC,
        head=lambda _karaoke: "[re:gemma-audio]\n",
        pause=_lrc_pause,
        karaoke=lambda cue: karaoke.lrc(cue, _lrc_time, _joint),
    ),
}
"""All kinds of subtitles by the names of their formats. SubRip alone has a last moment: 99:59:59,999."""

KARAOKE = tuple(kind for kind, dialect in DIALECTS.items() if dialect.karaoke is not None)
"""Those that can show words as they are said."""
