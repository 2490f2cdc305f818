"""One utterance, understood while it is spoken.

    push(samples) ──► encoder on the new frames ──► prefill of the new tokens      (state and K/V stay)
    partial()     ──► instruction, the last partial as a draft, decoding on ──► text so far; rewind
    finish()      ──► the last frames, instruction, draft, decoding on ──► the final text

It works because nothing in the model looks ahead: the conformer and the decoder both only look back, so what
was computed for the first second stands when the second one is heard. The final text is that of `transcribe`
on the same samples.
"""

from __future__ import annotations

from collections.abc import Callable

from gemma_audio_cli.decoding.sequence import NOTHING, Reply, SequenceDecoder, decode
from gemma_audio_cli.engine.structs import Input, SamplerOptions
from gemma_audio_cli.sound import SAMPLE_RATE, Floats


class Incremental:
    """Utterances, one after the other, in one sequence."""

    def __init__(
        self,
        decoder: SequenceDecoder,
        budget: Callable[[float], int],
        *,
        step_tokens: int = 13,
        sampler: SamplerOptions | None = None,
    ) -> None:
        """`budget`: tokens an answer to so many seconds may have. `sampler`: greedy by default.

        `step_tokens`: sound is prefilled when so many tokens of 40 ms have come together: few enough that
        little is left when the speaker stops, enough that the weights are not read for a single row.
        """
        self.decoder = decoder
        self._budget, self._step, self._sampler = budget, step_tokens, sampler
        self._audio = decoder.engine.audio()
        self._samples = self._prefilled = 0
        self._last = NOTHING
        self._thinking = True
        decoder.reset()
        decoder.prefill(())

    def close(self) -> None:
        """Free the K/V cache and the clip."""
        self._audio.close()
        self.decoder.session.close()

    @property
    def seconds(self) -> float:
        """How much of the utterance was pushed."""
        return self._samples / SAMPLE_RATE

    def push(self, samples: Floats) -> None:
        """More of the utterance: float32 [n], 16 kHz mono."""
        self._audio.push(samples)
        self._samples += len(samples)
        self._prefill(self._step)

    def partial(self, stop: Callable[[], bool] | None = None) -> Reply:
        """What is said so far, as far as the model can tell. The utterance goes on.

        `stop` is asked after every token; True ends the answer there. The next one goes on from it.
        """
        self._prefill(1)
        if not self._prefilled:
            return NOTHING
        self._last = self._answer(stop)
        self.decoder.rewind_answer()
        return self._last

    def finish(self, *, keep: bool = False) -> Reply:
        """The utterance is over: its final text. The next push begins another one. `keep`: what was heard
        stays in the K/V cache until `reset`, which has to come first then.
        """
        self._audio.finish()
        self._prefill(1)
        reply = self._answer(final=True) if self._prefilled else NOTHING
        if not keep:
            self.reset()
        return reply

    def replace_audio(self, samples: Floats) -> None:
        """The utterance was something else: these samples. The last answer stays as a draft."""
        last = self._last
        self.reset()
        self.push(samples)
        self._last = last

    def reset(self) -> None:
        """Forget the utterance; the prompt's head stays."""
        self._audio.close()
        self._audio = self.decoder.engine.audio()
        self.decoder.reset()
        self._samples = self._prefilled = 0
        self._last = NOTHING
        self._thinking = True

    # -- steps --

    def _prefill(self, least: int) -> None:
        """Tokens of sound that are there and not in the K/V cache, if they are at least so many."""
        new = len(self._audio) - self._prefilled
        if new >= least:
            self.decoder.prefill(
                [Input(self.decoder.seq, audio=self._audio, audio_range=(self._prefilled, new))]
            )
            self._prefilled += new

    def _answer(self, stop: Callable[[], bool] | None = None, *, final: bool = False) -> Reply:
        """The answer to the sound so far, checked against the last one, then decoded on."""
        budget = self._budget(self.seconds)
        self.decoder.begin(
            budget=budget, sampler=self._sampler, draft=self._last.tokens, thinking=self._thinking
        )
        decode([self.decoder], stop=stop)
        reply = self.decoder.reply(self.seconds if final else None)
        if not reply.thinking or not self._thinking or (stop is not None and stop()):
            return reply
        self._thinking = False  # in what is left of the utterance
        self.decoder.rewind_answer()
        self._last = NOTHING
        return self._answer(stop, final=final)
