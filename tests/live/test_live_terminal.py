"""What a person sees of `gemma-audio live`: a real pseudo-terminal, read by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

pyte = pytest.importorskip("pyte")
pty = pytest.importorskip("pty")

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
TEXT = "4 1 7 3 9 2"


class Terminal:
    """A program on a pseudo-terminal, and the screen it draws."""

    def __init__(self, arguments: tuple[object, ...], env: dict[str, str], columns: int, rows: int) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gemma_audio_cli", *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def resize(self, columns: int, rows: int) -> None:
        """The person changes the window."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self, seconds: float) -> None:
        """What the program draws in that time, or until it ends."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._ours], [], [], left)[0]:
                return
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                data = b""
            if not data:
                self.process.wait(60)
                return
            self.raw += data
            self._stream.feed(data)

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Until the screen shows it."""
        until = time.monotonic() + seconds
        while not any(text in line for line in self.lines()):
            assert time.monotonic() < until, f"{text!r} is not on the screen: {self.lines()}"
            assert self.process.poll() is None, f"it ended: {self.lines()}"
            self.read(0.1)

    def lines(self) -> list[str]:
        """All that is on the screen and above it."""
        above = ["".join(line[x].data for x in sorted(line)).rstrip() for line in self.screen.history.top]
        return [*above, *(line.rstrip() for line in self.screen.display)]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(environment, tmp_path):
    opened: list[Terminal] = []

    def begin(*arguments: object, columns: int = 80, rows: int = 24, term: str = "xterm") -> Terminal:
        kept = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "CI")}
        env = kept | {"PYTHONPATH": str(ROOT), "TERM": term, "PYTHONIOENCODING": "utf-8"}
        opened.append(Terminal(arguments, env, columns, rows))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> Path:
    """The digits, a pause, the digits."""
    samples, rate = soundfile.read(SAMPLE)
    path = tmp_path_factory.mktemp("twice") / "twice.wav"
    soundfile.write(path, np.concatenate((samples, np.zeros(rate), samples)), rate)
    return path


def finals(terminal: Terminal) -> list[str]:
    return [line for line in terminal.lines() if line == TEXT]


def test_words_show_while_they_are_spoken_and_final_lines_stay(terminal, twice):
    screen = terminal("live", "--realtime", twice)
    screen.wait_for("hearing you")
    screen.wait_for("4 1")  # long before the utterance ends
    assert not finals(screen)
    screen.wait_for(TEXT)
    screen.read(60)
    assert screen.process.returncode == 0
    # Nothing is left of the display: two lines of text, after the notice about the demo model.
    text = [line for line in screen.lines() if line]
    assert text[-2:] == [TEXT, TEXT]
    assert not any("hearing" in line or "listening" in line for line in text)
    # Dim (SGR 2) is what may change, plain what two partial texts agree on.
    assert b"\x1b[2m" in screen.raw
    assert b"4 1\x1b[2m" in screen.raw or b"4 1 7\x1b[2m" in screen.raw


def test_narrow_and_wide_terminals(terminal):
    sizes = [(9, 3), (200, 60)]
    screens = [terminal("live", "-q", "--realtime", SAMPLE, columns=c, rows=r) for c, r in sizes]
    for screen in screens:
        screen.read(60)
        assert screen.process.returncode == 0
        # A narrow terminal breaks the line itself; taken together it is the text, and nothing else is left.
        assert "".join(screen.lines()) == TEXT


def test_the_window_may_change_its_size(terminal, twice):
    screen = terminal("live", "--realtime", twice, columns=100, rows=30)
    screen.wait_for("4 1 7")
    for columns, rows in ((40, 10), (25, 4), (120, 50), (30, 12)):
        screen.resize(columns, rows)
        os.kill(screen.process.pid, signal.SIGWINCH)
        screen.read(0.5)
    screen.read(60)
    assert screen.process.returncode == 0
    assert len(finals(screen)) == 2
    assert not any("hearing you" in line for line in screen.lines()[-3:])


def test_what_goes_to_a_file_is_seen_too(terminal, tmp_path):
    quiet = terminal("live", "-q", "--realtime", "-o", tmp_path / "out.srt", SAMPLE)
    screen = terminal("live", "--realtime", "-o", tmp_path / "out.txt", SAMPLE)
    quiet.read(60)
    assert quiet.process.returncode == 0
    assert "".join(quiet.lines()) == ""  # -q: nothing but results, and those are in the file
    screen.read(60)
    assert finals(screen) == [TEXT]
    assert (tmp_path / "out.txt").read_text() == f"{TEXT}\n"


def test_a_dumb_terminal_gets_final_lines_and_no_control_sequences(terminal):
    screen = terminal("live", "-q", "--realtime", SAMPLE, term="dumb")
    screen.read(60)
    assert screen.process.returncode == 0
    assert screen.raw.replace(b"\r\n", b"\n") == f"{TEXT}\n".encode()


def test_ctrl_c_finishes_what_is_being_said(terminal, twice):
    screen = terminal("live", "--realtime", twice)
    screen.wait_for("4 1 7")
    screen.press(b"\x03")
    screen.read(60)
    assert screen.process.returncode == 0
    text = [line for line in screen.lines() if line]
    assert text[-1].startswith("4 1 7")
    assert not finals(screen)


def test_push_to_talk_hears_what_is_said_between_two_presses(terminal, tmp_path):
    samples, rate = soundfile.read(SAMPLE)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([samples] * 4), rate)
    screen = terminal("live", "--realtime", "--push-to-talk", "--save", tmp_path / "kept.wav", path)
    screen.wait_for("space to talk")
    screen.press(b"x")  # no key of ours
    screen.read(0.5)
    assert any("space to talk" in line for line in screen.lines())
    screen.press(b" ")
    screen.wait_for("space ends it")
    screen.read(2.0)
    screen.press(b" ")
    screen.wait_for("space to talk")
    screen.read(1.5)
    text = [line for line in screen.lines() if line and line[0].isdigit()]
    assert len(text) >= 1
    kept = soundfile.info(tmp_path / "kept.wav").duration
    assert 1.5 < kept < 3.5  # what was not let through is not kept
    screen.press(b"\x03")
    screen.read(60)
    assert screen.process.returncode == 0
    # The keyboard is as it was: keys are echoed again.
    settings = termios.tcgetattr(screen._ours)
    assert settings[3] & termios.ECHO
    assert settings[3] & termios.ICANON
    assert soundfile.info(tmp_path / "kept.wav").duration == pytest.approx(kept, abs=0.2)


@pytest.mark.parametrize(
    "command", [("transcribe", SAMPLE), ("live", SAMPLE), ("live", "--timestamps", SAMPLE)]
)
def test_unsure_words_are_underlined(terminal, command):
    screen = terminal(command[0], "-m", "demo", "--unsure-below", "1", *command[1:])
    screen.read(60)
    assert screen.process.returncode == 0
    assert not any("[?" in line for line in screen.lines())
    (row,) = [y for y, line in enumerate(screen.screen.display) if line.rstrip().endswith(TEXT)]
    line = screen.screen.display[row].rstrip()
    underlined = {x for x in range(len(line)) if screen.screen.buffer[row][x].underscore}
    assert underlined
    assert underlined <= {len(line) - len(TEXT) + 2 * n for n in range(6)}


def test_a_dumb_terminal_shows_marks(terminal):
    screen = terminal("transcribe", "-m", "demo", "--unsure-below", "1", SAMPLE, term="dumb")
    screen.read(60)
    assert b"\x1b" not in screen.raw
    assert b"[?4]" in screen.raw
