"""A microphone for tests: a sound server of our own whose speaker is its microphone.

    play(file) ──► null sink "speaker" ──► its monitor, the default source ──► PortAudio in the child process

The sound of the machine is not touched: home, run-time folder, socket and ALSA configuration are its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALSA = "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n"


class VirtualMicrophone:
    """A PulseAudio daemon with one null sink. `env` is for child processes that are to hear it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._daemon, self._listener = folder, None, None
        run = folder / "run"
        run.mkdir(mode=0o700)
        (folder / "alsa.conf").write_text(ALSA)
        self._socket = run / "native"
        foreign = ("PULSE_", "DBUS_", "DISPLAY", "ALSA_", "GEMMA_AUDIO_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(run),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": str(folder / "alsa.conf"),
            "GEMMA_AUDIO_CONFIG_DIR": str(folder / "no-config"),
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        """Starts the daemon and waits for it."""
        self._socket.unlink(missing_ok=True)
        self._daemon = subprocess.Popen(
            [
                "pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
                "--disallow-exit=yes", "--log-target=stderr",
                "--load=module-null-sink sink_name=speaker rate=48000",
                f"--load=module-native-protocol-unix socket={self._socket} auth-anonymous=1",
            ],
            env=self.env, stdin=subprocess.DEVNULL, stderr=(self._folder / "daemon.log").open("ab"),
        )  # fmt: skip
        for _ in range(600):
            if "speaker.monitor" in self.pactl("list", "short", "sources", check=False):
                break
            time.sleep(0.05)
        else:
            pytest.skip(f"pulseaudio does not start: {(self._folder / 'daemon.log').read_text()[-300:]}")
        self._keep_awake()

    def plug_in(self) -> None:
        """The microphone is there again after `unplug`."""
        self.pactl("load-module", "module-null-sink", "sink_name=speaker", "rate=48000")
        self._keep_awake()

    def unplug(self) -> None:
        """No microphone any more; the daemon goes on."""
        self.pactl("unload-module", "module-null-sink")

    def stop(self) -> None:
        """Kills the daemon, as a crash would."""
        for process in (self._listener, self._daemon):
            if process is not None:
                process.kill()
                process.wait()
        self._daemon = self._listener = None

    def restart(self) -> None:
        """Stops it, if it runs, and starts it."""
        self.stop()
        self.start()

    def play(self, path: Path) -> None:
        """Plays a recording into the microphone, to its end."""
        subprocess.run(["paplay", str(path)], env=self.env, check=True, timeout=60)

    def pactl(self, *arguments: str, check: bool = True) -> str:
        """What the daemon's control program prints."""
        return subprocess.run(
            ["pactl", *arguments], env=self.env, check=check, capture_output=True, text=True, timeout=60
        ).stdout

    def _keep_awake(self) -> None:
        # A null sink that nobody listens to works two seconds at a time; somebody who wants less latency
        # makes it as quick as a real device.
        if self._listener is not None:
            self._listener.kill()
            self._listener.wait()
        self._listener = subprocess.Popen(
            ["parec", "--latency-msec=20"],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture(scope="session")
def _microphone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMicrophone]:
    for program in ("pulseaudio", "paplay", "pactl", "parec"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (pulseaudio, pulseaudio-utils)")
    if not find_library("portaudio"):
        pytest.skip("PortAudio is not installed (libportaudio2)")
    if not any(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so")):
        pytest.skip("ALSA's way to PulseAudio is not installed (libasound2-plugins)")
    microphone = VirtualMicrophone(tmp_path_factory.mktemp("sound"))
    microphone.start()
    yield microphone
    microphone.stop()


@pytest.fixture
def virtual_microphone(_microphone: VirtualMicrophone) -> VirtualMicrophone:
    """A running sound server with one microphone, whatever the test before did to it."""
    if "speaker.monitor" not in _microphone.pactl("list", "short", "sources", check=False):
        _microphone.restart()
    return _microphone


class Child:
    """gemma-audio in a process of its own; what it says on stderr can be waited for."""

    def __init__(self, arguments: tuple[object, ...], env: dict[str, str], folder: Path, name: str) -> None:
        self.out, self._command = "", arguments[0]
        self._log = folder / name
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gemma_audio_cli", *map(str, arguments)],
                env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """stderr so far."""
        return self._log.read_text()

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Until stderr has it."""
        until = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said}"
            assert time.monotonic() < until, f"not said in {seconds} s: {text!r}; but: {self.said}"
            time.sleep(0.02)

    def end(self, signal_number: int | None = None) -> int:
        """Sends the signal, if any, and waits; the exit code."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        out, _ = self.process.communicate(timeout=60)
        self.out = out.decode()
        """What came on stdout, once it has ended."""
        assert self._command == "live" or not out, "stdout is for results"
        return self.process.returncode


@pytest.fixture
def listen(virtual_microphone: VirtualMicrophone, tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts gemma-audio, in tmp_path, with the virtual microphone."""
    children: list[Child] = []

    def begin(*arguments: object, env: dict[str, str] | None = None) -> Child:
        child = Child(
            arguments, virtual_microphone.env | (env or {}), tmp_path, f"stderr-{len(children)}.txt"
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
            child.process.communicate()
