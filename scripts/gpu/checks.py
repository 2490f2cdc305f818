"""What is asked of a device: one function a step, each run in a process of its own; it returns plain data.

machine, models, build, devices ──► parity, transcribe, clip, recording, live, slots, layers, loss

A check raises where something is wrong; what it could not find out it leaves out. `Setting` is what they
share.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "scripts" / "bench"
AGREE = 0.999
"""Least cosine of logits on a GPU to the CPU's or llama.cpp's, for quantised weights: activations are rounded
differently there."""


@dataclass(frozen=True)
class Setting:
    """What is checked, with what."""

    device: str
    size: str
    models: Path
    backends: Path
    minutes: float
    runs: int

    @property
    def pair(self) -> tuple[Path, Path]:
        return self.models / f"{self.size}-q4_0.gguf", self.models / f"mmproj-{self.size}-bf16.gguf"


def machine(_: Setting) -> dict[str, Any]:
    """What there is."""

    def said(*command: str) -> str | None:
        if shutil.which(command[0]) is None:
            return None
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else None

    query = "name,memory.total,driver_version,compute_cap"
    return {
        "gpu": said("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"),
        "nvcc": (said("nvcc", "--version") or "").splitlines()[-2:],
        "cmake": (said("cmake", "--version") or "").partition("\n")[0],
        "processors": os.cpu_count(),
        "python": sys.version.partition(" ")[0],
    }


def architecture() -> str:
    """The first card's, as CMake takes it: "90"."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return text.splitlines()[0].strip().replace(".", "")


def models(setting: Setting) -> dict[str, Any]:
    """Random weights in real format, by the rules of llama.cpp's quantiser."""
    begin = time.perf_counter()
    if not all(path.exists() for path in setting.pair):
        command = [sys.executable, ROOT / "scripts" / "make_random_model.py", "--size", setting.size]
        subprocess.run([*command, "--text-type", "q4_0", "--out", setting.models], check=True)
    sizes = {path.name: path.stat().st_size for path in setting.pair}
    return {"bytes": sizes, "seconds": round(time.perf_counter() - begin, 1)}


def build(setting: Setting) -> dict[str, Any]:
    """ggml-cuda and the engine for the card at hand, by the program's own command; once in a folder."""
    from gemma_audio_cli.backends import store

    card = architecture()
    if (known := store.find("cuda")) is not None:
        return {"architecture": card, "kept": known.record.built}
    environment = dict(os.environ)
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    home = Path(nvcc).resolve().parent.parent
    environment.setdefault("CUDA_PATH", str(home))
    environment["PATH"] = f"{home / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    # libcuda.so, which the other memory pool is linked against, is not where every compiler is.
    asked = f"-DCMAKE_CUDA_ARCHITECTURES={card} -DGGML_CUDA_NO_VMM=ON -DLLAVA_BUILD=ON -DGGML_CCACHE=OFF"
    environment["CMAKE_ARGS"] = f"{environment.get('CMAKE_ARGS', '')} {asked}".strip()
    environment["CMAKE_BUILD_PARALLEL_LEVEL"] = str(os.cpu_count() or 2)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "gemma_audio_cli", "backends", "build", "cuda"]
    subprocess.run(command, check=True, env=environment)
    return {"architecture": card, "seconds": round(time.perf_counter() - begin, 1)}


def devices(setting: Setting) -> dict[str, Any]:
    """What the library sees; wrong where the device is not among it."""
    from gemma_audio_cli.engine.devices import devices as known

    found = {one.name: one for one in known()}
    if setting.device not in found:
        raise SystemExit(f"no device {setting.device}; the library has {', '.join(found)}")
    one = found[setting.device]
    return {"name": one.name, "what": one.description, "kind": one.kind, "memory_free": one.memory_free}


