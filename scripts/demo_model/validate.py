"""Greedy decoding in PyTorch and the figures logged during training. The shipped figures come from the
engine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch

from .batches import Asked, PromptEncoder, pack, token_counts
from .clips import Clip, Takes, join
from .grammar import WORDS, Sentence, random_digits, word_errors
from .mel import log_mel
from .model import DemoModel
from .prompts import ASR_ENGLISH, ASR_ENGLISH_OLD, Exchange, is_right, random_question
from .voices import SpeechCache


def digit_string(takes: Takes, speaker: str, low: int, high: int, rng: np.random.Generator) -> Clip:
    """An unprocessed string of one speaker's digits with gaps of 20 to 250 ms."""
    digits = random_digits(rng, low, high)
    pieces = [takes[speaker][digit][int(rng.integers(len(takes[speaker][digit])))] for digit in digits]
    gaps = [0.1, *rng.uniform(0.02, 0.25, size=len(digits) - 1), 0.2]
    return Clip(join(pieces, gaps), Sentence(" ".join(digits), "digits"))


def command_clips(cache: SpeechCache, count: int) -> list[Clip]:
    """The first ``count`` commands of ``cache``, with a little silence around."""
    lines = [line for line in cache.lines if line.kind == "command"][:count]
    return [Clip(join([cache.audio(line)], [0.1, 0.2]), Sentence(line.text, "command")) for line in lines]


@torch.no_grad()
def hear(model: DemoModel, clips: list[Clip], batch: int = 32) -> list[str]:
    """What the CTC head alone would transcribe."""
    heard: list[str] = [""] * len(clips)
    for group in _by_length(clips, batch):
        features, mask = log_mel([clips[index].samples for index in group])
        tokens, _ = model.encode(features, mask)
        best = model.word_log_probs(tokens).argmax(-1)
        for index, count, row in zip(group, token_counts(mask), best, strict=True):
            classes = torch.unique_consecutive(row[:count]).tolist()
            heard[index] = " ".join(WORDS[c] for c in classes if c < len(WORDS))
    return heard


@torch.no_grad()
def answer(
    model: DemoModel,
    encoder: PromptEncoder,
    clips: list[Clip],
    exchanges: list[Exchange],
    text_first: bool,
    limit: int = 64,
    batch: int = 32,
) -> list[str]:
    """Greedy answers to one prompt about each clip, which stands before it or behind it.

    The expected answer serves as a draft: one pass tells how far the model agrees with it, and only where it
    does not another follows. What comes out is what greedy decoding gives.
    """
    answers: list[str] = [""] * len(clips)
    for group in _by_length(clips, batch):
        features, mask = log_mel([clips[index].samples for index in group])
        tokens, _ = model.encode(features, mask)
        counts = token_counts(mask)
        given: dict[int, list[int]] = {at: [] for at in range(len(group))}
        drafts = {at: encoder.ids(exchanges[index].answer) for at, index in enumerate(group)}
        going = list(given)
        while going:
            asked = [
                Asked(
                    number,
                    *encoder.around(exchanges[group[at]].prompt, text_first),
                    [*given[at], *drafts[at], encoder.stop[0]],
                )
                for number, at in enumerate(going)
            ]
            longest = max(counts[at] for at in going)
            logits = model.decode(tokens[going, :longest], pack([counts[at] for at in going], asked))
            for at, row in zip(list(going), logits.argmax(-1).tolist(), strict=True):
                drafts[at], ended = _follow(row, given[at], drafts[at], encoder.stop[0])
                if ended or len(given[at]) >= limit:
                    going.remove(at)
        for at, index in enumerate(group):
            answers[index] = encoder.text(given[at][:limit])
    return answers


def _follow(best: list[int], given: list[int], draft: list[int], stop: int) -> tuple[list[int], bool]:
    """Appends to ``given`` what greedy decoding writes as long as it agrees with ``draft``, and one token
    more; ``best`` are the best tokens behind ``given`` and ``draft``. Returns the rest of the draft and
    whether the answer has ended."""
    for used, guess in enumerate([*draft, stop]):
        token = best[len(given)]
        if token in (stop, 1):
            return [], True
        given.append(token)
        if token != guess:
            return draft[used + 1 :], False
    raise AssertionError("a stop ends every draft")


def _by_length(clips: list[Clip], batch: int) -> list[list[int]]:
    """Indices of ``clips`` in groups of similar length."""
    order = sorted(range(len(clips)), key=lambda index: len(clips[index].samples))
    return [order[start : start + batch] for start in range(0, len(order), batch)]


@dataclass
class ValidationSet:
    """Clips the model is not trained on: strings by group of speakers, commands, and questions about some
    of them."""

    strings: dict[str, list[Clip]]
    commands: list[Clip]
    questions: list[tuple[Clip, Exchange]]

    @classmethod
    def build(cls, known: Takes, unknown: Takes, cache: SpeechCache, seed: int = 11) -> ValidationSet:
        """``unknown`` holds the left-out speaker, if there is one."""
        rng = np.random.default_rng(seed)
        strings = {"known": [digit_string(known, name, 3, 7, rng) for name in known for _ in range(10)]}
        if unknown:
            strings["left out"] = [
                digit_string(unknown, name, 3, 7, rng) for name in unknown for _ in range(40)
            ]
        spoken = command_clips(cache, 48)
        asked = [*strings["known"], *spoken[:24]]
        return cls(strings, spoken, [(clip, random_question(clip.sentence, rng)) for clip in asked])

    def measure(self, model: DemoModel, encoder: PromptEncoder, ask: bool = True) -> dict[str, float]:
        """Word error rates of CTC alone, and of the decoder and the share of right answers by kind with the
        instruction on either side of the clip, in percent."""
        figures: dict[str, float] = {}
        transcripts = {**self.strings, "commands": self.commands}
        for name, clips in transcripts.items():
            figures[f"ctc {name}"] = _error_rate(clips, hear(model, clips))
        for text_first in (True, False) if ask else ():
            order = "text first" if text_first else "audio first"
            for name, clips in transcripts.items():
                wanted = [
                    Exchange("transcribe", ASR_ENGLISH if at % 2 else ASR_ENGLISH_OLD, clip.sentence.text)
                    for at, clip in enumerate(clips)
                ]
                answers = answer(model, encoder, clips, wanted, text_first, 20)
                figures[f"wer {name}, {order}"] = _error_rate(clips, answers)
            clips, asked = [clip for clip, _ in self.questions], [exchange for _, exchange in self.questions]
            answers = answer(model, encoder, clips, asked, text_first)
            right: dict[str, list[bool]] = defaultdict(list)
            for (_, exchange), text in zip(self.questions, answers, strict=True):
                right[exchange.kind].append(is_right(exchange, text))
            figures.update(
                {
                    f"right {kind}, {order}": 100 * float(np.mean(marks))
                    for kind, marks in sorted(right.items())
                }
            )
        return figures


def _error_rate(clips: list[Clip], texts: list[str]) -> float:
    """Word errors in percent of the words spoken."""
    errors = sum(word_errors(c.sentence.words, text.split()) for c, text in zip(clips, texts, strict=True))
    return 100 * errors / sum(len(c.sentence.words) for c in clips)
