"""Names that others choose: of files, folders, models, settings. Nothing in them acts on a terminal,
whichever command shows them, and none can be taken for a line about another file.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forks import Program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="such names cannot exist there, nor a pty")

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "gemma_audio_cli" / "demo"
MARK = "Q7"
"""Stands behind every hostile part of a name, to tell it from what a progress bar sends to a terminal."""

PARTS = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b]8;;http:x\x1b\\",
    "\x1bP1$r\x1b\\",
    "\x1bc",
    "\r",
    "\n",
    "\t",
    "\x07",
    "\x08",
    "\x7f",
    "\x85",
    "\x9b2J",
    "\x9d0;t\x9c",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u202a",
    "\u2066",
    "\u2069",
    "\u200e",
    "\u200f",
    "\u061c",
    "\ufeff",
    "\U000e0041",
    "\U000e007f",
    "\udc9b",
    "\udcff",
    "\nother.wav: forged",
    "\rgemma-audio: done",
]
parts = st.lists(st.sampled_from(PARTS), min_size=2, max_size=6)


def name_of(chosen: list[str]) -> str:
    return "a" + "".join(f"{part}{MARK}" for part in chosen)


@pytest.fixture(scope="session")
def run(program: Program) -> Callable[..., bytes]:
    """Runs a command: all that it writes on stdout and stderr, into pipes or on a terminal."""

    def in_folder(arguments: list[str], folder: Path, *, pty: bool, env: dict[str, str]) -> bytes:
        environment = (
            {k: v for k, v in os.environ.items() if not k.startswith("GEMMA_AUDIO_")}
            | {
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm",
                "GEMMA_AUDIO_THREADS": "1",
                "COLUMNS": "200",
                "GEMMA_AUDIO_CONFIG_DIR": str(folder / "config"),
                "GEMMA_AUDIO_BACKENDS_DIR": str(folder / "built"),
            }
            | env
        )
        if not pty:
            done = program.run(arguments, cwd=folder, env=environment)
            return done.stdout + done.stderr
        ours, theirs = os.openpty()
        nothing = os.open(os.devnull, os.O_RDONLY)
        child = program.begin(arguments, cwd=folder, env=environment, streams=(nothing, theirs, theirs))
        seen = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 65_536):
                seen += data
        os.close(ours)
        child.wait(60)
        return seen

    return in_folder


@contextlib.contextmanager
def place(name: str) -> Iterator[Path]:
    """A folder with a recording, a damaged one, a model's folder and settings, all of that name."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copy(DEMO / "sample.wav", folder / f"{name}.wav")
        (folder / f"{name}.bad.wav").write_bytes(b"no sound")
        shutil.copy(DEMO / "sample.wav", folder / "other.wav")
        (folder / name).mkdir()
        for file in DEMO.glob("*.gguf"):
            shutil.copy(file, folder / name)
        yield folder


