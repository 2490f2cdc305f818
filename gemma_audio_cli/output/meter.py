"""How loud it is: a holder that the listening thread fills and the display reads, and a bar for it.

██████████▌         │        -23 dB
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from gemma_audio_cli.formatting import hms

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_audio_cli.sound import Floats

FLOOR = -60.0
"""dB of full scale at which the bar begins; silence is no louder."""
_HOLD_S = 1.5
_FALL_DB_S = 20.0
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Level:
    """Loudness of what was heard last. One thread hears, any may look."""

    def __init__(self) -> None:
        # One tuple, replaced as a whole: who looks sees all of it of the same moment.
        self._now: tuple[float, float, float] = (FLOOR, FLOOR, 0.0)

    def hear(self, block: Floats) -> None:
        """Float32 [n] came."""
        if not len(block):
            return
        power = float(block.dot(block)) / len(block)
        db = max(FLOOR, 10 * math.log10(power)) if math.isfinite(power) and power > 0 else FLOOR
        db, now = min(0.0, db), time.monotonic()
        peak, since = (db, now) if db >= self.peak else self._now[1:]
        self._now = (db, peak, since)

    @property
    def db(self) -> float:
        """Loudness of the last block: dB of full scale, FLOOR to 0."""
        return self._now[0]

    @property
    def peak(self) -> float:
        """The loudest of late: held for a moment, then falling."""
        db, peak, since = self._now
        return max(db, peak - _FALL_DB_S * max(0.0, time.monotonic() - since - _HOLD_S))


def bar(level: Level, width: int, *, plain: bool = False) -> str:
    """The level as exactly `width` columns, the peak marked. `plain`: for terminals that have no blocks."""
    if width < 1:
        return ""
    filled = (level.db - FLOOR) / -FLOOR * width
    whole = int(filled)
    cells = ["#" if plain else "█"] * whole + [" "] * (width - whole)
    if whole < width and not plain:
        cells[whole] = _EIGHTHS[int((filled - whole) * 8)]
    mark = min(width - 1, int((level.peak - FLOOR) / -FLOOR * width))
    if level.peak > FLOOR and mark >= whole:
        cells[mark] = "|" if plain else "│"
    return "".join(cells)


class Meter:
    """A line at the foot of stderr while that is a terminal: time, level, dB. Elsewhere nothing.

    with Meter(level, lambda: recorder.seconds):
        ...

    Lines printed to sys.stderr meanwhile appear above it.
    """

    def __init__(self, level: Level, seconds: Callable[[], float], *, enabled: bool = True) -> None:
        """`seconds()`: of sound so far."""
        self._level, self._seconds, self._enabled = level, seconds, enabled
        self._live: Any = None

    def __enter__(self) -> Meter:
        import sys

        if self._enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=sys.stderr, highlight=False)
            if not console.is_dumb_terminal:
                self._live = Live(
                    console=console,
                    get_renderable=lambda: self._line(console.width, console.encoding),
                    refresh_per_second=10,
                    transient=True,
                    redirect_stdout=False,
                )
                self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _line(self, width: int, encoding: str) -> Any:
        from rich.text import Text

        clock, db = hms(self._seconds()), f"{self._level.db:4.0f} dB"
        # The last column stays empty: some terminals wrap when it is written to.
        room = width - 1 - len(clock) - len(db) - 2
        line = f"{clock} {bar(self._level, min(room, 50), plain='utf' not in encoding.lower())} {db}"
        return Text(line if room >= 4 else clock[: max(0, width - 1)], no_wrap=True, overflow="crop")
