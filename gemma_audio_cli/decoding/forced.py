"""Word times by forced alignment: a small English acoustic model looks for the words that were found.

    words of the answer ──► dictionary words ──► pocketsphinx, on the window's samples ──► times

Optional: `pip install 'gemma-audio[align]'` brings pocketsphinx (Huggins-Daines et al., 2006) and its model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gemma_audio_cli.audio.segment.windows import Window
from gemma_audio_cli.decoding.aligner import spread
from gemma_audio_cli.decoding.alignment import Span, sounding
from gemma_audio_cli.decoding.pronunciation import guess, said
from gemma_audio_cli.decoding.sequence import Reply, SequenceDecoder
from gemma_audio_cli.decoding.spoken import Spoken, spoken_words
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.transcript import TIMES_ESTIMATED, TIMES_FORCED, Word, words_of

_FRAME = 0.01
_SILENCES = ("<s>", "</s>", "<sil>")


class ForcedAligner:
    """Finds word times without the language model."""

    def __init__(self) -> None:
        """Raises UsageError where pocketsphinx is not installed."""
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise UsageError(
                "--aligner pocketsphinx: it is not installed; pip install 'gemma-audio[align]'"
            ) from None
        # Its second pass drops words at the end, and its usual beams lose unusual voices.
        beams = dict.fromkeys(("beam", "wbeam", "pbeam"), 1e-100)
        self._decoder: Any = Decoder(samprate=SAMPLE_RATE, lm=None, loglevel="FATAL", bestpath=False, **beams)

    def words(self, decoder: SequenceDecoder, reply: Reply, window: Window) -> tuple[Word, ...]:
        """The words of the reply to this window. Where they cannot be found in it, they are spread by their
        length.
        """
        spoken = spoken_words(decoder.engine, reply.tokens, reply.logprobs)
        if not spoken:
            return ()
        found, source = self._spans(spoken, window.samples), TIMES_FORCED
        if found is None:
            found, source = spread(spoken, sounding(window.samples)), TIMES_ESTIMATED
        words = [
            Word(word.text, window.start + span.start, window.start + span.end, word.probability, source)
            for word, span in zip(spoken, found, strict=True)
        ]
        return words_of(words, reply.text)

    def _spans(self, spoken: list[Spoken], samples: Floats) -> list[Span] | None:
        """When each word was said, in seconds of the window; None: they are not in it."""
        counts, text = [], list[str]()
        for word in spoken:
            known = [part for part in said(word.text) if self._knows(part)]
            counts.append(len(known))
            text += known
        if not text:
            return None
        times = self._aligned(text, samples)
        if len(times) != len(text):
            return None
        spans: list[Span] = []
        at = 0
        for count in counts:
            if count:
                spans.append(Span(times[at].start, times[at + count - 1].end))
            else:  # a mark alone is no longer than nothing
                end = spans[-1].end if spans else times[0].start
                spans.append(Span(end, end))
            at += count
        return spans

    def _knows(self, word: str) -> bool:
        """Is the word in the dictionary? One that is not gets a guess, unless it has no Latin letters."""
        if self._decoder.lookup_word(word) is None:
            phones = guess(word)
            if not phones:
                return False
            self._decoder.add_word(word, phones, True)
        return True

    def _aligned(self, text: list[str], samples: Floats) -> list[Span]:
        if len(samples) < SAMPLE_RATE * _FRAME:
            return []
        sound = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
        d = self._decoder
        try:
            d.set_align_text(" ".join(text))
            d.start_utt()
            try:
                d.process_raw(sound, no_search=False, full_utt=True)
            finally:
                d.end_utt()
        except RuntimeError:  # the words cannot be fitted into the sound
            return []
        if d.hyp() is None:
            return []
        return [
            Span(part.start_frame * _FRAME, (part.end_frame + 1) * _FRAME)
            for part in d.seg()
            if part.word not in _SILENCES and not part.word.startswith("[")
        ]
