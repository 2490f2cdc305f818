#!/usr/bin/env python3
"""Live: does the machine keep up with the speech, and how much is left to do when the speaker stops?

    python scripts/bench/live.py demo                    # the command line and the demo model, a replay
    python scripts/bench/live.py pace                    # a model of true size, utterances in real time
    python scripts/bench/live.py left --runs 3           # the work after the last sample, beside llama.cpp
    python scripts/bench/live.py draft                   # a draft of 30 tokens checked, and 30 decoded
    python scripts/bench/live.py replay --minutes 120    # memory over hours, the demo model, faster than life

Random weights of a model's true size are made once and kept in --models, as in compare.py. What they write
means nothing and never ends, so an answer gets --tokens-per-second of the utterance, as speech has. Every
line of JSON is one measurement. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]

import compare  # noqa: E402 - a script's own folder
import duel  # noqa: E402
import machine  # noqa: E402
import quiet  # noqa: E402

from gemma_audio_cli.audio.capture.ingest import AudioIngest, at_speaking_pace  # noqa: E402
from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue  # noqa: E402
from gemma_audio_cli.audio.segment.utterances import Utterances, live_cut  # noqa: E402
from gemma_audio_cli.audio.segment.vad import FRAME, SpeechDetector  # noqa: E402
from gemma_audio_cli.decoding import prompt  # noqa: E402
from gemma_audio_cli.decoding.guards import GuardOptions  # noqa: E402
from gemma_audio_cli.decoding.incremental import Incremental  # noqa: E402
from gemma_audio_cli.decoding.transcriber import DecodeOptions, Transcriber  # noqa: E402
from gemma_audio_cli.engine.engine import Engine  # noqa: E402
from gemma_audio_cli.engine.structs import EngineOptions  # noqa: E402
from gemma_audio_cli.pipeline.listener import Final, Listener, Partial  # noqa: E402

RATE = 16_000
NO_GUARDS = GuardOptions(attempts=(0.0,), split=False, min_logprob=float("-inf"), min_repeats=1 << 30)
"""Random weights repeat themselves and never end: that is no trouble here."""
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"

clock = time.perf_counter


def noise(seconds: float, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 0.1).astype(np.float32)


class Scheduled:
    """A detector that works as hard as ours and answers by the clock: speech, then a pause, and so on."""

    def __init__(self, speech: float, pause: float) -> None:
        self._detector, self._frame = SpeechDetector(), 0
        self._speech, self._cycle = (round(s * RATE / FRAME) for s in (speech, speech + pause))

    def __call__(self, frame: Any) -> float:
        self._detector(frame)
        position = self._frame % self._cycle
        self._frame += 1
        return 1.0 if position < self._speech else 0.0


def transcriber(args: argparse.Namespace, engine: Engine) -> Transcriber:
    options = DecodeOptions(
        tokens_per_second=args.tokens_per_second, min_tokens=1, slots=1, guards=NO_GUARDS, max_seconds=30.0
    )
    return Transcriber(engine, options)


def open_engine(args: argparse.Namespace) -> Engine:
    text, mmproj = compare.files(args)
    duel.warm(text, mmproj)
    return Engine(text, mmproj, EngineOptions(threads=args.threads, device=args.device))


def pushed(ear: Incremental, samples: Any, *, partials: bool) -> None:
    """An utterance in tenths of a second, with a partial text after each second."""
    for n, at in enumerate(range(0, len(samples), RATE // 10), 1):
        ear.push(samples[at : at + RATE // 10])
        if partials and n % 10 == 0:
            ear.partial()


# ---- measurements ------------------------------------------------------------------------------------------


def demo(args: argparse.Namespace) -> dict[str, Any]:
    """Cores that `gemma-audio live` takes on a replay in real time, its start included."""
    import soundfile

    sample, _ = soundfile.read(SAMPLE, dtype="float32")
    pause = np.zeros(RATE, dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "replay.wav"
        one = np.concatenate((sample, pause))
        soundfile.write(path, np.tile(one, round(args.minutes * 60 * RATE / len(one))), RATE)
        command = [sys.executable, "-m", "gemma_audio_cli", "live", "-q", "--realtime", "--jsonl", str(path)]
        done = quiet.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.status:
        raise SystemExit(f"live failed with status {done.status}:\n{done.stderr}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finals = [event for event in events if event["type"] == "final"]
    wrong = sum(event["text"] != finals[0]["text"] for event in finals)
    return {
        "seconds": round(done.wall_s, 1),
        "cores": round(done.cpu_s / done.wall_s, 3),
        "finals": len(finals),
        "finals_that_differ": wrong,
        "partials": sum(event["type"] == "partial" for event in events),
        "delay_partial": spread([event["delay"] for event in events if event["type"] == "partial"]),
        "delay_final": spread([event["delay"] for event in finals]),
    }


def pace(args: argparse.Namespace) -> dict[str, Any]:
    """Utterances in real time: partial texts, what waits, and when the final text is there."""
    cycle = args.seconds + args.pause

    def blocks() -> Iterator[Any]:
        for n in range(args.utterances):
            yield noise(cycle, n)

    with open_engine(args) as engine:
        ear = Listener(transcriber(args, engine), prompt.transcription(None))
        speech_queue = SpeechQueue()
        hearing = AudioIngest(
            at_speaking_pace(blocks()),
            Utterances(live_cut(0.6, 30.0), Scheduled(args.seconds, args.pause)),
            speech_queue,
        )
        cpu, start = time.process_time(), clock()
        hearing.start()
        reported = []
        for event in ear.listen(speech_queue):
            reported.append((clock() - start, event, speech_queue.seconds))
        wall, cpu = clock() - start, time.process_time() - cpu
        ear.close()
    gaps, last = [], 0.0
    for when, event, _ in reported:
        if isinstance(event, Partial):
            # The first one of an utterance is counted from the utterance's beginning.
            gaps.append(when - max(last, event.start))
            last = when
    finals = [event for _, event, _ in reported if isinstance(event, Final)]
    return {
        "utterances": len(finals),
        "tokens": [final.tokens for final in finals],
        "partials": len(gaps),
        "between_partials": spread(gaps),
        "most_waiting_s": round(speech_queue.longest, 2),
        "waiting_at_finals_s": [round(w, 2) for _, event, w in reported if isinstance(event, Final)],
        "delay_partial": spread([event.delay for _, event, _ in reported if isinstance(event, Partial)]),
        "delay_final": spread([final.delay for final in finals]),
        "work_of_final": spread([final.work for final in finals]),
        "cores": round(cpu / wall, 2),
        "seconds": round(wall, 1),
    }


def left(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the last sample to the first token of the final text, beside what llama.cpp needs to
    encode and prefill the clip; in turn.
    """
    pair = compare.files(args)
    duel.warm(*pair)
    ours, theirs = [], []
    for _ in range(args.runs):
        with open_engine(args) as engine:
            ear = transcriber(args, engine).incremental(prompt.transcription(None))
            pushed(ear, noise(args.seconds), partials=True)
            ours.append(_to_first_token(ear))
            rows = len(ear.decoder.prompt.tail)
            ear.close()
        command = [sys.executable, HERE / "contestant.py", "llamacpp", "clip", *pair]
        command += ["--seconds", args.seconds, "--threads", args.threads, "--new-tokens", 1]
        command += ["--device", args.device]
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
        stages = json.loads(done.stdout.splitlines()[-1])
        theirs.append(sum(stages[name] for name in ("mel", "encode", "audio_prefill")))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "ours": spread(ours),
        "tokens_behind_the_clip": rows,
        "llama.cpp_mel_encode_audio_prefill": spread(theirs),
        "share": spread(ratios),
    }