def commands(name: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Every way in which a command may come to show the name."""
    sound, bad, demo = f"{name}.wav", f"{name}.bad.wav", ("-m", "demo")
    here = {"GEMMA_AUDIO_MODEL": name}
    return {
        "transcribe": (["transcribe", *demo, sound, "other.wav"], {}),
        "a damaged recording": (["transcribe", *demo, bad, "other.wav"], {}),
        "times": (["transcribe", *demo, "--timestamps", sound, "other.wav"], {}),
        "tsv": (["transcribe", *demo, "-f", "tsv", sound, "other.wav"], {}),
        "json": (["transcribe", "-q", *demo, "-f", "json", sound], {}),
        "jsonl": (["transcribe", "-q", *demo, "-f", "jsonl", sound, "other.wav"], {}),
        "a folder": (["transcribe", *demo, "-r", ".", "-f", "srt,lrc", "-o", f"{name}-out"], {}),
        "an output of no format": (["transcribe", *demo, "other.wav", "-o", f"x.{name}"], {}),
        "an output that is in use": (["transcribe", *demo, "other.wav", sound, "-o", sound], {}),
        "an output in no folder": (["transcribe", *demo, "other.wav", "-o", f"{name}/no/x.txt"], {}),
        "ask": (["ask", *demo, "How many digits?", sound, "other.wav", bad], {}),
        "live": (["live", *demo, sound], {}),
        "live, events": (["live", "-q", *demo, "--jsonl", sound], {}),
        "a model by name": (["transcribe", "-m", name, "other.wav"], {}),
        "no such model": (["transcribe", "-m", f"{name}.gguf", "other.wav"], {}),
        "no such command": ([name], {}),
        "no such option": (["transcribe", f"--{name}", "other.wav"], {}),
        "a backend": (["transcribe", *demo, "--backend", name, "other.wav"], {}),
        "a language": (["transcribe", *demo, "-l", name, "other.wav"], {}),
        "models show": (["models", "show", name], {}),
        "models show --json": (["models", "show", name, "--json"], {}),
        "models verify": (["models", "verify", name], {}),
        "models pull": (["models", "pull", f"owner/{name}"], {}),
        "models use": (["models", "use", name], {}),
        "models list": (["models", "list"], {"HF_HUB_CACHE": name}),
        "config show": (["config", "show"], here),
        "config show --json": (["config", "show", "--json"], here),
        "config set": (["config", "set", name, name], {}),
        "config.toml": (["config", "show"], {"GEMMA_AUDIO_CONFIG_DIR": f"{name}/config"}),
        "doctor": (["doctor", "--full"], here),
        "doctor --json": (["doctor", "--full", "--json"], here),
        "record": (["record", f"{name}.xyz"], {}),
        "bench": (
            ["bench", "-m", name, "--seconds", "1", "--tokens", "2", "--runs", "1", "--slots", "1"],
            {},
        ),
    }


HOW = list(commands("a"))


def check(output: bytes, chosen: list[str]) -> None:
    text = output.decode("utf-8")  # also no raw bytes
    for part in chosen:
        assert f"{part}{MARK}" not in text, ascii(text)


@pytest.mark.parametrize("how", HOW)
@settings(max_examples=2, deadline=None, derandomize=True, database=None)
@given(chosen=parts, pty=st.booleans())
def test_no_command_shows_them_raw(run, how, chosen, pty):
    chosen = [*chosen, "\x1b[31m", "\n"]  # these always
    name = name_of(chosen)
    with place(name) as folder:
        config = folder / name / "config"
        config.mkdir()
        with contextlib.suppress(UnicodeEncodeError):
            (config / "config.toml").write_text(f"{json.dumps(name)} = 1\nlanguage = {json.dumps(name)}\n")
        arguments, env = commands(name)[how]
        check(run(arguments, folder, pty=pty, env=env), chosen)


def test_every_part_is_tried(run):
    """On a terminal and in a pipe, with one command that shows names in its results and in its messages."""
    for pty, group in itertools.product((False, True), (PARTS[:10], PARTS[10:20], PARTS[20:])):
        name = name_of(group)
        with place(name) as folder:
            output = run(
                ["transcribe", "-m", "demo", f"{name}.wav", f"{name}.bad.wav"], folder, pty=pty, env={}
            )
        check(output, group)
        assert output.count(MARK.encode()) == 2 * len(group)  # each was shown, on a line of its own
        assert len(output.splitlines()) == 2


def test_a_name_in_json_is_exact(run):
    name = name_of([part for part in PARTS if part[0] < "\udc80" or part[0] > "\udcff"])
    with place(name) as folder:
        output = run(
            ["transcribe", "-q", "-m", "demo", "-f", "json", f"{name}.wav"], folder, pty=False, env={}
        )
    assert json.loads(output)["file"] == f"{name}.wav"
    assert output.decode().replace("\n", "").isprintable()


def test_a_path_is_exact_where_a_program_reads_it(run, tmp_path):
    """Latin-1 is no UTF-8, and a folder of such a name can be used: $EDITOR "$(gemma-audio config path)"."""
    folder = os.fsdecode("Käse".encode("latin-1"))
    env = {"GEMMA_AUDIO_CONFIG_DIR": folder}
    assert run(["config", "path"], tmp_path, pty=False, env=env) == b"K\xe4se/config.toml\n"
    assert run(["config", "path"], tmp_path, pty=True, env=env) == b"K\\udce4se/config.toml\r\n"


def test_commands_print_through_one_place():
    """Whoever adds a line to a command cannot forget it."""
    for path in (ROOT / "gemma_audio_cli" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                allowed = path.name in ("messages.py", "common.py", "__init__.py")
                writes = ("print", "typer.echo", "json.dumps", "sys.stdout.write", "sys.stderr.write")
                assert called not in writes or allowed, f"{path.name}:{node.lineno}"
