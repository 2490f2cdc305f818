"""One utterance, understood while it is spoken.

    push(samples) ──► encoder on the new frames ──► prefill of the new tokens      (state and K/V stay)
    partial()     ──► instruction, the last partial as a draft, decoding on ──► text so far; rewind
    finish()      ──► the last frames, instruction, draft, decoding on ──► the final text

It works because nothing in the model looks ahead: the conformer and the decoder both only look back, so what
was computed for the first second stands when the second one is heard. A draft is checked in one batch: its
token i is right where the model, given what is before it, would write the same one (as in speculative
decoding, Leviathan et al. 2023, with greedy choice); the longest right beginning is taken over for the price
of a prefill. The final text is that of `transcribe` on the same samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.engine import prompt
from gemma_audio_cli.engine.data import (
    SAMPLE_RATE,
    Generation,
    Input,
    SessionOptions,
    clip_positions,
    whole_blocks,
)
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.guards import GuardOptions, is_looping, without_loop
from gemma_audio_cli.engine.text import TextFilter

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """What the model says of the sound so far."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    accepted: int
    """Tokens taken over from the draft."""
    complete: bool
    """False: the budget, a loop or who asked ended the answer, not the model."""
    looping: bool = False
    """The answer ran into a loop, which is not part of the text."""

    @property
    def logprob(self) -> float | None:
        """Mean log-probability; None where nothing was written."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


_NOTHING = Heard("", (), (), 0, True)


class Incremental:
    """One sequence that hears utterances, one after the other, each up to `max_seconds` long."""

    def __init__(
        self,
        engine: Engine,
        pieces: Sequence[prompt.Piece],
        *,
        budget: Callable[[float], int],
        max_seconds: float,
        step_tokens: int = 13,
        guards: GuardOptions | None = None,
    ) -> None:
        """`pieces`: the prompt of one clip. `budget`: tokens an answer to so many seconds may have.

        `step_tokens`: sound is prefilled when so many tokens of 40 ms have come together: few enough that
        little is left when the speaker stops, enough that the weights are not read for a single row.
        """
        self._engine, self._budget = engine, budget
        self._guards = guards or GuardOptions()
        self._step = step_tokens
        self._head, self._tail = prompt.around_clip(pieces)
        words = len(self._head) + len(self._tail) + budget(max_seconds)
        n_ctx = min(words + clip_positions(max_seconds), engine.info.n_ctx_train)
        self._session = engine.session(SessionOptions(n_ctx=whole_blocks(n_ctx)))
        self._audio = engine.audio()
        self._samples = self._prefilled = 0
        self._last = _NOTHING
        self._session.forward([Input(tokens=self._head)])

    def close(self) -> None:
        """Free the K/V cache and the clip."""
        self._audio.close()
        self._session.close()

    @property
    def seconds(self) -> float:
        """How much of the utterance was pushed."""
        return self._samples / SAMPLE_RATE

    def push(self, samples: Floats) -> None:
        """More of the utterance: float32 [n], 16 kHz mono."""
        self._audio.push(samples)
        self._samples += len(samples)
        self._prefill(self._step)

    def partial(self, stop: Callable[[], bool] | None = None) -> Heard:
        """What is said so far, as far as the model can tell. The utterance goes on.

        `stop` is asked after every token; True ends the answer there. The next one goes on from it.
        """
        self._prefill(1)
        if not self._prefilled:
            return _NOTHING
        self._last = self._answer(self._last.tokens, stop)
        self._session.rewind(self._sound_end)
        return self._last

    def finish(self) -> Heard:
        """The utterance is over: its final text. The next push begins another one."""
        self._audio.finish()
        self._prefill(1)
        heard = self._answer(self._last.tokens) if self._prefilled else _NOTHING
        self.reset()
        return heard

    def rehear(self, samples: Floats) -> None:
        """The utterance was something else: these samples. The last answer stays as a draft."""
        last = self._last
        self.reset()
        self.push(samples)
        self._last = last

    def reset(self) -> None:
        """Forget the utterance; the prompt's beginning stays."""
        self._audio.close()
        self._audio = self._engine.audio()
        self._session.rewind(len(self._head))
        self._samples = self._prefilled = 0
        self._last = _NOTHING

    # -- steps --

    @property
    def _sound_end(self) -> int:
        return len(self._head) + self._prefilled

    def _prefill(self, least: int) -> None:
        """Tokens of sound that are there and not in the K/V cache, if they are at least so many."""
        new = len(self._audio) - self._prefilled
        if new >= least:
            self._session.forward([Input(audio=self._audio, audio_range=(self._prefilled, new))])
            self._prefilled += new

    def _answer(self, draft: Sequence[int], stop: Callable[[], bool] | None = None) -> Heard:
        """The answer to the sound so far, checked against a draft, then decoded on."""
        budget = self._budget(self.seconds)
        draft = draft[: budget - 1]
        self._session.forward([Input(tokens=[*self._tail, *draft], n_logits=len(draft) + 1)])
        tokens: list[int] = []
        logprobs: list[float] = []
        accepted, complete = 0, False
        for row in range(len(draft) + 1):
            token, logprob = self._session.sample(row)
            if self._engine.is_end(token):
                complete = True
                break
            tokens.append(token)
            logprobs.append(logprob)
            if row == len(draft) or token != draft[row]:
                break
            accepted += 1
        if not complete and not is_looping(tokens, self._guards):
            # What the sequence holds of the draft beyond this token is wrong.
            self._session.rewind(self._sound_end + len(self._tail) + len(tokens) - 1)
            complete = self._decode(tokens, logprobs, budget, stop)
        looping = is_looping(tokens, self._guards)
        keep = without_loop(tokens, self._guards) if looping else len(tokens)
        text = TextFilter(self._engine)
        words = "".join([text.feed(token) for token in tokens[:keep]]) + text.finish()
        return Heard(words.strip(), tuple(tokens), tuple(logprobs), accepted, complete, looping)

    def _decode(
        self, tokens: list[int], logprobs: list[float], budget: int, stop: Callable[[], bool] | None
    ) -> bool:
        """Goes on after the last of `tokens`, which is not fed yet. Did the model end the answer?"""

        def told(_index: int, token: int, logprob: float) -> bool:
            tokens.append(token)
            logprobs.append(logprob)
            return not is_looping(tokens, self._guards) and not (stop is not None and stop())

        generation = Generation(seq=0, next_token=tokens[-1], n_max=budget - len(tokens))
        self._session.generate([generation], told)
        return generation.stop == "end"
