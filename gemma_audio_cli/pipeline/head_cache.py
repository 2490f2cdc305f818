"""The heads that a model's word times are found with, looked for once and kept in the cache folder.

    CACHE/heads/3f9a....json        of one pair of files and one order of the prompt

A file that is not exactly as it was written counts as none. Where nothing can be kept, they are looked for
again in every run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.alignment import Heads
from gemma_audio_cli.decoding.calibration import USABLE, calibrate
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.pipeline.cache_folder import cache_folder, identity, read_object, write_object

_VERSION = 1
"""Counts up when heads are looked for in another way."""


def find_heads(engine: Engine, layout: prompt.Layout, files: Sequence[Path]) -> Heads | None:
    """The kept heads of the model in these files, else what calibration finds; None: it has none."""
    path = _path(files, audio_first=layout.audio_first)
    known, heads = _read(path, engine)
    if not known:
        heads = calibrate(engine, layout)
        if path is not None:
            write_object(path, asdict(heads or Heads((), 0.0, 0.0)))
    return heads


def kept_heads(files: Sequence[Path], *, audio_first: bool = False) -> tuple[bool, Heads | None]:
    """Is it known whether the model has heads that follow speech? And which they are."""
    return _read(_path(files, audio_first=audio_first))


def _path(files: Sequence[Path], *, audio_first: bool) -> Path | None:
    """The name says which files, and which order of the prompt."""
    try:
        known = f"{_VERSION} {audio_first} {identity(files)}"
    except OSError:
        return None
    return cache_folder() / "heads" / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.json"


def _read(path: Path | None, engine: Engine | None = None) -> tuple[bool, Heads | None]:
    """As `kept_heads`; with an engine, heads that it does not have count as damage."""
    if path is None:
        return False, None
    value = read_object(path)
    try:
        places = tuple((int(layer), int(head)) for layer, head in value["places"])
        offset, error = float(value["offset"]), float(value["error"])
    except (ValueError, TypeError, KeyError, OverflowError):
        return False, None
    if not places:
        return True, None
    if not (math.isfinite(offset) and abs(offset) < 10 and 0 <= error <= USABLE):
        return False, None
    if engine is not None:
        layers = engine.layers
        for layer, head in places:
            if not 0 <= layer < len(layers) or not 0 <= head < layers[layer].n_head or layers[layer].window:
                return False, None
    return True, Heads(places, offset, error)
