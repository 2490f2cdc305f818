"""Damages GGUF files in seeded ways and opens them: each must load or be refused, none may crash.

    python scripts/fuzz/gguf_files.py TEXT.gguf MMPROJ.gguf --runs 500 --seed 0

Each run copies one file of the pair with its header mutated (bytes flipped, lengths and counts made absurd,
types changed, parts cut off or repeated), opens it in a forked child, hears a second of noise where it opens,
and looks at how the child ended. A signal (SEGV, ABRT, ...) or a run over the time limit is a finding: its
seed is printed, and the exit status is 1. POSIX only (fork).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

NUMBERS = (0, 1, 2, 3, 7, 31, 33, 255, 65536, *((1 << n) - d for n in (31, 32, 63, 64) for d in (0, 1)))


def mutate(data: bytes, header: int, rng: random.Random) -> bytes:
    """One to four seeded changes to the first `header` bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        kind = rng.random()
        at = rng.randrange(min(header, len(out)))
        if kind < 0.4:
            out[at] = rng.randrange(256)
        elif kind < 0.6:
            out[at] ^= 1 << rng.randrange(8)
        elif kind < 0.85:
            width, code = rng.choice(((4, "<I"), (8, "<Q")))
            value = rng.choice(NUMBERS) & ((1 << (8 * width)) - 1)  # what fits
            out[at : at + width] = struct.pack(code, value)
        elif kind < 0.95:
            length = rng.randint(1, 64)
            out[at : at + length] = b"" if rng.random() < 0.5 else bytes(out[at : at + length]) * 2
        else:
            del out[rng.randrange(len(out)) :]
            if not out:
                out = bytearray(b"G")
    return bytes(out)


def header_size(data: bytes) -> int:
    """Bytes before the tensors' data, found from the file's own reader."""
    from gguf import GGUFReader

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        return int(GGUFReader(file.name).data_offset)


def open_and_run(text: str, mmproj: str) -> None:
    """In the child: load and, where that works, use the whole path once."""
    import numpy as np

    from gemma_audio_cli import errors
    from gemma_audio_cli.engine.data import EngineOptions, Input, SessionOptions
    from gemma_audio_cli.engine.engine import Engine

    try:
        with Engine(text, mmproj, EngineOptions(threads=1)) as engine:
            noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
            audio = engine.audio()
            audio.push(noise)
            audio.finish()
            session = engine.session(SessionOptions(n_ctx=64))
            session.forward([Input(tokens=engine.tokenize("what is said?")[:16], n_logits=1)])
            session.forward([Input(audio=audio, n_logits=1)])
            session.sample()
    except (errors.GemmaAudioError, MemoryError):
        pass


def ends_well(text: str, mmproj: str, seconds: int) -> str | None:
    """Run in a child; None, or how it went wrong."""
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            signal.alarm(seconds)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            open_and_run(text, mmproj)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return None if os.WEXITSTATUS(status) == 0 else f"exit status {os.WEXITSTATUS(status)}"


def fuzz(text: Path, mmproj: Path, runs: int, seed: int, seconds: int = 20) -> list[str]:
    """Findings, one line each."""
    from gemma_audio_cli.engine._binding import native

    native()  # loaded once, inherited by every child
    files = [text.read_bytes(), mmproj.read_bytes()]
    headers = [header_size(data) for data in files]
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        victim = Path(folder) / "damaged.gguf"
        for run in range(seed, seed + runs):
            rng = random.Random(run)
            which = rng.randrange(2)
            victim.write_bytes(mutate(files[which], headers[which], rng))
            pair = (str(victim), str(mmproj)) if which == 0 else (str(text), str(victim))
            if problem := ends_well(*pair, seconds):
                findings.append(f"seed {run}: {('text', 'mmproj')[which]} file: {problem}")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("mmproj", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="first seed; run N uses seed + N")
    args = parser.parse_args()
    findings = fuzz(args.text, args.mmproj, args.runs, args.seed)
    for line in findings:
        print(line)
    print(f"{args.runs} damaged files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
