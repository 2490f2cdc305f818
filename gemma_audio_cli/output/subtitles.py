"""SubRip (srt) and WebVTT (vtt) subtitles, cue by cue.

pysubs2 renders each cue; the layout is that of cues.py. Nothing in a text can be taken for a time line or a
tag: WebVTT has escapes for it, SubRip has none and gets characters that look alike.
"""

from __future__ import annotations

import heapq
import html

from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.output.cues import Cue, make_cues
from gemma_audio_cli.output.transcript import (
    Recording,
    SegmentLike,
    TranscriptSegment,
    channel_label,
)
from gemma_audio_cli.output.writers import Sink, Style

# A backslash begins line breaks and tags in the Sub Station dialect, which most players read in SubRip too.
_NEUTRAL_VTT = str.maketrans({"\\": "⧵"})
_NEUTRAL_SRT = _NEUTRAL_VTT | str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")"})
_LAST_MS = 100 * 3_600_000 - 1
"""99:59:59.999, the last moment SubRip can write."""


class SubtitleWriter:
    """Subtitles of one recording after the other; each begins a new numbering."""

    def __init__(self, out: Sink, kind: str, style: Style | None = None) -> None:
        """`kind` is "srt" or "vtt"."""
        # Imported here: it takes a tenth of a second that no other format needs.
        from pysubs2 import SSAEvent, SSAFile

        self._event, self._file = SSAEvent, SSAFile
        self._out, self._kind, self._style = out, kind, style or Style()
        self._neutral = _NEUTRAL_VTT if kind == "vtt" else _NEUTRAL_SRT
        self._recording = Recording("")
        self._number = 0
        self._waiting: list[tuple[int, int, Cue]] = []
        self._order = 0

    def begin(self, recording: Recording | str) -> None:
        """A recording starts."""
        self._recording, self._number, self._waiting = Recording.of(recording), 0, []
        if self._kind == "vtt":
            self._out.write("WEBVTT\n\n")
            self._out.flush()

    def delta(self, text: str) -> None:
        """Nothing: a cue needs its end."""

    def segment(self, segment: SegmentLike) -> None:
        """Its cues. Cues of several channels overlap and are held back until none can come before them."""
        ours = TranscriptSegment.of(segment)
        start, end = _milliseconds(ours.start), _milliseconds(ours.end)
        self._write_until(start)
        cues = make_cues(
            one_line(ours.text).translate(self._neutral),
            start,
            end,
            max_line=self._style.max_line,
            min_ms=self._style.min_cue_ms,
            label=channel_label(self._recording, ours.channel),
        )
        for cue in cues:
            heapq.heappush(self._waiting, (cue.start, self._order, cue))
            self._order += 1
        if not self._recording.split_channels:
            self._write_until(_LAST_MS)

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The recording is done."""
        self._write_until(_LAST_MS)

    def _write_until(self, limit: int) -> None:
        """Every waiting cue that begins at `limit` ms or before."""
        if not self._waiting:
            return
        while self._waiting and self._waiting[0][0] <= limit:
            self._number += 1
            self._out.write(f"{self._number}\n{self._render(heapq.heappop(self._waiting)[2])}")
        self._out.flush()

    def _render(self, cue: Cue) -> str:
        """The cue's time line and text, without its number: pysubs2 begins at 1 each time."""
        lines = [html.escape(line, quote=False) if self._kind == "vtt" else line for line in cue.lines]
        subtitles = self._file()
        subtitles.events = [self._event(start=cue.start, end=cue.end, text=r"\N".join(lines))]
        return subtitles.to_string(self._kind, keep_ssa_tags=True).partition("1\n")[2]


def _milliseconds(seconds: float) -> int:
    return min(max(0, round(seconds * 1000)), _LAST_MS)
