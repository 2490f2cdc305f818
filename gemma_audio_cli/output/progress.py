"""Progress of a batch on a terminal: files, seconds done, times real time, time left; elsewhere nothing."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from gemma_audio_cli.formatting import counted, hms, printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress:
    """A bar on stderr while it is a terminal; elsewhere it only counts.

        with Progress(files=3) as progress:
            progress.expect("talk.mp3", 3600.0)
            progress.start("talk.mp3")
            progress.reach(28.5)
            progress.finish()
        progress.summary()  # "3 files, 1:30:00 of sound in 0:12:10, 7.4 × real time"

    While the bar is there, lines printed to sys.stderr appear above it. Where text streams to the same
    terminal a bar would be in its way: `enabled=False`.
    """

    def __init__(self, files: int, *, enabled: bool | None = None, stream: TextIO | None = None) -> None:
        """`files` are to be done. `enabled`: None means where `stream` (default: stderr) is a terminal."""
        self._files = files
        self._stream = stream or sys.stderr
        self.enabled = self._stream.isatty() if enabled is None else enabled
        """A bar is shown, so lengths are worth telling."""
        self.files_done = self.files_failed = self.files_skipped = 0
        self._seconds_before = 0.0
        """Of sound, in the files that are done."""
        self._file: str | None = None
        self._reached = 0.0
        self._lock = threading.Lock()
        self._expected: dict[str, float] = {}
        """Seconds of files that are not done, as far as they are known."""
        self._over: set[str] = set()
        """Files that are done, or need not be: their lengths may come later."""
        self._known, self._known_seconds = 0, 0.0
        """All files whose length is or was known: how many, how long together."""
        self._begun = time.monotonic()
        self._ended: float | None = None
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, or that it took."""
        return (self._ended or time.monotonic()) - self._begun

    @property
    def seconds_done(self) -> float:
        """Seconds of sound."""
        return self._seconds_before + self._reached

    @property
    def seconds_left(self) -> float | None:
        """Seconds of sound still to be done; files of unknown length count as long as the known ones are in
        the mean. None where no length is known.
        """
        with self._lock:
            if not self._known:
                return None
            known = sum(self._expected.values())
            waiting = self._files - self.files_done - self.files_failed - self.files_skipped
            unknown = max(0, waiting - len(self._expected))
            mean = self._known_seconds / self._known
            here = self._expected.get(self._file, mean) if self._file is not None else 0.0
            return max(0.0, known + unknown * mean - min(self._reached, here))

    def awaits(self, name: str) -> bool:
        """Is the file still to be done? From any thread."""
        return name not in self._over

    def expect(self, name: str, seconds: float) -> None:
        """A file that is not done yet has so many seconds of sound. From any thread."""
        with self._lock:
            if name not in self._over:
                self._expected[name] = seconds
            self._known += 1
            self._known_seconds += seconds

    def start(self, name: str) -> None:
        """A file is begun."""
        self._file, self._reached = name, 0.0
        if self._bar is not None:
            self._bar.start()  # after a pause; else it does nothing
        self._show(name=name)

    def pause(self) -> None:
        """The bar makes room for text on the same terminal, until the next file starts."""
        if self._bar is not None:
            self._bar.stop()

    def reach(self, seconds: float) -> None:
        """So many seconds from the file's start are done: never fewer than before."""
        self._reached = max(self._reached, seconds)
        self._show()

    def finish(self, *, failed: bool = False) -> None:
        """The file is done, or failed."""
        with self._lock:
            self._forget(self._file or "")
            self._seconds_before += self._reached
            self._file, self._reached = None, 0.0
            self.files_done += not failed
            self.files_failed += failed
        self._show()

    def skip(self, name: str) -> None:
        """A file is done already."""
        with self._lock:
            self._forget(name)
            self.files_skipped += 1
        self._show()

    def summary(self) -> str:
        """How it went, on one line."""
        parts = [counted(self.files_done, "file")]
        if self.files_skipped:
            parts.append(f"{self.files_skipped} done before")
        if self.files_failed:
            parts.append(f"{self.files_failed} failed")
        spent = f"{hms(self.seconds_done)} of sound in {hms(self.elapsed)}"
        return ", ".join([*parts, spent, self._speed()])

    def __enter__(self) -> Progress:
        self._begun, self._ended = time.monotonic(), None
        if self.enabled:
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _forget(self, name: str) -> None:
        self._expected.pop(name, None)
        self._over.add(name)

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
        self._task = self._bar.add_task("", total=None, **self._fields(), name="")
        self._bar.start()

    def _show(self, **more: str) -> None:
        if self._bar is not None and self._task is not None:
            if "name" in more:
                more["name"] = printable(more["name"])
            done, left = self.seconds_done, self.seconds_left
            total = None if left is None else done + left
            self._bar.update(self._task, completed=done, total=total, **(self._fields() | more))

    def _fields(self) -> dict[str, Any]:
        number = self.files_done + self.files_failed + self.files_skipped
        left = self.seconds_left
        sound = hms(self.seconds_done)
        if left is not None:
            sound += f"/{hms(self.seconds_done + left)}"
        return {
            "files": f"{number}/{self._files}",
            "sound": sound,
            "speed": self._speed(),
            "left": self._left(left),
        }

    def _speed(self) -> str:
        return f"{self.seconds_done / max(self.elapsed, 1e-3):.1f} × real time"

    def _left(self, seconds: float | None) -> str:
        if seconds is None or not self.seconds_done:
            return ""
        return f"{hms(seconds * self.elapsed / self.seconds_done)} left"
