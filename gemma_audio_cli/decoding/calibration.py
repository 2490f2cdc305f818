"""Which attention heads of a model follow speech: found with speech whose word times are known.

    six recorded digits ──► other strings of them (known joints) ──► each global layer's attention
        ──► each head's error ──► the heads that are best together, their offset, what error is left

The digits are those of the bundled sample, separate takes of one speaker that were put together, so the
joints are known to the sample. The transcript is given to the model, not asked of it: a model that would
write the digits otherwise can be calibrated too. Sliding layers are left out: they do not see all of a
window of 30 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.alignment import Heads, word_ends
from gemma_audio_cli.decoding.spoken import spoken_words
from gemma_audio_cli.engine.audio_stream import encode
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import Input, SessionOptions
from gemma_audio_cli.sound import SAMPLE_RATE, Floats

SAMPLE = Path(__file__).resolve().parents[1] / "demo" / "sample.wav"
JOINTS = (
    ("4", 0.2, 0.6635), ("1", 0.7835, 1.31375), ("7", 1.46375, 1.848375), ("3", 1.948375, 2.461),
    ("9", 2.641, 3.222625), ("2", 3.342625, 3.841375),
)  # fmt: skip
"""Each word of the sample, where it starts and where it ends, in seconds."""
USABLE = 0.1
"""Seconds: heads that miss the words' ends by more, on average, are of no use."""
_STRINGS = 8
_SPEEDS = (1.0, 0.84, 1.18, 0.92, 1.09)
_NOISE = 0.001
_MOST_HEADS = 6
_NEARLY = 1.2
"""Heads of lower layers are taken if their error is at most so much of the least one."""
_LAYERS_AT_ONCE = 8
"""Attention of so many layers is held in memory at a time."""


@dataclass(frozen=True)
class Utterance:
    """Speech with known word times."""

    samples: Floats
    words: tuple[str, ...]
    starts: tuple[float, ...]
    """Seconds."""
    ends: tuple[float, ...]


def utterances(count: int = _STRINGS, seed: int = 0) -> list[Utterance]:
    """Strings of the sample's six words in other orders, with pauses of 0 to 0.3 s between them; each is
    said by another voice, as faster or slower playing makes them, in faint noise.
    """
    import soundfile
    import soxr

    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    assert rate == SAMPLE_RATE
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        speed = _SPEEDS[number % len(_SPEEDS)]
        takes = {
            word: soxr.resample(samples[round(a * rate) : round(b * rate)], rate * speed, rate)
            for word, a, b in JOINTS
        }
        words = tuple(str(word) for word in rng.permutation([word for word, _, _ in JOINTS]))
        parts, starts, ends = [_silence(rng, 0.1, 0.4)], [], []
        for word in words:
            starts.append(sum(map(len, parts)) / rate)
            parts.append(takes[word])
            ends.append(sum(map(len, parts)) / rate)
            parts.append(_silence(rng, 0.0, 0.3))
        whole = np.concatenate(parts)
        whole += rng.normal(0, _NOISE, len(whole)).astype(np.float32)
        found.append(Utterance(whole, words, tuple(starts), tuple(ends)))
    return found


def _silence(rng: np.random.Generator, least: float, most: float) -> Floats:
    return np.zeros(round(rng.uniform(least, most) * SAMPLE_RATE), dtype=np.float32)


def calibrate(engine: Engine, layout: prompt.Layout, strings: Sequence[Utterance] = ()) -> Heads | None:
    """The heads of this model that follow speech; None: none of them does, to `USABLE` seconds.

    Costs a prefill of each string (of some 5 s) in all layers up to the last global one.
    """
    strings = strings or utterances()
    layers = [index for index, layer in enumerate(engine.layers) if not layer.window]
    seen = [_attention(engine, layout, string, layers) for string in strings]
    heads = [(layer, head) for layer in layers for head in range(engine.layers[layer].n_head)]
    alone = [_tried([index], seen, strings).error for index in range(len(heads))]
    found = [
        _best([index for index, (layer, _) in enumerate(heads) if layer <= deepest], alone, seen, strings)
        for deepest in layers
    ]
    if not found:
        return None
    # Looking costs all layers up to the deepest head's: where the lower ones do nearly as well, they do.
    least = min(trial.error for trial in found)
    trial = next(trial for trial in found if trial.error <= least * _NEARLY)
    if trial.error > USABLE:
        return None
    return Heads(tuple(heads[index] for index in trial.heads), trial.offset, trial.error)


def _best(
    among: Sequence[int], alone: Sequence[float], seen: Sequence[_Seen], strings: Sequence[Utterance]
) -> _Trial:
    """As many of the heads that are best by themselves as are best together."""
    order = sorted(among, key=lambda index: alone[index])[:_MOST_HEADS]
    trials = [_tried(sorted(order[:count]), seen, strings) for count in range(1, len(order) + 1)]
    return min(trials, key=lambda trial: trial.error)


_Seen = tuple[Floats, list[int]]
"""Of one string: the attention of every head, [heads, rows, places]; the row that wrote each word's end."""


@dataclass(frozen=True)
class _Trial:
    heads: Sequence[int]
    offset: float
    error: float
    """Mean distance from the true word ends, no more than half a second each."""


def _attention(engine: Engine, layout: prompt.Layout, string: Utterance, layers: Sequence[int]) -> _Seen:
    built = prompt.build(engine, prompt.transcription("en"), layout=layout)
    tokens = engine.tokenize(" ".join(string.words))
    words = spoken_words(engine, tokens, [0.0] * len(tokens))
    (clip,) = encode(engine, [string.samples])
    try:
        n_ctx = built.positions(len(clip), len(tokens)) + 1
        session = engine.session(SessionOptions(n_ctx=n_ctx))
        try:
            head = Input(0, tokens=built.head)
            session.forward([head, *built.sound([clip])])
            keys = range(session.length() - len(clip), session.length())
            found = _rows(session, [*built.tail, *tokens], layers, keys)
        finally:
            session.close()
    finally:
        clip.close()
    before = len(built.tail) - 1  # the row that writes the first token
    return found[:, before:-1], [word.last for word in words]


def _rows(session: Session, tokens: Sequence[int], layers: Sequence[int], keys: range) -> Floats:
    parts: list[Floats] = []
    for at in range(0, len(layers), _LAYERS_AT_ONCE):
        parts += session.attention(tokens, layers[at : at + _LAYERS_AT_ONCE], keys)
    return np.concatenate(parts)


def _tried(heads: Sequence[int], seen: Sequence[_Seen], strings: Sequence[Utterance]) -> _Trial:
    """These heads together, on all strings."""
    late: list[float] = []
    for (weights, rows), string in zip(seen, strings, strict=True):
        found = word_ends(weights[list(heads)].mean(axis=0), rows, 0.0)
        late += [true - end for true, end in zip(string.ends, found, strict=True)]
    offset = float(np.median(late))
    return _Trial(heads, offset, float(np.minimum(np.abs(np.array(late) - offset), 0.5).mean()))