def _to_first_token(ear: Incremental) -> float:
    """What `finish` does until the first token is drawn: last frames, end of the turn, draft, a logit."""
    session, first = ear.decoder.session, []
    sample = session.sample

    def timed(*arguments: int, **named: int) -> tuple[int, float]:
        drawn = sample(*arguments, **named)
        first.append(clock())
        return drawn

    session.sample = timed  # type: ignore[method-assign]
    start = clock()
    ear.finish()
    del session.sample  # type: ignore[attr-defined]
    return first[0] - start


def draft(args: argparse.Namespace) -> dict[str, Any]:
    """30 tokens decoded, and the same 30 as a right draft: what each takes beyond the prompt."""
    tokens = 30
    with open_engine(args) as engine:
        budget = [1]
        (decoder,) = transcriber(args, engine)._decoders(prompt.transcription(None), 1, 2 + tokens)
        ear = Incremental(decoder, lambda _s: budget[0])
        decoded, checked = [], []
        for run in range(args.runs):
            pushed(ear, noise(args.seconds, run), partials=False)
            budget[0] = 1
            bare = timed(ear)
            budget[0] = 1 + tokens
            decoded.append(timed(ear) - bare)
            budget[0] = 2 + tokens  # one more than the draft: it is whole
            for _ in range(10):
                whole = timed(ear)
                # In a batch the sums of random weights round otherwise, and near ties turn: what was checked
                # once is right the next time.
                if ear._last.accepted > tokens:
                    break
            else:
                raise SystemExit(f"only {ear._last.accepted} tokens of the draft were accepted")
            one_more = decoded[-1] / tokens  # the token that was decoded after the draft
            checked.append(whole - bare - one_more)
            ear.reset()
        ear.close()
    return {
        "tokens": tokens,
        "decoded": spread(decoded),
        "checked": spread(checked),
        "share": spread([a / b for a, b in zip(checked, decoded, strict=True)]),
    }