def parity(setting: Setting) -> dict[str, Any]:
    """The figures of tests/oracles/figures.py; wrong where one is beyond its bound."""
    environment = {**os.environ, "GEMMA_AUDIO_DEVICE": setting.device}
    command = [sys.executable, ROOT / "tests" / "oracles" / "figures.py"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    lines = done.stdout.splitlines()
    beyond = [line for line in lines if within(line) is False]
    print("\n".join(lines))
    if done.returncode or beyond or not lines:
        raise SystemExit(f"{done.returncode} processes ended; beyond their bounds: {beyond or 'none'}")
    return {"figures": lines}


def within(line: str) -> bool | None:
    """Whether a line of figures.py is within its bound; None: it has none."""
    match = re.search(r"\s(\S+)\s+(<=|>=) (\S+)$", line)
    if match:
        value, bound = float(match[1]), float(match[3])
        return value <= bound if match[2] == "<=" else value >= bound
    counted = re.search(r"\s(\d+)/(\d+)\s+all$", line)
    return counted[1] == counted[2] if counted else None


def transcribe(setting: Setting) -> dict[str, Any]:
    """The bundled recording by the command line, on the device: its text is known."""
    demo = ROOT / "gemma_audio_cli" / "demo"
    command = [sys.executable, "-m", "gemma_audio_cli", "transcribe", "-q", "-m", "demo", "--no-vad"]
    command += ["--device", setting.device, str(demo / "sample.wav")]
    done = subprocess.run(command, capture_output=True, text=True)
    wanted = (demo / "sample.txt").read_text(encoding="utf-8").split()
    if done.returncode or done.stdout.split() != wanted:
        text = " ".join(wanted)
        raise SystemExit(f"status {done.returncode}; {done.stdout!r}, not {text!r}\n{done.stderr}")
    return {"text": done.stdout.strip()}


def _contest(setting: Setting, job: str, engine: str, *options: object) -> dict[str, Any]:
    command = [sys.executable, BENCH / "contestant.py", engine, job, *setting.pair]
    command += ["--threads", os.cpu_count() or 2, "--device", setting.device, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{engine} failed with status {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found.pop("made_by")
    return found


def clip(setting: Setting) -> dict[str, Any]:
    """A 30 s clip, both engines in turn; wrong where their logits disagree."""
    import figures
    import tables
    from duel import agreement

    pairs, cosine = [], 1.0
    files = {engine: setting.models / f"{engine}.npy" for engine in ("ours", "llamacpp")}
    for _ in range(setting.runs):
        ours, theirs = (_contest(setting, "clip", engine, "--logits", files[engine]) for engine in files)
        pairs.append((ours, theirs))
        cosine = min(cosine, agreement(*files.values()))
    if not cosine >= AGREE:
        raise SystemExit(f"the engines disagree: the cosine of their logits is {cosine:.6f}")
    rows = figures.compare(pairs, tables.CLIP_STAGES)
    return {"cosine": cosine, "ratios": {row.stage: row.ratio.median for row in rows}, "pairs": pairs}


def recording(setting: Setting) -> dict[str, Any]:
    """Windows of 30 s one after another: ours together, llama.cpp's a tenth of them, times ten."""
    length = setting.minutes
    share = max(0.5, length / 10)
    ours = _contest(setting, "recording", "ours", "--minutes", length, "--slots", 16)
    theirs = _contest(setting, "recording", "llamacpp", "--minutes", share)
    whole = theirs["recording"] * length / share
    mine = ours["recording"]
    return {"minutes": length, "ours": mine, "llama.cpp": whole, "ratio": whole / mine}


def live(setting: Setting) -> dict[str, Any]:
    """The work that is left at an utterance's last sample, beside llama.cpp's for the whole."""
    command = [sys.executable, BENCH / "live.py", "left", "--pair", *setting.pair, "--runs", setting.runs]
    done = subprocess.run(
        [*map(str, command), "--device", setting.device], capture_output=True, text=True
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"live.py failed with status {done.returncode}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def slots(setting: Setting) -> dict[str, Any]:
    """Tokens a second by how many answers are decoded together, and what `--batch auto` would take."""
    from gemma_audio_cli.pipeline import slots as measured

    with _engine(setting) as engine:
        weights = engine.info.bytes_text
        list(measured.step_seconds(engine, 16))  # kernels are loaded
        steps = dict(measured.step_seconds(engine, 16))
    rates = {count: count / seconds for count, seconds in steps.items()}
    found = {str(count): round(rate, 1) for count, rate in rates.items()}
    return {
        "tokens_per_second": found, "chosen": measured.best(rates),
        "gb_per_second_of_one": round(weights / steps[1] / 1e9, 1),
    }  # fmt: skip


def layers(setting: Setting) -> dict[str, Any]:
    """None, half and all layers on the device, and as many as fit beside a memory hog: the same logits."""
    import numpy as np

    from gpu.memory_hog import CudaError, MemoryHog

    found: dict[str, Any] = {}
    wanted: list[tuple[str, int | None, Any]] = [("all", None, nullcontext()), ("none", 0, nullcontext())]
    with _engine(setting) as engine:
        half, size = engine.info.n_layer // 2, engine.info.bytes_text
    wanted.append(("half", half, nullcontext()))
    try:
        if setting.device != "CPU":
            wanted.append(("capped", None, MemoryHog(leave=int(size * 0.6) + (1 << 30))))
    except CudaError as error:
        found["capped"] = str(error)
    reference = None
    for name, count, held in wanted:
        with held, _engine(setting, count) as engine:
            logits = _logits(engine).astype(np.float64)
            reference = logits if reference is None else reference
            cosine = float(logits @ reference / np.sqrt((logits @ logits) * (reference @ reference)))
            found[name] = {"layers": engine.info.n_gpu_layers, "cosine": cosine}
        if not cosine >= AGREE:
            raise SystemExit(f"{name}: the cosine to the logits of all layers is {cosine:.6f}")
    if "layers" in (capped := found.get("capped") or {}) and capped["layers"] >= found["all"]["layers"]:
        raise SystemExit("with little memory left, as many layers were placed as without")
    return found


def loss(setting: Setting) -> dict[str, Any]:
    """A device that fails while computing: the windows are done again on the CPU, with the same text."""
    from gemma_audio_cli.engine.session import Session
    from gemma_audio_cli.errors import BackendError

    before, _ = _heard(setting)
    whole, calls = Session.generate, 0

    def failing(session: Session, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise BackendError("the device is lost (as if)")
        return whole(session, *arguments, **options)

    Session.generate = failing  # type: ignore[method-assign]
    try:
        after, notices = _heard(setting)
    except BackendError as error:
        if setting.device != "CPU":  # which has nothing to fall back to
            raise
        return {"on_the_cpu": str(error)}
    finally:
        Session.generate = whole  # type: ignore[method-assign]
    if after != before or not any("going on with the CPU" in notice for notice in notices):
        raise SystemExit(f"{after!r} after the failure, {before!r} without; notices: {notices}")
    return {"text": after, "notices": notices}


def _heard(setting: Setting) -> tuple[str, list[str]]:
    """The bundled recording on the device, and notices."""
    from gemma_audio_cli.pipeline.events import SegmentDone
    from gemma_audio_cli.pipeline.files import Transcription
    from gemma_audio_cli.pipeline.options import CutOptions, ModelOptions, TranscribeOptions
    from gemma_audio_cli.pipeline.recognizer import Recognizer

    notices: list[str] = []
    sample = str(ROOT / "gemma_audio_cli" / "demo" / "sample.wav")
    with Recognizer(ModelOptions("demo", device=setting.device), notice=notices.append) as recognizer:
        events = Transcription(recognizer, [sample], TranscribeOptions(cut=CutOptions(vad=False))).events()
        texts = [event.segment.text for event in events if isinstance(event, SegmentDone)]
    return " ".join(texts), notices


def _engine(setting: Setting, layers: int | None = None) -> Any:
    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.engine.structs import EngineOptions

    return Engine(*setting.pair, EngineOptions(device=setting.device, gpu_layers=layers))


def _logits(engine: Any) -> Any:
    from gemma_audio_cli.engine.structs import Input, SessionOptions

    session = engine.session(SessionOptions(n_ctx=256))
    session.forward([Input(tokens=list(range(5, 69)), n_logits=1)])
    row = session.logits()
    session.close()
    return row


CHECKS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    check.__name__: check
    for check in (
        machine, models, build, devices, parity, transcribe, clip, recording, live, slots, layers, loss,
    )
}  # fmt: skip
