"""`gemma-audio chat FILE...`: a conversation about recordings, on a terminal or through a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli import interrupts
from gemma_audio_cli.cli.common import Job, unfinished
from gemma_audio_cli.cli.messages import exit_codes, put, put_json, say
from gemma_audio_cli.cli.options import (
    Files,
    Input,
    Model,
    Notices,
    Part,
    Speech,
    Threshold,
    option,
    with_groups,
)
from gemma_audio_cli.cli.signals import terminal_kept
from gemma_audio_cli.errors import DEVICE_FAILURES, GemmaAudioError, UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.pipeline.chat import Chat
    from gemma_audio_cli.transcript import Answer

COMMANDS = {
    "/add": "FILE: hear this recording too",
    "/from": "TIME [/to TIME]: hear only this stretch (/from 0 for all of it)",
    "/again": "another answer to the last question",
    "/save": "FILE: write the talk as Markdown",
    "/reset": "forget what was said",
    "/help": "these commands",
    "/quit": "end (also Ctrl-D)",
}

EXAMPLES = """Examples:

\b
  gemma-audio chat meeting.m4a
  gemma-audio chat -m gemma-4-E4B-it-Q4_0.gguf monday.wav friday.wav
  printf 'Who speaks?\\nWhat about?\\n' | gemma-audio chat talk.wav
  gemma-audio chat --jsonl talk.wav < questions.txt

The recordings are heard once and stay in memory; each turn costs its own words only. Ctrl-C stops
an answer and keeps the talk, Ctrl-D ends it. Type /help for commands. From a pipe, each line is a
question and each answer is a line. Nothing of the talk is kept on disk unless you /save it.
"""


@with_groups
def chat(
    files: Files,
    jsonl: Annotated[bool, option("--jsonl", help="Print an object a line for each answer.")] = False,
    max_tokens: Annotated[
        int, option("--max-tokens", min=1, help="Longest answer, in tokens.", show_default=True)
    ] = 512,
    part: Part = Part(),
    input: Input = Input(),
    speech: Speech = Speech(),
    threshold: Threshold = Threshold(),
    model: Model = Model(),
    notices: Notices = Notices(),
) -> None:
    """Talk with the model about recordings."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.decoding.options import DecodeOptions
        from gemma_audio_cli.pipeline.chat import Chat
        from gemma_audio_cli.pipeline.options import AskOptions

        if "-" in files:
            raise UsageError("questions come from standard input; save the recording to a file first")
        job = Job(model, notices)
        recordings = list(map(local_path, files))
        job.about(recordings)
        options = AskOptions(
            input.options(part),
            speech.options(threshold, job.settings),
            decode=DecodeOptions(max_tokens=max_tokens),
        )
        talk = Chat(job.recognizer, recordings, options)
        try:
            talk.hear()
            session = _Session(job, talk, max_tokens, jsonl=jsonl)
            with terminal_kept() if sys.stdin.isatty() else nullcontext():
                session.run()
        finally:
            talk.close()
            job.close()
        job.end()


