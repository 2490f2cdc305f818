#!/usr/bin/env python3
"""A real model on real recordings: word error rates and speed, beside llama.cpp on the same files.

    scripts/real_check -m e2b                                   # pull it, hear ../shared/speech
    scripts/real_check -m e2b --speech LibriSpeech/dev-clean --minutes 30
    scripts/real_check -m text.gguf --mmproj mmproj.gguf --speech my-recordings --json figures.json

FOLDER holds recordings with what is said in them: `name.wav` beside `name.txt`, or LibriSpeech's
`*.trans.txt`. Ours is the product (speech detection, windows, guards). llama.cpp gets the very windows that
ours made, in Google's prompt, and decodes greedily. Both run in processes of their own, one after the other.
Words are compared in lower case, without punctuation; numbers up to twenty count as the same in digits and in
words. Please send the table, or the file of --json, in an issue.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

RATE = 16_000
MAX_TOKENS_A_SECOND = 12
MIN_TOKENS = 32
SPEECH = ROOT.parent / "shared" / "speech"
_AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus")
# fmt: off
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
            "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
            "twenty")
# fmt: on
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}


@dataclass
class Heard:
    """What one engine made of a recording."""

    text: str = ""
    seconds: float = 0.0
    """Of work, without loading the model."""
    flags: list[str] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)
    """Start and end in seconds."""


@dataclass(frozen=True)
class Spoken:
    """A recording and what is said in it."""

    path: Path
    text: str
    seconds: float


# ---- recordings and words ----------------------------------------------------------------------------------


def recordings(folder: Path, minutes: float | None) -> list[Spoken]:
    """The recordings below `folder` that have a reference, in order of their names, up to so many minutes."""
    import soundfile

    references: dict[Path, str] = {}
    for path in sorted(folder.rglob("*.txt")):
        if path.name.endswith(".trans.txt"):
            for line in path.read_text().splitlines():
                name, _, text = line.partition(" ")
                references[path.parent / f"{name}.flac"] = text
        else:
            for suffix in _AUDIO:
                if path.with_suffix(suffix).is_file():
                    references[path.with_suffix(suffix)] = path.read_text()
    found: list[Spoken] = []
    total = 0.0
    for path, text in sorted(references.items()):
        if not path.is_file() or not words(text):
            continue
        seconds = soundfile.info(path).duration
        if minutes is not None and found and total + seconds > minutes * 60:
            break
        total += seconds
        found.append(Spoken(path, text, seconds))
    if not found:
        raise SystemExit(
            f"{folder}: no recordings with references (name.wav beside name.txt, or *.trans.txt)"
        )
    return found


def words(text: str) -> list[str]:
    """The words that count."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    found = re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)
    return [_DIGITS.get(word, word) for word in found]


def word_errors(reference: Sequence[str], found: Sequence[str]) -> int:
    """Words to change, leave out or add: Levenshtein distance over words."""
    row = list(range(len(found) + 1))
    for i, word in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


# ---- engines, each in a process of its own -----------------------------------------------------------------


def ours(job: dict[str, Any]) -> Iterator[Heard]:
    """The product, as the command line runs it, on the CPU."""
    from gemma_audio_cli import Engine, EngineOptions, RecordingDone, SegmentDone, transcribe_many
    from gemma_audio_cli.pipeline.options import InstructionOptions, TranscribeOptions

    options = TranscribeOptions(instruction=InstructionOptions(language=job["language"]))
    with Engine(job["text"], job["mmproj"], EngineOptions(threads=job["threads"], device="CPU")) as engine:
        for path in job["recordings"]:
            heard, start = Heard(), time.perf_counter()
            for event in transcribe_many([path], options, engine=engine):
                if isinstance(event, SegmentDone):
                    heard.text = f"{heard.text} {event.segment.text}"
                    heard.flags += event.segment.flags
                    heard.windows.append((event.segment.start, event.segment.end))
                elif isinstance(event, RecordingDone) and event.error is not None:
                    raise event.error
            heard.seconds = time.perf_counter() - start
            yield heard


def llamacpp(job: dict[str, Any]) -> Iterator[Heard]:
    """libllama and libmtmd: one window after the other, greedy."""
    import numpy as np
    from oracles.llamacpp import LlamaCpp

    from gemma_audio_cli.audio.read.source import open_source
    from gemma_audio_cli.decoding import prompt

    instruction = prompt.transcription(job["language"])
    unified = job["unified"]
    with LlamaCpp(job["text"], job["mmproj"], threads=job["threads"], n_ctx=2048, n_ubatch=1024) as engine:
        order = prompt.Layout(empty_thought=unified).order(1)
        before, after = re.split(
            re.escape("<|audio|>"), prompt.builtin_layout(order, empty_thought=unified), maxsplit=1
        )
        before = f"{before[: before.index(chr(0xE000))]}{instruction}<|audio>"
        head, tail = engine.tokenize(before), engine.tokenize(f"<audio|>{after}")
        for path, windows in zip(job["recordings"], job["windows"], strict=True):
            with open_source(path) as source:
                samples = np.concatenate(list(source.blocks()))
            heard, start = Heard(), time.perf_counter()
            for since, until in windows:
                clip = samples[int(since * RATE) : int(until * RATE)]
                budget = MIN_TOKENS + int(MAX_TOKENS_A_SECOND * (until - since))
                text, whole = engine.answer([head, engine.encode_audio(clip), tail], budget)
                heard.text = f"{heard.text} {text}"
                heard.flags += [] if whole else ["truncated"]
            heard.seconds = time.perf_counter() - start
            yield heard


