"""The answer to one question behind what a sequence has heard: free, held to a grammar, or one of choices."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from gemma_audio_cli.decoding.guards import Attempt, judged, repeats
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder, decode, end_token, logprob
from gemma_audio_cli.decoding.shape import Shape
from gemma_audio_cli.engine.structs import Input
from gemma_audio_cli.transcript import FLAG_MISFIT, FLAG_REPETITION, FLAG_THINKING, FLAG_TRUNCATED, Answer

Answering = Generator[str, None, tuple[Answer, tuple[int, ...]]]
"""Text as it is decoded; at the end the answer and its tokens."""


def answering(decoder: SequenceDecoder, options: DecodeOptions, sound: Sequence[Input] = ()) -> Answering:
    """The answer to what the decoder has heard and this last sound, in the shape of the options."""
    shape = options.shape
    if shape is not None and shape.choices:
        answer, tokens = _choose(decoder, shape.choices, sound)
        yield answer.text
        return answer, tokens
    reply = yield from _decoded(decoder, options, sound)
    flags, text = judged(reply, options.guards).flags, reply.text
    if shape is not None and reply.complete:
        try:
            text = shape.checked(text)
        except ValueError:
            flags |= {FLAG_MISFIT}
    answer = Answer(text, len(reply.tokens), reply.logprob, reply.complete, tuple(sorted(flags)))
    return answer, reply.tokens


def in_shape(attempt: Attempt, shape: Shape) -> Attempt:
    """The answer as its shape has it; one that is not whole or does not fit has no text."""
    if not attempt.flags & {FLAG_TRUNCATED, FLAG_REPETITION, FLAG_THINKING}:
        try:
            return replace(attempt, text=shape.checked(attempt.text))
        except ValueError:
            attempt = replace(attempt, flags=attempt.flags | {FLAG_MISFIT})
    return replace(attempt, text="")


def _decoded(
    decoder: SequenceDecoder, options: DecodeOptions, sound: Sequence[Input]
) -> Generator[str, None, Reply]:
    """An answer that is spent on a thought is tried again without one; a grammar has no place for any."""
    sampler = options.sampler
    if options.shape is not None:
        sampler = replace(sampler, grammar=options.shape.grammar)
        if options.shape.schema is not None:
            return (yield from _whole(decoder, options, options.shape, sound))
    tries = (True, False) if options.shape is None else (False,)
    for thinking in tries:
        decoder.begin(sound, budget=options.max_tokens, sampler=sampler, thinking=thinking)
        sound = ()
        shown = 0
        while decoder.running or len(decoder.text) > shown:
            if len(decoder.text) > shown:
                yield decoder.text[shown:]
                shown = len(decoder.text)
            decode([decoder], pause=lambda: True)
        reply = decoder.reply()
        if shown or not reply.thinking:
            break
        decoder.rewind_answer()
    return reply


def _whole(
    decoder: SequenceDecoder,
    options: DecodeOptions,
    shape: Shape,
    sound: Sequence[Input],
) -> Generator[str, None, Reply]:
    """An answer that counts only as a whole, in one piece. One that ran into a loop is tried again, warmer;
    where the shape can be tighter that follows, also after an answer that was cut. The last try's loops end
    where the tighter shape ends them.
    """
    guards, base, warmth = options.guards, options.sampler, 0
    while True:
        last = warmth + 1 >= len(guards.attempts)
        may_loop = last and shape.tighter is not None
        held_to = shape.tighter if shape.tighter is not None and warmth else shape
        warm = max(base.temperature, guards.attempts[warmth])
        seed = (base.seed + warmth) % (1 << 32)
        sampler = replace(base, temperature=warm, seed=seed, grammar=held_to.grammar)
        decoder.begin(sound, budget=options.max_tokens, sampler=sampler, thinking=False, may_loop=may_loop)
        sound = ()
        decode([decoder])
        reply = decoder.reply()
        if last or reply.complete or not (reply.looping or shape.tighter is not None):
            break
        decoder.rewind_answer()
        warmth += 1
    if may_loop and repeats(reply.tokens, math.inf, guards):
        reply = replace(reply, looping=True)
    yield reply.text
    return reply


def _choose(
    decoder: SequenceDecoder, choices: Sequence[str], sound: Sequence[Input]
) -> tuple[Answer, tuple[int, ...]]:
    """The likeliest choice. Each is scored whole, its end included: log p(choice) = sum of log p(token | what
    is before it); probabilities are those among the choices.
    """
    engine, session, seq = decoder.engine, decoder.session, decoder.seq
    start = decoder.ask_only(sound)
    first = session.logits()
    end = end_token(engine)
    spelled, scores = [], []
    for choice in choices:
        tokens = engine.tokenize(choice)
        session.forward([Input(seq, tokens=tokens, n_logits=len(tokens))])
        rows = [first, *(session.logits(row) for row in range(len(tokens)))]
        session.rewind(start, seq=seq)
        spelled.append(tuple(tokens))
        scores.append(sum(logprob(row, token) for row, token in zip(rows, [*tokens, end], strict=True)))
    likelihood = np.exp(np.array(scores) - max(scores))
    shares = likelihood / likelihood.sum()
    order = sorted(range(len(choices)), key=lambda index: (-shares[index], index))
    best = order[0]
    mean = float(scores[best] / (len(spelled[best]) + 1))
    found = tuple((choices[index], float(shares[index])) for index in order)
    return Answer(choices[best], len(spelled[best]), mean, True, (), found), spelled[best]
