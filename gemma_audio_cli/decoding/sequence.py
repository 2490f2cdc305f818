"""The decode loop: one answer of one sequence, from prompt to text. Files, questions and live all use it.

    prefill(sound)                           any number of times; stays in the K/V cache
    begin(sound, draft) ──► prompt's tail, draft checked ──► first token
    decode([decoders]) ──► tokens ──► text filter, loop guard        several sequences, one batch a step
    reply() ──► Reply

A draft is a guess at the answer. It is checked in one batch: its token i is right where the model, given what
is before it, would write the same one (as in speculative decoding, Leviathan et al. 2023, with greedy
choice). The longest right beginning is taken over for the price of a prefill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gemma_audio_cli.decoding.guards import GuardOptions, is_looping, repeats, without_loop
from gemma_audio_cli.decoding.prompt import Prompt
from gemma_audio_cli.decoding.spoken import Spoken, spoken_words
from gemma_audio_cli.decoding.text import TextFilter
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import Generation, Input, SamplerOptions
from gemma_audio_cli.sound import Floats


@dataclass(frozen=True)
class Reply:
    """What the model said."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    complete: bool
    """False: the budget, a loop or the caller ended the answer, not the model."""
    looping: bool = False
    """The answer ran into a loop, which is not part of the text."""
    accepted: int = 0
    """Tokens taken over from the draft."""
    thinking: bool = False
    """The answer ended in a thought that was never closed."""
    spoken: tuple[Spoken, ...] = ()
    """Its words, those of a loop too."""

    @property
    def logprob(self) -> float | None:
        """Mean log-probability; None where nothing was written."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None

    @property
    def truncated(self) -> bool:
        """The budget (or the caller) ended it."""
        return not self.complete and not self.looping


NOTHING = Reply("", (), (), True)


class SequenceDecoder:
    """Sequence `seq` of a session, with one prompt: what is heard, then the answer to it."""

    def __init__(
        self, engine: Engine, session: Session, prompt: Prompt, guards: GuardOptions, seq: int = 0
    ) -> None:
        self.engine, self.session, self.prompt, self.seq = engine, session, prompt, seq
        self._guards = guards
        self._has_head = False
        self._sound = 0  # positions behind the head
        self._clear()

    def _clear(self) -> None:
        self.text = ""
        """Of the answer, so far."""
        self.looping = self._may_loop = False
        self._tokens: list[int] = []
        self._logprobs: list[float] = []
        self._accepted = 0
        self._filter = TextFilter(self.engine)
        self._generation: Generation | None = None

    # -- the prompt --

    def reset(self) -> None:
        """Forget what was heard and said; the prompt's head stays."""
        self.session.rewind(len(self.prompt.head) if self._has_head else 0, seq=self.seq)
        self._sound = 0
        self._clear()

    def keep(self, n: int) -> None:
        """Forget all but the prompt's head and n positions behind it."""
        self.session.rewind(len(self.prompt.head) + n, seq=self.seq)
        self._sound = n
        self._clear()

    def rewind_answer(self) -> None:
        """Back to where the answer began: more can be heard."""
        self.session.rewind(len(self.prompt.head) + self._sound, seq=self.seq)
        self._clear()

    def copy_head(self, other: SequenceDecoder) -> None:
        """Take over the prompt's head from another sequence of the session, with the same prompt."""
        self.session.copy(other.seq, self.seq, len(self.prompt.head))
        self._has_head, self._sound = True, 0
        self._clear()

    def prefill(self, sound: Sequence[Input]) -> None:
        """Appends sound to the prompt. On failure nothing has changed."""
        inputs = self._with_head(sound)
        if inputs:
            self.session.forward(inputs)
        self._has_head = True
        self._sound += sum(map(_positions, sound))

    # -- the answer --

    def begin(
        self,
        sound: Sequence[Input] = (),
        *,
        budget: int,
        sampler: SamplerOptions | None = None,
        draft: Sequence[int] = (),
        ignore_end: bool = False,
        thinking: bool = True,
        may_loop: bool = False,
    ) -> None:
        """Appends the last of the sound and the prompt's tail, checks the draft, and writes the first token
        behind it. The answer may have `budget` tokens; without `thinking` it cannot open a thought. With
        `may_loop` loops are not cut off: a grammar ends them.
        """
        self._clear()
        self._may_loop = may_loop
        draft = draft[: budget - 1]
        tail = Input(self.seq, tokens=[*self.prompt.tail, *draft], n_logits=len(draft) + 1)
        self.session.forward([*self._with_head(sound), tail])
        self._has_head = True
        self._sound += sum(map(_positions, sound))
        sampler = replace(sampler or SamplerOptions(), text_only=True, no_thinking=not thinking)
        self.session.sampler(sampler, seq=self.seq)
        self._generation = generation = Generation(self.seq, 0, budget, ignore_end=ignore_end)
        for row in range(len(draft) + 1):
            token, logprob = self.session.sample(row, seq=self.seq)
            if self.engine.is_end(token) and not ignore_end:
                generation.stop = "end"
                return
            generation.next_token = token
            generation.n_max -= 1
            self._take(token, logprob)
            if row == len(draft) or token != draft[row]:
                break
            self._accepted += 1
        if self.looping:
            generation.stop = "caller"
        elif draft:
            # What the sequence holds of the draft beyond this token is wrong.
            end = len(self.prompt.head) + self._sound + len(self.prompt.tail) + len(self._tokens) - 1
            self.session.rewind(end, seq=self.seq)

    def ask_only(self, sound: Sequence[Input] = ()) -> int:
        """Appends the last of the sound and the prompt's tail, and gives the position where an answer begins.
        Its first token's logits are the session's.
        """
        self._clear()
        tail = Input(self.seq, tokens=self.prompt.tail, n_logits=1)
        self.session.forward([*self._with_head(sound), tail])
        self._has_head = True
        self._sound += sum(map(_positions, sound))
        return self.session.length(self.seq)

    @property
    def running(self) -> bool:
        """Is there an answer that has not ended?"""
        return self._generation is not None and self._generation.stop == "running"

    def reply(self, seconds: float | None = None) -> Reply:
        """The answer as it is. `seconds` of sound: an answer that is whole is also looked through for a
        phrase that nobody can have said that often in them.
        """
        looping = self.looping
        if seconds is not None and not self.running:
            looping = looping or repeats(self._tokens, seconds, self._guards)
        keep = without_loop(self._tokens, self._guards) if looping else len(self._tokens)
        text = TextFilter(self.engine)
        words = "".join([text.feed(token) for token in self._tokens[:keep]])
        thinking = text.in_thought
        words += text.finish()
        complete = self._generation is not None and self._generation.stop == "end"
        return Reply(
            words.strip(),
            tuple(self._tokens),
            tuple(self._logprobs),
            complete,
            looping,
            self._accepted,
            thinking,
            tuple(spoken_words(self.engine, self._tokens, self._logprobs)),
        )

    def attention(self, layers: Sequence[int]) -> list[Floats]:
        """Where the model looked in the sound when it wrote the answer: of each layer (ascending), float32
        [n_head, tokens of the answer, positions of the sound]. The K/V cache forgets the answer.
        """
        start = len(self.prompt.head)
        self.session.rewind(start + self._sound, seq=self.seq)
        tokens = [*self.prompt.tail, *self._tokens]
        rows = slice(len(self.prompt.tail) - 1, -1)  # each token was written by the row before it
        found = self.session.attention(tokens, layers, range(start, start + self._sound), self.seq)
        return [weights[:, rows] for weights in found]

    # -- steps --

    @property
    def generation(self) -> Generation:
        """For `decode`: what the engine counts."""
        assert self._generation is not None
        return self._generation

    def _take(self, token: int, logprob: float) -> None:
        self._tokens.append(token)
        self._logprobs.append(logprob)
        self.text = (self.text + self._filter.feed(token)).lstrip()
        self.looping = not self._may_loop and is_looping(self._tokens, self._guards)

    def _with_head(self, sound: Sequence[Input]) -> list[Input]:
        needed = bool(self.prompt.head) and not self._has_head
        head = [Input(self.seq, tokens=self.prompt.head)] if needed else []
        return [*head, *sound]


