"""Damages small recordings in seeded ways and reads them: each must give samples or an error of one line.

    python scripts/fuzz/media.py --seconds 60
    python scripts/fuzz/media.py --seed 1234 --runs 1 --keep FOLDER

Each run takes one of the recordings it makes (every container, codec and kind of sample the sources know) or
keeps (tests/media), changes it, and reads it in a forked child with limits on memory and time, as a file or
from a pipe, with a part, a channel or a track chosen or not. A finding is a child that dies or hangs, takes
too much memory, raises anything but an InputError of one line, gives samples that are no numbers, or prints
on stderr. Findings are printed with their seed and kept with --keep; the exit status is 1. POSIX only (fork).
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

KEPT = ROOT / "tests" / "media"
MOST_SECONDS = 20
MOST_MEMORY = 1 << 30
"""Bytes that a child may take beyond what its parent has. FFmpeg clears as much as a damaged header promises
of a tag before it looks for it: half a gigabyte was seen, for a quarter of a second.
"""
LONGEST = 120.0
"""Seconds of sound that are asked for: a few bytes may stand for hours of silence."""
NUMBERS = (0, 1, 2, 3, 127, 255, 32767, *((1 << n) - d for n in (16, 24, 31, 32, 63, 64) for d in (0, 1)))

MADE = [
    # suffix, codec, format, rate, layout
    ("m4a", "aac", "mp4", 44_100, "stereo"), ("mov", "alac", "mov", 48_000, "mono"),
    ("mp4", "aac", "mp4", 48_000, "5.1"), ("mkv", "aac", "matroska", 48_000, "stereo"),
    ("mka", "flac", "matroska", 16_000, "5.1"), ("webm", "libopus", "webm", 48_000, "stereo"),
    ("mp3", "libmp3lame", "mp3", 44_100, "stereo"), ("opus", "libopus", "ogg", 48_000, "mono"),
    ("ogg", "libvorbis", "ogg", 44_100, "stereo"), ("flac", "flac", "flac", 22_050, "5.1"),
    ("aac", "aac", "adts", 44_100, "mono"), ("ts", "aac", "mpegts", 48_000, "stereo"),
    ("wma", "wmav2", "asf", 44_100, "stereo"), ("avi", "mp2", "avi", 44_100, "mono"),
    ("ac3", "ac3", "ac3", 48_000, "5.1"), ("wav", "adpcm_ima_wav", "wav", 22_050, "mono"),
    ("wav", "adpcm_ms", "wav", 22_050, "stereo"), ("3gp", "aac", "3gp", 16_000, "mono"),
    ("amr", "libopencore_amrnb", "amr", 8_000, "mono"), ("flv", "aac", "flv", 44_100, "mono"),
    ("caf", "pcm_s16be", "caf", 16_000, "stereo"), ("au", "pcm_mulaw", "au", 8_000, "mono"),
    ("wv", "wavpack", "wv", 16_000, "stereo"), ("tta", "tta", "tta", 16_000, "mono"),
    ("m4a", "aac", "mp4", 48_000, "7.1"), ("opus", "libopus", "ogg", 48_000, "7.1"),
    ("mpg", "mp2", "mpeg", 48_000, "stereo"), ("w64", "pcm_s16le", "w64", 16_000, "mono"),
]  # fmt: skip


def tone(count: int, channels: int, rate: int) -> object:
    """A rising tone as int16 [count, channels], each channel another."""
    import numpy as np

    t = np.arange(count)[:, None] / rate
    return (8000 * np.sin(2 * np.pi * (300 + 150 * np.arange(channels)) * t * (1 + t))).astype(np.int16)


def encoded(path: Path, codec: str, form: str, rate: int, layout: str, seconds: float = 0.4) -> bytes | None:
    """A small recording made by FFmpeg; None where it has no such encoder."""
    import av
    import numpy as np

    channels = av.AudioLayout(layout).nb_channels
    values = tone(round(seconds * rate), channels, rate)
    try:
        with av.open(str(path), "w", format=form) as out:
            stream = out.add_stream(codec, rate=rate, layout=layout)
            for at in range(0, len(values), 960):
                part = np.ascontiguousarray(values[at : at + 960]).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    except (av.FFmpegError, ValueError):
        return None
    return path.read_bytes()


def recordings() -> list[tuple[str, bytes]]:
    """(suffix, bytes) of all that is to be damaged."""
    import soundfile

    found: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec, form, rate, layout in MADE:
            data = encoded(Path(folder) / f"made.{suffix}", codec, form, rate, layout)
            if data:
                found.append((suffix, data))
        for suffix, subtype, channels in (
            ("wav", "PCM_16", 1), ("wav", "FLOAT", 6), ("wav", "PCM_24", 2), ("aiff", "PCM_16", 2),
            ("rf64", "PCM_16", 1), ("flac", "PCM_24", 2), ("ogg", "VORBIS", 1), ("ogg", "OPUS", 2),
            ("mp3", "MPEG_LAYER_III", 1), ("caf", "ALAC_16", 2),
        ):  # fmt: skip
            path = Path(folder) / f"made.{suffix}"
            soundfile.write(path, tone(8_000, channels, 16_000), 16_000, subtype=subtype)
            found.append((suffix, path.read_bytes()))
    whole = ("ogg", "opus", "flac", "mp3", "wav")
    joined = [(suffix, data + data) for suffix, data in found if suffix in whole]
    kept = [(path.suffix[1:], path.read_bytes()) for path in sorted(KEPT.glob("*.*"))]
    return found + joined + kept


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to six seeded changes, half of them near the start, where the numbers are."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if len(out) < 16:
            break
        kind = rng.random()
        reach = len(out) if rng.random() < 0.5 else min(600, len(out))
        at = rng.randrange(reach)
        if kind < 0.3:
            out[at] = rng.randrange(256)
        elif kind < 0.45:
            out[at] ^= 1 << rng.randrange(8)
        elif kind < 0.65:
            code = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            width = struct.calcsize(code)
            out[at : at + width] = struct.pack(code, rng.choice(NUMBERS) & ((1 << (8 * width)) - 1))
        elif kind < 0.75:
            length = rng.randint(1, 512)
            again = 0 if rng.random() < 0.5 else rng.randint(2, 4)
            out[at : at + length] = bytes(out[at : at + length]) * again
        elif kind < 0.85:
            other = rng.choice(others)
            begin = rng.randrange(len(other))
            out[at:at] = other[begin : begin + rng.randint(1, 4096)]
        elif kind < 0.95:
            del out[rng.randrange(1, len(out)) :]
        else:
            out[at : at + 64] = rng.randbytes(64)
    return bytes(out)


def options_of(rng: random.Random) -> dict[str, object]:
    """Which part, channel or track is asked for."""
    options: dict[str, object] = {"end": LONGEST}
    if rng.random() < 0.2:
        options["start"] = rng.choice((0.1, 0.3, 1.0, 50.0))
    if rng.random() < 0.2:
        options["channel"] = rng.choice((1, 2, 6))
    elif rng.random() < 0.2:
        options["split_channels"] = True
    if rng.random() < 0.1:
        options["track"] = rng.choice(("1", "2", "eng"))
    return options


def read(path: str, options: dict[str, object]) -> str | None:
    """In the child: all of it; None, or what is wrong with what came of it."""
    import numpy as np

    from gemma_audio_cli.audio.read.source import SourceOptions, open_source
    from gemma_audio_cli.errors import InputError

    reported: list[str] = []
    count = 0
    try:
        with open_source(path, SourceOptions(**options), reported.append) as source:  # type: ignore[arg-type]
            for block in source.blocks():
                count += len(block)
                if block.dtype != np.float32 or not np.isfinite(block).all():
                    return "samples that are no numbers"
    except InputError as error:
        reported.append(str(error))
    except MemoryError:
        return "MemoryError"
    except Exception as error:  # what a person would see as a traceback
        return f"{type(error).__name__}: {error}"
    if any("\n" in text or not text.startswith(f"{path}: ") for text in reported):
        return f"no clear line: {reported!r}"
    return None if count or reported else "neither samples nor a word"


def outcome(data: bytes, suffix: str, options: dict[str, object], *, piped: bool) -> str | None:
    """Reads `data` in a child; None, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path, said = Path(folder) / f"damaged.{suffix}", Path(folder) / "said"
        if piped:
            os.mkfifo(path)
        else:
            path.write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pid = os.fork()
        if pid == 0:
            _child(path, said, options)
        feeder = None
        if piped:
            feeder = threading.Thread(target=_feed, args=(path, data), daemon=True)
            feeder.start()
        _, status, usage = os.wait4(pid, 0)
        if feeder is not None:
            _drain(path)
            feeder.join(5)
        text = said.read_text(errors="replace") if said.exists() else ""
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return f"no end within {MOST_SECONDS} s" if name == "SIGALRM" else f"{name} {text[-300:]}"
        if (usage.ru_maxrss - before) << 10 > MOST_MEMORY:
            return f"{(usage.ru_maxrss - before) >> 10} MiB of memory"
        return text or None


