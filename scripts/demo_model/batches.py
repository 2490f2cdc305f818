"""Clips and prompts as tensors: length-bucketed batches for training and for greedy decoding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from . import vocabulary
from .grammar import WORDS
from .mel import log_mel
from .model import PackedPrompts
from .prompts import Exchange

if TYPE_CHECKING:
    from .clips import Clip

TOKEN_SECONDS = 0.04
WORD_CLASS: dict[str, int] = {word: index for index, word in enumerate(WORDS)}


@dataclass(frozen=True)
class Asked:
    """One exchange as token ids: what stands before clip number ``clip``, what stands behind it, and the
    answer with its stop, of which the first ``given`` tokens are not to be predicted."""

    clip: int
    before: list[int]
    behind: list[int]
    answer: list[int]
    given: int = 0


class PromptEncoder:
    """Token ids of prompts around a clip, as the chat template renders them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self.stop = self.ids(vocabulary.END_OF_TURN)

    def ids(self, text: str) -> list[int]:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._tokenizer.encode(text, add_special_tokens=False)
        return known

    def around(self, prompt: str, text_first: bool) -> tuple[list[int], list[int]]:
        """What stands before a clip, up to ``<|audio>``, and behind it, from ``<audio|>`` to where the
        answer starts. The instruction stands on one side or the other."""
        head, tail = (prompt, "") if text_first else ("", prompt)
        before = f"{vocabulary.BOS}{vocabulary.TURN}user\n{head}{vocabulary.AUDIO_BEGIN}"
        behind = f"{vocabulary.AUDIO_END}{tail}{vocabulary.END_OF_TURN}\n{vocabulary.TURN}model\n"
        return self.ids(before), self.ids(behind)

    def asked(self, clip: int, exchange: Exchange, text_first: bool) -> Asked:
        return Asked(clip, *self.around(exchange.prompt, text_first), self.ids(exchange.answer) + self.stop)

    def text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def pack(n_audio: list[int], asked: list[Asked], gap: int = 0) -> PackedPrompts:
    """Packs exchanges about clips of ``n_audio`` audio tokens: those about one clip that begin alike share a
    row and so the work on the clip. With audio first all do; with the instruction first the audio's rows
    depend on it, so only the same instruction shares.

    Rows are in order of appearance. Answers are predicted from the last prompt column on; see
    `PackedPrompts` for the layout. ``gap`` positions are left free where an absent clip would be.
    """
    groups: dict[tuple[int, tuple[int, ...]], list[Asked]] = defaultdict(list)
    for one in asked:
        groups[one.clip, tuple(one.before)].append(one)
    lengths = [
        len(before) + n_audio[clip] + sum(len(one.behind) + len(one.answer) for one in group)
        for (clip, before), group in groups.items()
    ]
    answers = [sum(len(one.answer) for one in group) for group in groups.values()]
    shape = (len(groups), max(lengths))
    ids, positions = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    segments, audio = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    rows = np.zeros((len(groups), max(answers)), dtype=np.int64)
    targets = np.full(rows.shape, -100, dtype=np.int64)
    for row, ((clip, before), group) in enumerate(groups.items()):
        start, count = len(before), n_audio[clip]
        prefix = start + count
        ids[row, :start] = before
        audio[row, start:prefix] = np.arange(count)
        positions[row, :prefix] = np.arange(prefix)
        segments[row, :prefix] = 0
        column, filled = prefix, 0
        for number, one in enumerate(group, 1):
            behind, answer = len(one.behind), len(one.answer)
            end, last = column + behind + answer, filled + answer
            ids[row, column:end] = one.behind + one.answer
            segments[row, column:end] = number
            positions[row, column:end] = np.arange(behind + answer) + prefix + gap
            rows[row, filled:last] = np.arange(answer) + column + behind - 1
            targets[row, filled + one.given : last] = one.answer[one.given :]
            column, filled = end, last
    clips = np.array([clip for clip, _ in groups], dtype=np.int64)
    arrays = (ids, positions, segments, audio, clips, rows, targets)
    return PackedPrompts(*(torch.from_numpy(array) for array in arrays))


def reading_exercises(
    exchanges: list[Exchange], encoder: PromptEncoder, rng: np.random.Generator, text_first: float
) -> PackedPrompts:
    """Questions without a recording: the transcript is given, only what follows its colon is to be answered.

    They teach adding, counting and finding a word at the price of a few dozen columns each. ``text_first``
    is the share of those whose instruction stands where it does before a clip.
    """
    asked = []
    for number, exchange in enumerate(exchanges):
        one = encoder.asked(number, exchange, bool(rng.random() < text_first))
        asked.append(replace(one, given=one.answer.index(encoder.ids(":")[0]) + 1))
    # As far from the start as behind a recording of 1 to 4 seconds.
    return pack([0] * len(asked), asked, int(rng.integers(25, 100)))


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
    ask: Callable[[list[Clip]], list[list[tuple[Exchange, bool]]]] | None,
) -> Batch:
    """Tensors of ``clips``; ``ask`` gives the exchanges about each and whether the instruction comes first,
    None leaves prompts out."""
    features, mask = log_mel([clip.samples for clip in clips], [clip.warp for clip in clips])
    words = [[WORD_CLASS[word] for word in clip.sentence.words] for clip in clips]
    prompts = None
    if ask is not None:
        asked = [
            encoder.asked(number, exchange, text_first)
            for number, exchanges in enumerate(ask(clips))
            for exchange, text_first in exchanges
        ]
        prompts = pack(token_counts(mask), asked)
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