_ENGINES = {"ours": ours, "llama.cpp": llamacpp}


def run(engine: str, job: dict[str, Any], spoken: Sequence[Spoken]) -> list[Heard]:
    """The engine's work on all recordings, in another process."""
    command = [sys.executable, __file__, "--worker", engine]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    found = []
    for line in process.stdout:
        found.append(Heard(**json.loads(line)))
        print(f"{engine}: {len(found)} of {len(spoken)} {spoken[len(found) - 1].path.name}", file=sys.stderr)
    if process.wait():
        raise SystemExit(f"{engine} ended with status {process.returncode}")
    return found


# ---- the table ---------------------------------------------------------------------------------------------


def rates(spoken: Sequence[Spoken], heard: Sequence[Heard]) -> dict[str, Any]:
    """Word errors in percent and times real time, over all and for each recording."""
    wrong = [word_errors(words(s.text), words(h.text)) for s, h in zip(spoken, heard, strict=True)]
    total = [len(words(s.text)) for s in spoken]
    return {
        "wer": round(100 * sum(wrong) / sum(total), 2),
        "times_real_time": round(sum(s.seconds for s in spoken) / sum(h.seconds for h in heard), 3),
        "each": [round(100 * w / n, 1) for w, n in zip(wrong, total, strict=True)],
    }


def table(spoken: Sequence[Spoken], figures: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown."""
    names = list(figures)
    yield f"| recording | seconds | words | {' | '.join(f'{name}: WER %' for name in names)} |"
    yield f"|---|---|---|{'---|' * len(names)}"
    for i, item in enumerate(spoken):
        cells = " | ".join(f"{figures[name]['each'][i]:.1f}" for name in names)
        yield f"| {item.path.name} | {item.seconds:.1f} | {len(words(item.text))} | {cells} |"
    seconds, count = sum(s.seconds for s in spoken), sum(len(words(s.text)) for s in spoken)
    cells = " | ".join(f"**{figures[name]['wer']:.2f}**" for name in names)
    yield f"| all | {seconds:.1f} | {count} | {cells} |"
    cells = " | ".join(f"{figures[name]['times_real_time']:.2f}" for name in names)
    yield f"| times real time | | | {cells} |"


def digest(path: Path) -> str:
    """The first twelve digits of a file's SHA-256."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            found.update(block)
    return found.hexdigest()[:12]


def about(text: Path, mmproj: Path, threads: int) -> Iterable[str]:
    """What the figures were made with."""
    from gemma_audio_cli.version import __version__

    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter(()),
        platform.processor(),
    )
    yield f"gemma-audio {__version__}, {cpu}, {threads} threads, {platform.platform()}"
    for path in (text, mmproj):
        yield f"{path.name}: {path.stat().st_size:,} bytes, sha256 {digest(path)}…"


def main() -> int:
    """Pull, transcribe, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-m", "--model", default="e2b", help="as after gemma-audio -m; pulled where it is not here"
    )
    parser.add_argument("--mmproj", help="its audio projector, if not found beside it")
    parser.add_argument("--speech", type=Path, default=SPEECH, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, help="of recordings, at most (default: all)")
    parser.add_argument("--language", default="English")
    parser.add_argument("--threads", type=int, default=0, help="default: one per core")
    parser.add_argument("--without-llamacpp", action="store_true", help="only ours")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures and texts here")
    parser.add_argument("--worker", choices=sorted(_ENGINES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        for heard in _ENGINES[args.worker](json.load(sys.stdin)):
            print(json.dumps(asdict(heard)), flush=True)
        return 0

    from gemma_audio_cli.engine.engine import Engine
    from gemma_audio_cli.errors import GemmaAudioError, ModelNotFoundError
    from gemma_audio_cli.models.resolve import resolve

    if not args.speech.is_dir():
        raise SystemExit(f"{args.speech}: no such folder; name one with --speech")
    spoken = recordings(args.speech, args.minutes)
    try:
        try:
            pair = resolve(args.model, args.mmproj)
        except ModelNotFoundError:
            pulled = [sys.executable, "-m", "gemma_audio_cli", "models", "pull", args.model]
            if subprocess.run(pulled, cwd=ROOT).returncode:
                return 1
            pair = resolve(args.model, args.mmproj)
        with Engine(pair.text, pair.mmproj) as engine:
            unified = engine.info.projector == "gemma4ua"
    except GemmaAudioError as error:
        raise SystemExit(str(error)) from None
    threads = args.threads or len(os.sched_getaffinity(0))
    job: dict[str, Any] = {
        "text": str(pair.text), "mmproj": str(pair.mmproj), "threads": threads, "language": args.language,
        "recordings": [str(item.path) for item in spoken], "unified": unified,
    }  # fmt: skip
    heard = {"ours": run("ours", job, spoken)}
    if not args.without_llamacpp:
        windows = [item.windows for item in heard["ours"]]
        heard["llama.cpp"] = run("llama.cpp", job | {"windows": windows}, spoken)
    figures = {name: rates(spoken, found) for name, found in heard.items()}
    facts = list(about(pair.text, pair.mmproj, threads))
    print("\n".join([*facts, "", *table(spoken, figures)]))
    if args.json:
        texts = {
            item.path.name: {
                "reference": item.text,
                **{name: asdict(found[i]) for name, found in heard.items()},
            }
            for i, item in enumerate(spoken)
        }
        args.json.write_text(
            json.dumps({"about": facts, "figures": figures, "recordings": texts}, indent=2) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
