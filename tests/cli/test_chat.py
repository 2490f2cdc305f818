"""`gemma-audio chat`: on a pseudo-terminal, as a person types, and through a pipe."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyte
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
FIRST, LAST = "What is the first digit?", "What is the last digit?"
PATIENCE = 60.0


class Terminal:
    """A chat on a pseudo-terminal: what is typed, and what shows."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: object) -> None:
        import pty

        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gemma_audio_cli", "chat", *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, start_new_session=True,
            env=environment | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        )  # fmt: skip
        os.close(slave)
        self._screen = pyte.Screen(100, 300)  # nothing scrolls away
        self._stream = pyte.ByteStream(self._screen)

    def wait_for(self, pattern: str) -> None:
        """Until the pattern stands on the screen."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            text = "\n".join(line.rstrip() for line in self._screen.display).rstrip()
            if re.search(pattern, text):
                return
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self._stream.feed(os.read(self._master, 65536))
                except OSError:
                    break
        raise AssertionError(f"{pattern!r} did not come:\n{text}")

    def shows(self, text: str) -> bool:
        """Does it stand on the screen now?"""
        return any(text in line for line in self._screen.display)

    def modes(self) -> int:
        """How the terminal treats what is typed."""
        import termios

        return termios.tcgetattr(self._master)[3]

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        self.type("\x04")
        try:
            return self.process.wait(PATIENCE)
        finally:
            os.close(self._master)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")


@pytest.fixture
def recording(tmp_path) -> str:
    (tmp_path / "a.wav").write_bytes(SAMPLE.read_bytes())
    return "a.wav"


def test_a_talk(tmp_path, environment, recording):
    talk = Terminal(tmp_path, environment, "-m", "demo", recording)
    talk.wait_for(r"^>$")
    talk.type(f"{FIRST}\r")
    talk.wait_for(r"first digit\?\n4\n>$")
    talk.type("/reset\r")
    talk.wait_for(r"/reset\n>$")
    talk.type(f"{LAST}\r")
    talk.wait_for(r"last digit\?\n2\n>$")
    talk.type("/save talk.md\r")
    talk.wait_for(r"talk.md: saved\n>$")
    talk.type("/save talk.md\r")
    talk.wait_for("talk.md: is there already")
    talk.type("/save -\r")
    talk.wait_for(r"/save needs the name of a file\n>$")
    talk.type("/save nowhere/talk.md\r")
    talk.wait_for(r"create the folder[\s\S]*choose another name\n>$")
    talk.type("/nothing\r")
    talk.wait_for("there is no command /nothing")
    talk.type("/help\r")
    talk.wait_for("/again another answer")
    talk.type("/add missing.wav\r")
    talk.wait_for(r"error: missing.wav: .*\n>$")
    assert talk.end() == 0
    assert (tmp_path / "talk.md").read_text() == f"# a.wav\n\n**{LAST}**\n\n2\n"


def test_another_stretch_and_another_answer(tmp_path, environment, recording):
    talk = Terminal(tmp_path, environment, "-m", "demo", recording)
    talk.wait_for(r"^>$")
    talk.type("/again\r")
    talk.wait_for(r"no question to answer again\n>$")
    talk.type("/from 2.2\r")
    talk.wait_for(r"/from 2.2\n>$")
    talk.type(f"{LAST}\r")
    talk.wait_for(r"last digit\?\n2\n>$")
    talk.type("/again\r")
    talk.wait_for(r"/again\n\d.*\n>$")
    talk.type("/from 9 /to 2\r")
    talk.wait_for(r"the end must come after the start\n>$")
    talk.type("/quit\r")
    assert talk.process.wait(PATIENCE) == 0


def test_what_cannot_be_heard_leaves_the_talk_as_it_was(tmp_path, environment, recording):
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "hours.wav", np.tile(samples, 400), rate)
    talk = Terminal(tmp_path, environment, "-m", "demo", recording)
    talk.wait_for(r"^>$")
    for attempt, answer in (
        ("/from 4.05 /to 4.1", "a.wav: no speech was heard"),
        ("/from 100", "a.wav: "),
        ("/add hours.wav", r"a.wav, hours.wav: \d+ positions are needed"),
        ("/add hours.wav", r"a.wav, hours.wav: \d+ positions are needed"),
    ):
        talk.type("/reset\r")
        talk.type(f"{attempt}\r")
        talk.wait_for(rf"{attempt}\n[\s\S]*{answer}[^>]*\n>$")
        talk.type(f"{FIRST}\r")
        talk.wait_for(r"first digit\?\n4\n>$")
    talk.type("/save talk.md\r")
    talk.wait_for(r"talk.md: saved\n>$")
    assert talk.end() == 0
    assert (tmp_path / "talk.md").read_text() == f"# a.wav\n\n**{FIRST}**\n\n4\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_at_the_prompt_gives_the_terminal_back(tmp_path, environment, recording, number):
    import termios

    talk = Terminal(tmp_path, environment, "-m", "demo", recording)
    usual = talk.modes()
    assert usual & termios.ECHO
    talk.wait_for(r"^>$")
    assert not talk.modes() & termios.ECHO, "the line editor shows what is typed"
    talk.process.send_signal(number)
    assert talk.process.wait(PATIENCE) == -number
    assert talk.modes() == usual


def test_control_c_gives_up_a_line_and_keeps_the_talk(tmp_path, environment, recording):
    talk = Terminal(tmp_path, environment, "-m", "demo", recording)
    talk.wait_for(r"^>$")
    talk.type("what was I")
    talk.wait_for("what was I$")
    talk.type("\x03")
    talk.wait_for(r"what was I.*\n>$")
    talk.type(f"{FIRST}\r")
    talk.wait_for(r"first digit\?\n4\n>$")
    assert talk.end() == 0


def test_control_c_stops_an_answer_and_keeps_the_talk(tmp_path, environment, recording, tiny_model):
    """The random model never ends by itself."""
    pair = ("-m", tiny_model.text, "--mmproj", tiny_model.mmproj)
    talk = Terminal(tmp_path, environment, *pair, "--max-tokens", 1500, recording)
    talk.wait_for(r"^>$")
    for number in range(20):  # an answer that runs into a loop may end before the signal comes
        talk.type(f"Why {number}?\r")
        talk.wait_for(rf"Why {number}\?\n")
        talk.process.send_signal(signal.SIGINT)
        talk.wait_for(rf"Why {number}\?\n[\s\S]*\n>$")
        if talk.shows("this answer is forgotten"):
            break
    else:
        raise AssertionError("no answer was stopped")
    talk.type("/quit\r")
    assert talk.process.wait(PATIENCE) == 0


def test_from_a_pipe_lines_are_questions_and_answers(cli):
    done = cli("chat", "-q", "-m", "demo", SAMPLE, stdin=f"{FIRST}\n\n".encode())
    assert (done.code, done.out, done.err) == (0, "4\n", "")
    # A line that begins with a slash is no command there: it may come from anywhere.
    done = cli("chat", "-q", "-m", "demo", "--jsonl", SAMPLE, stdin=b"/save x.md\n")
    assert json.loads(done.out)["question"] == "/save x.md"


def test_what_cannot_be_talked_about_is_one_line(cli, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    for name, code, word in (
        ("missing.wav", 1, "missing.wav"),
        ("silence.wav", 2, "no speech was heard"),
        ("-", 2, "standard input"),
    ):
        done = cli("chat", "-q", "-m", "demo", name, stdin=b"x\n", env={"GEMMA_AUDIO_VAD": ""})
        assert (done.code, done.out) == (code, ""), name
        assert done.err.count("\n") == 1
        assert word in done.err


def test_a_line_without_end_is_refused(cli):
    done = cli("chat", "-q", "-m", "demo", SAMPLE, stdin=f"{FIRST}\n".encode() + b"x" * (5 << 20))
    assert (done.code, done.out) == (2, "4\n")
    assert "more than 4 MB" in done.err
