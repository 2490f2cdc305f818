"""Progress of a batch on a terminal: files, seconds done, times real time, time left; elsewhere nothing."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from gemma_audio_cli.formatting import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress:
    """A bar on stderr while it is a terminal; elsewhere it only counts.

        with Progress(files=3, seconds=5400.0) as progress:
            progress.start("talk.mp3")
            progress.advance(28.5)
            progress.finish()
        progress.summary()  # "3 files, 1:30:00 of sound in 0:12:10, 7.4 × real time"

    While the bar is there, lines printed to sys.stderr appear above it. Where text streams to the same
    terminal a bar would be in its way: `enabled=False`.
    """

    def __init__(
        self,
        files: int,
        seconds: float | None = None,
        *,
        enabled: bool | None = None,
        stream: TextIO | None = None,
    ) -> None:
        """`files` and `seconds` (of sound) are to be done; None where the seconds are not known.

        `enabled`: None means where `stream` (default: stderr) is a terminal.
        """
        self._files, self._seconds = files, seconds
        self._stream = stream or sys.stderr
        self._enabled = self._stream.isatty() if enabled is None else enabled
        self.files_done = self.files_failed = self.files_skipped = 0
        self.seconds_done = 0.0
        """Seconds of sound."""
        self._begun = time.monotonic()
        self._ended: float | None = None
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, or that it took."""
        return (self._ended or time.monotonic()) - self._begun

    def start(self, name: str) -> None:
        """A file is begun."""
        self._show(name=name)

    def advance(self, seconds: float) -> None:
        """So many more seconds of sound are done."""
        self.seconds_done += seconds
        self._show()

    def finish(self, *, failed: bool = False) -> None:
        """A file is done, or failed."""
        self.files_done += not failed
        self.files_failed += failed
        self._show()

    def skip(self, seconds: float = 0.0) -> None:
        """A file, of so many of the seconds to be done, is done already."""
        self.files_skipped += 1
        if self._seconds is not None:
            self._seconds = max(0.0, self._seconds - seconds)
        self._show()

    def summary(self) -> str:
        """How it went, on one line."""
        parts = [_count(self.files_done, "file")]
        if self.files_skipped:
            parts.append(f"{self.files_skipped} done before")
        if self.files_failed:
            parts.append(f"{self.files_failed} failed")
        spent = f"{_hours(self.seconds_done)} of sound in {_hours(self.elapsed)}"
        return ", ".join([*parts, spent, self._speed()])

    def __enter__(self) -> Progress:
        self._begun, self._ended = time.monotonic(), None
        if self._enabled:
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _open(self) -> None:
        # Imported here: rich costs a tenth of a second, and most runs show no bar.
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._bar = RichProgress(
            TextColumn("{task.fields[files]}"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[sound]}  {task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
            # Last, and cut to what is left of the line: names may be of any length.
            TextColumn("{task.fields[name]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            console=Console(file=self._stream, force_terminal=True),
            redirect_stdout=False,
            transient=True,
            refresh_per_second=4,
            expand=True,
        )
        self._task = self._bar.add_task("", total=self._seconds, **self._fields(), name="")
        self._bar.start()

    def _show(self, **more: str) -> None:
        if self._bar is not None and self._task is not None:
            if "name" in more:
                more["name"] = printable(more["name"])
            done = self.seconds_done
            self._bar.update(self._task, completed=done, total=self._seconds, **(self._fields() | more))

    def _fields(self) -> dict[str, Any]:
        number = self.files_done + self.files_failed + self.files_skipped
        sound = _hours(self.seconds_done)
        if self._seconds is not None:
            sound += f"/{_hours(self._seconds)}"
        return {
            "files": f"{number}/{self._files}",
            "sound": sound,
            "speed": self._speed(),
            "left": self._left(),
        }

    def _speed(self) -> str:
        return f"{self.seconds_done / max(self.elapsed, 1e-3):.1f} × real time"

    def _left(self) -> str:
        if self._seconds is None or not self.seconds_done:
            return ""
        left = max(0.0, self._seconds - self.seconds_done)
        return f"{_hours(left * self.elapsed / self.seconds_done)} left"


def _hours(seconds: float) -> str:
    """H:MM:SS."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
