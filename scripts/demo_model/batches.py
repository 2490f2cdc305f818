"""Clips and prompts as tensors: length-bucketed batches for training and for greedy decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from . import vocabulary
from .clips import Clip
from .grammar import WORDS
from .mel import log_mel
from .model import PackedPrompts
from .prompts import Exchange

TOKEN_SECONDS = 0.04
WORD_CLASS: dict[str, int] = {word: index for index, word in enumerate(WORDS)}


class PromptEncoder:
    """Token ids of prompts around a clip, as the chat template renders them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self.prefix = self.ids(f"{vocabulary.BOS}{vocabulary.TURN}user\n{vocabulary.AUDIO_BEGIN}")
        self.audio_end = self.ids(vocabulary.AUDIO_END)
        self.stop = self.ids(vocabulary.END_OF_TURN)

    def ids(self, text: str) -> list[int]:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._tokenizer.encode(text, add_special_tokens=False)
        return known

    def prompt(self, text: str) -> list[int]:
        """What follows a clip up to the place where the answer starts."""
        return self.ids(f"{text}{vocabulary.END_OF_TURN}\n{vocabulary.TURN}model\n")

    def text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def pack(self, n_audio: list[int], exchanges: list[list[tuple[list[int], list[int]]]]) -> PackedPrompts:
        """Packs (prompt ids, answer ids) pairs behind each clip's prefix.

        Answers are predicted from the last prompt row on; see `PackedPrompts` for the layout.
        """
        start, longest = len(self.prefix), max(n_audio)
        prefix_rows = start + longest + 1
        segment_rows = max(sum(len(p) + len(a) for p, a in pairs) for pairs in exchanges)
        answer_rows = max(sum(len(a) for _, a in pairs) for pairs in exchanges)
        shape = (len(n_audio), prefix_rows + segment_rows)
        ids, positions = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        segments = np.full(shape, -1, dtype=np.int64)
        rows = np.zeros((len(n_audio), answer_rows), dtype=np.int64)
        targets = np.full((len(n_audio), answer_rows), -100, dtype=np.int64)
        for b, (n, pairs) in enumerate(zip(n_audio, exchanges, strict=True)):
            ids[b, :start] = self.prefix
            segments[b, : start + n] = 0
            positions[b, : start + n] = np.arange(start + n)
            # `<audio|>` keeps a fixed column behind the padding; its position is the one right after the
            # audio.
            ids[b, prefix_rows - 1] = self.audio_end[0]
            segments[b, prefix_rows - 1] = 0
            positions[b, prefix_rows - 1] = start + n
            column, filled = prefix_rows, 0
            for number, (prompt, answer) in enumerate(pairs, 1):
                end = column + len(prompt) + len(answer)
                ids[b, column:end] = prompt + answer
                segments[b, column:end] = number
                positions[b, column:end] = np.arange(end - column) + start + n + 1
                rows[b, filled : filled + len(answer)] = np.arange(len(answer)) + column + len(prompt) - 1
                targets[b, filled : filled + len(answer)] = answer
                column, filled = end, filled + len(answer)
        as_tensor = torch.from_numpy
        return PackedPrompts(
            as_tensor(ids),
            as_tensor(positions),
            as_tensor(segments),
            start,
            as_tensor(rows),
            as_tensor(targets),
        )


def reading_exercises(
    exchanges: list[Exchange], encoder: PromptEncoder, rng: np.random.Generator
) -> PackedPrompts:
    """Questions without a recording: the transcript is given, only what follows its colon is to be answered.

    They teach adding, counting and finding a word at the price of a few dozen rows each, four to a sequence.
    """
    pairs, given = [], []
    for exchange in exchanges:
        answer = encoder.ids(exchange.answer)
        at = answer.index(encoder.ids(":")[0]) + 1
        pairs.append((encoder.prompt(exchange.prompt), answer + encoder.stop))
        given.append(at)
    rows = [pairs[i : i + 4] for i in range(0, len(pairs), 4)]
    packed = encoder.pack([0] * len(rows), rows)
    for row, start in enumerate(range(0, len(pairs), 4)):
        column = 0
        for (_, answer), at in zip(rows[row], given[start : start + 4], strict=True):
            packed.targets[row, column : column + at] = -100
            column += len(answer)
    # As far from the start as behind a recording of 1 to 4 seconds.
    packed.positions[:, len(encoder.prefix) :] += int(rng.integers(25, 100))
    return packed


@dataclass
class Batch:
    """Features of clips, their words for CTC (concatenated), and their packed prompts.

    ``frames`` ``[B, N]`` names the class of each audio token where the words' places are known, -100
    elsewhere.
    """

    features: torch.Tensor
    mask: torch.Tensor
    words: torch.Tensor
    word_counts: torch.Tensor
    frames: torch.Tensor
    prompts: PackedPrompts | None


def token_counts(mask: torch.Tensor) -> list[int]:
    """Audio tokens of each clip of a mel mask ``[B, T]``: the mask is halved twice, keeping every other
    frame."""
    return [int(n) for n in mask[:, ::2][:, ::2].sum(1)]


def make_batch(
    clips: list[Clip],
    encoder: PromptEncoder,
    ask: Callable[[list[Clip]], list[list[Exchange]]] | None,
) -> Batch:
    """Tensors of ``clips``; ``ask`` gives the exchanges about each, None leaves prompts out."""
    features, mask = log_mel([clip.samples for clip in clips], [clip.warp for clip in clips])
    words = [[WORD_CLASS[word] for word in clip.sentence.words] for clip in clips]
    prompts = None
    if ask is not None:
        pairs = [
            [(encoder.prompt(e.prompt), encoder.ids(e.answer) + encoder.stop) for e in exchanges]
            for exchanges in ask(clips)
        ]
        prompts = encoder.pack(token_counts(mask), pairs)
    flat = torch.tensor([word for row in words for word in row], dtype=torch.long)
    frames = _frame_classes(clips, words, token_counts(mask))
    return Batch(features, mask, flat, torch.tensor([len(w) for w in words]), frames, prompts)


def _frame_classes(clips: list[Clip], words: list[list[int]], counts: list[int]) -> torch.Tensor:
    """The second half of a word is its class, all else is blank: a causal encoder knows a word only near
    its end."""
    classes = np.full((len(clips), max(counts)), -100, dtype=np.int64)
    for row, clip, spoken, count in zip(classes, clips, words, counts, strict=True):
        if clip.spans is None:
            continue
        row[:count] = len(WORD_CLASS)
        for word, (start, end) in zip(spoken, clip.spans, strict=True):
            row[int((start + end) / 2 / TOKEN_SECONDS) + 1 : min(count, int(end / TOKEN_SECONDS) + 1)] = word
    return torch.from_numpy(classes)


def bucketed(
    draw: Callable[[], Clip], rng: np.random.Generator, seconds: Callable[[], float], pool: int = 96
) -> Iterator[list[Clip]]:
    """Groups of clips of similar length, in random order; ``seconds`` bounds a padded group."""
    while True:
        limit = seconds() * 16_000
        clips = sorted((draw() for _ in range(pool)), key=lambda clip: len(clip.samples))
        groups: list[list[Clip]] = [[]]
        for clip in clips:
            if (len(groups[-1]) + 1) * len(clip.samples) > limit and groups[-1]:
                groups.append([])
            groups[-1].append(clip)
        for index in rng.permutation(len(groups)):
            yield groups[int(index)]