def decode(
    decoders: Sequence[SequenceDecoder],
    *,
    on_token: Callable[[SequenceDecoder], None] | None = None,
    stop: Callable[[], bool] | None = None,
    until_one_ends: bool = False,
    pause: Callable[[], bool] | None = None,
) -> None:
    """Decodes the running answers together, a token of each a step, until all have ended.

    `on_token` gets each decoder that has a new token. `stop` is asked after every token; True ends that
    answer. `until_one_ends` returns as soon as any has; `pause` is asked after every step, and True returns,
    to go on with another call.
    """
    running = [decoder for decoder in decoders if decoder.running]
    if not running:
        return

    def on_step(index: int, token: int, logprob: float) -> bool | None:
        decoder = running[index]
        decoder._take(token, logprob)
        if on_token is not None:
            on_token(decoder)
        if decoder.looping or (stop is not None and stop()):
            return False
        return None if pause is not None and pause() else True

    generations = [decoder.generation for decoder in running]
    running[0].session.generate(generations, on_step, return_on_stop=until_one_ends)


def likelihoods(
    decoders: Sequence[SequenceDecoder], sounds: Sequence[Sequence[Input]], tokens: Sequence[int]
) -> list[float]:
    """How likely each sequence, having heard its sound, finds this answer, its end included: the sum of
    log p(token | what is before it). All in one batch. The sequences are of one session; each is left where
    its answer would begin.
    """
    inputs = []
    for decoder, sound in zip(decoders, sounds, strict=True):
        decoder.reset()
        inputs += decoder._with_head(sound)
        tail = [*decoder.prompt.tail, *tokens]
        inputs.append(Input(decoder.seq, tokens=tail, n_logits=len(tokens) + 1))
    engine, session = decoders[0].engine, decoders[0].session
    session.forward(inputs)
    wanted, found = [*tokens, end_token(engine)], []
    for index, (decoder, sound) in enumerate(zip(decoders, sounds, strict=True)):
        first = index * len(wanted)
        rows = (session.logits(first + place) for place in range(len(wanted)))
        found.append(sum(logprob(row, token) for row, token in zip(rows, wanted, strict=True)))
        decoder._has_head, decoder._sound = True, sum(map(_positions, sound))
        decoder.rewind_answer()
    return found


def end_token(engine: Engine) -> int:
    """The token that ends an answer."""
    turn_end = engine.tokenize("<turn|>", special=True)
    return turn_end[0] if len(turn_end) == 1 and engine.is_end(turn_end[0]) else engine.info.token_eos


def logprob(row: Floats, token: int) -> float:
    """The log-probability of a token, given its row of logits, float32 [n_vocab]."""
    top = float(row.max())
    return float(row[token]) - top - float(np.log(np.exp(row - top, dtype=np.float64).sum()))


def _positions(item: Input) -> int:
    if item.audio is not None:
        return item.audio_range[1] if item.audio_range else len(item.audio)
    if item.embeddings is not None:
        return len(item.embeddings)
    return len(item.tokens or ())
