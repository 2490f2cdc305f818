"""What a person sees while they speak: the present utterance, and a line that says how things are.

    ... final lines, which stay ...
    twenty past nine in the|afternoon      words two partial texts agree on plain, the rest dim
    ▮▮▮▮▮▯▯▯▯▯ 1:02 hearing you            level, time, state

Only a terminal that can move its cursor gets it; elsewhere there are only final lines. Rich draws it anew
some times a second, in the terminal's present size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from gemma_audio_cli.transcript import Partial

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

_ROWS = 6
"""Of the present utterance; of a longer one its end is shown."""
_PER_SECOND = 8


class Display:
    """Shows a stream on a terminal.

    with Display(status) as display:
        display.partial(...)
        writer = TextWriter(display.out)
    """

    def __init__(self, status: Callable[[int], str], *, enabled: bool = True) -> None:
        """`status` is asked for the last line, for so many columns."""
        self._status = status
        self._partial: Partial | None = None
        self._live: Live | None = None
        self._console: Console | None = None
        stream = next((s for s in (sys.stdout, sys.stderr) if s.isatty()), None)
        if enabled and stream is not None:
            self._prepare(stream)

    @property
    def active(self) -> bool:
        """Is there a terminal that shows it?"""
        return self._live is not None

    @property
    def out(self) -> TextIO | _Above:
        """Where results go: standard output, above what is shown here if that is the same terminal."""
        if self._console is not None and self._console.file is sys.stdout:
            return _Above(self._console)
        return sys.stdout

    def line(self, text: str) -> None:
        """A line that stays: for texts that go to a file, which the person would not see."""
        if self._console is not None:
            out = _Above(self._console)
            out.write(f"{text}\n")

    def partial(self, partial: Partial | None) -> None:
        """The present utterance; None: it is over."""
        self._partial = partial

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _prepare(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream, highlight=False, markup=False, emoji=False)
        if console.is_dumb_terminal or not console.is_terminal:
            return
        self._console = console
        # Notices go above it; results get there by `out`, or go elsewhere as they are.
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        )

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        assert self._console is not None
        width, height = self._console.size
        status = Text(self._status(width - 1), no_wrap=True, overflow="crop", style="dim")
        status.truncate(max(1, width - 1))
        partial = self._partial
        if partial is None or height < 3:
            return status
        text = Text(partial.text[: partial.stable])
        text.append(partial.text[partial.stable :], style="dim")
        return Group(*self._rows(text, width, min(_ROWS, height - 2)), status)

    def _rows(self, text: Text, width: int, rows: int) -> list[Text]:
        """The last rows of the text, broken into lines of the terminal's width."""
        assert self._console is not None
        lines = [line for part in text.split("\n") for line in part.wrap(self._console, max(1, width - 1))]
        return list(lines[-rows:])


class _Above:
    """A Sink that prints whole lines above the display."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""

    def write(self, text: str, /) -> None:
        """Lines as they are: the terminal breaks them, so that copying them gives them back."""
        from rich.text import Text

        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            # Escape sequences are ours: the model's words and names come without any.
            self._console.print(Text.from_ansi(line) if "\x1b" in line else Text(line), soft_wrap=True)

    def flush(self) -> None:
        """Whole lines are out already."""

    def isatty(self) -> bool:
        """There is a display on terminals only."""
        return True
