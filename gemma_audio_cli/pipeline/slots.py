"""How many windows to decode together: as many as still gain on this machine, with this model.

    memory ──► at most so many ──► a step of 1, 2, 4, 8, 16 answers, timed ──► the count ──► remembered

A step reads the same weights however many answers take part, so that more of them gain until the arithmetic
is the limit: on a laptop at 4, with matrix units at 16. What a window is answered does not depend on it.
Measured once for a model, a processor and a build, in a second or two; then a file in the cache folder knows.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gemma_audio_cli.backends.amx import cpu_flags, processor
from gemma_audio_cli.decoding.options import AUTO_SLOTS, DEFAULT_SLOTS, DecodeOptions
from gemma_audio_cli.engine._native import cpu_products
from gemma_audio_cli.engine.devices import devices
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import Generation, Input, SessionOptions, cache_size, clip_positions
from gemma_audio_cli.errors import OutOfMemoryError
from gemma_audio_cli.memory import memory
from gemma_audio_cli.pipeline.cache_folder import cache_folder, identity, read_object, write_object
from gemma_audio_cli.version import __version__

COUNTS = (1, 2, 4, 8, 16)
"""What is tried."""
GAIN = 1.1
"""Twice as many windows have to give this much more tokens a second."""
_STEPS = 2
"""For each count; the quickest counts, the first one also warms the device up."""
_SHARE = 0.25
"""Of the memory that is free, for K/V caches."""
_PROMPT_POSITIONS = 64
_DAYS = 30
"""After so many it is measured again: a machine may have been busy."""


@dataclass(frozen=True)
class Slots:
    """A count, and why."""

    count: int
    rates: tuple[tuple[int, float], ...] = ()
    """(windows together, tokens a second in all); none where nothing was measured."""
    measured_now: bool = False

    @property
    def reason(self) -> str:
        """For a person, in one line."""
        if not self.rates:
            return f"{self.count} windows together"
        told = ", ".join(f"{count}: {rate:.1f}" for count, rate in self.rates)
        when = "measured now" if self.measured_now else "measured before"
        return f"{self.count} windows together; {when}, tokens/s by {told}"


def chosen(engine: Engine, options: DecodeOptions, file: Path | None = None) -> Slots:
    """The number of slots for these options: that which they name, or the best one.

    file: where measurements are remembered; None: in the user's cache folder.
    """
    if options.slots != AUTO_SLOTS:
        return Slots(options.slots)
    most = affordable(engine, options)
    if most == 1:
        return Slots(1)
    file, key = file or cache_file(), _key(engine, most)
    if (known := _remembered(file, key)) is not None:
        return known
    try:
        rates = tuple(_rates(step_seconds(engine, most)))
    except OutOfMemoryError:  # a device that did not say how much it has
        return Slots(min(DEFAULT_SLOTS, most))
    found = Slots(best(dict(rates)), rates, measured_now=True)
    _remember(file, key, found)
    return found


def best(rates: Mapping[int, float]) -> int:
    """The largest count up to which each one gained over the one before; rates: tokens a second by count."""
    counts = sorted(rates)
    for count, more in pairwise(counts):
        if rates[more] < rates[count] * GAIN:
            return count
    return counts[-1]


def affordable(engine: Engine, options: DecodeOptions) -> int:
    """The most windows of `COUNTS` whose K/V caches a quarter of the free memory holds; 1 at least."""
    info, seconds = engine.info, options.max_seconds
    positions = clip_positions(seconds) + options.budget(seconds) + _PROMPT_POSITIONS
    # Keys and values in two bytes; those of a layer are no wider than the model.
    each = cache_size(positions, info.n_ctx_train) * info.n_layer_kv * info.n_embd * 2 * 2
    device = next((one for one in devices() if one.name == info.device and one.kind != "CPU"), None)
    free = device.memory_free if device is not None else memory().available
    if not free:
        return DEFAULT_SLOTS
    return max(count for count in COUNTS if count == 1 or count * each <= _SHARE * free)


def step_seconds(engine: Engine, most: int) -> Iterator[tuple[int, float]]:
    """Seconds of a step of 1, 2, 4 ... `most` answers."""
    token = max(engine.info.token_bos, 0)
    session = engine.session(SessionOptions(n_ctx=256, n_seq=most))
    try:
        session.forward([Input(seq, tokens=[token]) for seq in range(most)])
        for count in (one for one in COUNTS if one <= most):
            found = []
            for _ in range(_STEPS):
                answers = [Generation(seq, token, 1, ignore_end=True) for seq in range(count)]
                begin = time.perf_counter()
                session.generate(answers, lambda *_: True)
                found.append(time.perf_counter() - begin)
            yield count, min(found)
    finally:
        session.close()


def _rates(steps: Iterable[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Tokens a second; ends where more do not gain, as the rest would take the longest."""
    before = 0.0
    for count, seconds in steps:
        rate = count / max(seconds, 1e-9)
        yield count, rate
        if rate < before * GAIN:
            return
        before = rate


# ---- what is remembered ----------------------------------------------------------------------------


def cache_file() -> Path:
    """Where measurements are remembered."""
    return cache_folder() / "slots.json"


def _key(engine: Engine, most: int) -> str:
    """One word for all that the speed depends on."""
    parts = (
        __version__, identity([engine.text_path]), processor(cpu_flags()), cpu_products(), engine.info.device,
        engine.info.n_gpu_layers, os.cpu_count(), engine.threads, most,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _remembered(file: Path, key: str) -> Slots | None:
    try:
        entry = read_object(file)[key]
        count, age = int(entry["slots"]), time.time() - float(entry["time"])
        rates = tuple((int(n), float(rate)) for n, rate in entry["tokens_per_second"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Slots(count, rates) if count in COUNTS and 0 <= age < _DAYS * 86400 else None


def _remember(file: Path, key: str, found: Slots) -> None:
    """Beside what is known of other models; a file that cannot be written is no reason to stop."""
    entry = {"slots": found.count, "time": time.time(), "tokens_per_second": found.rates}
    write_object(file, read_object(file) | {key: entry})