def _child(path: Path, said: Path, options: dict[str, object]) -> None:
    """Never returns. What goes to stderr, and what `read` finds, ends up in the file `said`."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
        signal.alarm(MOST_SECONDS)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
        problem = read(str(path), options)
        if problem:
            os.write(2, problem.encode(errors="replace"))
    finally:
        os._exit(0)


def _feed(path: Path, data: bytes) -> None:
    with suppress(OSError), path.open("wb") as file:  # the reader may go
        file.write(data)


def _drain(path: Path) -> None:
    """Lets go of a feeder whose reader never came."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def fuzz(seeds: Iterator[int], until: float, keep: Path | None = None) -> tuple[int, list[str]]:
    """(how many were read, findings, one line each)."""
    import gemma_audio_cli.audio.read.container
    import gemma_audio_cli.audio.read.source  # noqa: F401 - inherited by every child

    known = recordings()
    everything = [data for _, data in known]
    count, findings = 0, list[str]()
    for seed in seeds:
        if time.monotonic() > until:
            break
        rng = random.Random(seed)
        suffix, data = rng.choice(known)
        changed, options, piped = mutate(data, everything, rng), options_of(rng), rng.random() < 0.3
        problem = outcome(changed, suffix, options, piped=piped)
        count += 1
        if problem:
            how = f"{suffix} {options}{' piped' if piped else ''}"
            findings.append(f"seed {seed}: {how}: {' '.join(problem.split())[:500]}")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}.{suffix}").write_bytes(changed)
    return count, findings


def main() -> int:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--runs", type=int, default=1 << 40, help="at most so many recordings")
    parser.add_argument("--seed", type=int, default=None, help="of the first; default: by the time")
    parser.add_argument("--keep", type=Path, help="a folder for what was found")
    options = parser.parse_args()
    first = int(time.time()) * 1000 if options.seed is None else options.seed
    seeds = iter(range(first, first + options.runs))
    count, findings = fuzz(seeds, time.monotonic() + options.seconds, options.keep)
    print(*findings, sep="\n", end="\n" if findings else "")
    print(f"{count} damaged recordings from seed {first} on, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
