"""Push to talk: the space bar (or Enter) begins what counts and ends it.

Terminals tell that a key was pressed, never that it was let go: so one press begins, the next one ends.
"""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import Any

from gemma_audio_cli.errors import UsageError

_KEYS = b" \r\n"


class TalkKey:
    """Watches the keyboard in a thread of its own.

    with TalkKey() as key:
        ... key.talking ...
    """

    def __init__(self) -> None:
        """Raises UsageError where nobody sits at a keyboard."""
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("--push-to-talk needs a keyboard: standard input is no terminal")
        self.talking = False
        """Is what is heard now meant to be heard?"""
        self._before: Any = None

    def __enter__(self) -> TalkKey:
        if sys.platform != "win32":
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)  # keys as they are pressed, without an echo; Ctrl-C stays what it is
        threading.Thread(target=self._watch, daemon=True, name="keyboard").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.platform != "win32" and self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def _watch(self) -> None:
        if sys.platform == "win32":
            import msvcrt

            while True:
                if msvcrt.getwch() in _KEYS.decode():
                    self.talking = not self.talking
        while pressed := os.read(sys.stdin.fileno(), 1):
            if pressed in _KEYS:
                self.talking = not self.talking