class _Session:
    """Lines in, answers out."""

    def __init__(self, job: Job, talk: Chat, max_tokens: int, *, jsonl: bool) -> None:
        self._job, self._talk, self._max_tokens, self._jsonl = job, talk, max_tokens, jsonl
        self._person = sys.stdin.isatty()

    def run(self) -> None:
        """Until the input or the person ends it."""
        for line in _typed() if self._person else _piped():
            text = line.strip()
            if not text:
                continue
            try:
                if text.startswith("/") and self._person:
                    if not self._command(text):
                        return
                else:
                    self._show(self._talk.ask(text), text)
            except KeyboardInterrupt:  # in the moment between two answers
                if not self._person:
                    raise
                self._job.notice("stopped")
            except DEVICE_FAILURES:
                raise
            except GemmaAudioError as error:
                say(f"error: {error}")
                if not self._person:
                    self._job.failed()

    def _command(self, text: str) -> bool:
        """Does what a line like /add FILE says. False: the end."""
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        if name in ("/quit", "/exit"):
            return False
        if name == "/help":
            for command, meaning in COMMANDS.items():
                say(f"{command} {meaning}")
        elif name == "/reset":
            self._talk.reset()
        elif name == "/again":
            self._show(self._talk.again(), self._talk.said[-1][0] if self._talk.said else "")
        elif name in ("/from", "/to"):
            self._talk.part(*_stretch(text))
            self._talk.hear()
        elif name == "/add" and rest:
            self._talk.add(rest)
            self._talk.hear()
        elif name == "/save" and rest:
            self._save(rest)
        elif name in ("/add", "/save"):
            raise UsageError(f"{name} needs the name of a file")
        else:
            raise UsageError(f"there is no command {name}; /help lists them")
        return True

    def _save(self, name: str) -> None:
        from gemma_audio_cli.files import AtomicFile

        if name == "-":
            raise UsageError("the talk is on the terminal already; /save needs the name of a file")
        path = Path(os.path.expanduser(name))  # Path's own fails where there is no such person
        if os.path.lexists(path):
            raise UsageError(f"{path}: is there already; choose another name")
        with AtomicFile(path, remedy="choose another name") as file:
            file.write(self._talk.markdown())
        say(f"{path}: saved")

    def _show(self, pieces: Iterator[str | Answer], question: str) -> None:
        """An answer as it comes. Ctrl-C stops it and keeps the talk."""
        from gemma_audio_cli.formatting import one_line
        from gemma_audio_cli.output import TextWriter
        from gemma_audio_cli.output.as_json import answer_as_dict
        from gemma_audio_cli.transcript import Recording

        stopped: list[bool] = []

        def stop() -> bool:
            if not self._person:
                return False
            stopped.append(True)
            return True

        answer: Answer | None = None
        writer = TextWriter(sys.stdout)
        writer.begin(Recording(""))
        with interrupts.Taking(stop):
            for item in pieces:
                if not isinstance(item, str):
                    answer = item
                elif self._person and not self._jsonl:
                    writer.delta(item)
                if stopped:
                    break
        writer.end()
        if answer is None:
            self._job.notice("stopped; this answer is forgotten")
            return
        if self._jsonl:
            put_json(answer_as_dict(", ".join(self._talk.recordings), question, answer))
        elif not self._person:
            put(one_line(answer.text))
        sys.stdout.flush()
        reason = unfinished(answer, self._max_tokens)
        if reason is not None:
            self._job.notice(f"the answer is not whole: {reason}")


def _stretch(text: str) -> tuple[float, float | None]:
    """`/from 12:30 /to 14:00`, or either of them alone."""
    from gemma_audio_cli.audio.read.timecode import parse_time

    words = text.split()
    found = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or not set(found) <= {"/from", "/to"}:
        raise UsageError("write /from 12:30 /to 14:00, or one of the two")
    end = parse_time(found["/to"], "/to") if "/to" in found else None
    return parse_time(found.get("/from", "0"), "/from"), end


def _piped() -> Iterator[str]:
    """Lines of standard input as they come."""
    from gemma_audio_cli.textfiles import LARGEST

    while line := sys.stdin.buffer.readline(LARGEST + 1):
        if len(line) > LARGEST:
            raise UsageError(f"-: a line on standard input has more than {LARGEST >> 20} MB")
        yield line.decode("utf-8", "replace").lstrip("\ufeff")


def _typed() -> Iterator[str]:
    """Lines that a person edits, with those before and the commands at hand. They stay in memory."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.output import create_output

    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=WordCompleter(list(COMMANDS), meta_dict=COMMANDS, sentence=True),
        complete_while_typing=False,
        output=create_output(stdout=sys.stderr),  # results alone are on standard output
    )
    with suppress(EOFError):
        while True:
            try:
                yield session.prompt("> ")
            except KeyboardInterrupt:  # a line that is given up
                continue