def timed(ear: Incremental) -> float:
    start = clock()
    ear.partial()
    return clock() - start


def replay(args: argparse.Namespace) -> dict[str, Any]:
    """Memory of one `gemma-audio live` on a stream of so many minutes, as fast as a pipe takes it."""
    import soundfile

    sample = soundfile.read(SAMPLE, dtype="int16")[0]
    one = np.concatenate((sample, np.zeros(RATE, dtype=np.int16))).tobytes()
    count = round(args.minutes * 60 * RATE * 2 / len(one))
    command = [sys.executable, "-m", "gemma_audio_cli", "live", "-q", "--raw", "s16le:16000:1", "-"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    resident, start = [], clock()
    lines: list[bytes] = []
    for n in range(count):
        process.stdin.write(one)
        process.stdin.flush()
        if args.in_step:
            lines.append(process.stdout.readline())
        if n % max(1, count // 20) == 0:
            resident.append(_resident(process.pid))
    process.stdin.close()
    rest = process.stdout.read().splitlines()
    if process.wait():
        raise SystemExit(f"live failed with status {process.returncode}")
    lines += rest
    return {
        "minutes": args.minutes,
        "seconds": round(clock() - start, 1),
        "utterances": count,
        "lines": len(lines),
        "lines_that_differ": sum(line.strip() != lines[0].strip() for line in lines),
        "resident_mb": [round(size / 1e6) for size in resident],
    }


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most, in seconds."""
    if not values:
        return {}
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = {"demo": demo, "pace": pace, "left": left, "draft": draft, "replay": replay}
    parser.add_argument("job", choices=sorted(jobs))
    parser.add_argument("--size", choices=("e2b", "e4b", "12b", "tiny"), default="e2b")
    parser.add_argument("--text-type", default="q4_0")
    parser.add_argument("--mmproj-type", default="bf16")
    parser.add_argument("--pair", type=Path, nargs=2, metavar="GGUF")
    parser.add_argument("--models", type=Path, default=Path.home() / ".cache" / "gemma-audio" / "bench")
    parser.add_argument("--device", default="CPU", help="ggml's name of one")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=10.0, help="of an utterance")
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between utterances (pace)")
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--tokens-per-second", type=float, default=4.0, help="of speech, that are written")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=2.0, help="of a replay")
    parser.add_argument("--in-step", action="store_true", help="replay: wait for each line before the next")
    args = parser.parse_args()
    busy, start = quiet.busy_seconds(), clock()
    result = jobs[args.job](args)
    if busy is not None:
        others = (quiet.busy_seconds() or busy) - busy - sum(os.times()[:4])
        result["other_processes_cores"] = round(max(0.0, others) / (clock() - start), 3)
    print(json.dumps({"job": args.job, "machine": machine.about()} | result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
