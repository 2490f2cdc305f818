"""Who speaks in a stream, told utterance by utterance: nothing that comes later changes it.

an utterance's samples ──► its own speakers ──► the known speakers that they sound like, or new ones
"""

from __future__ import annotations

import numpy as np

from gemma_audio_cli.sound import SAMPLE_RATE, Floats
from gemma_audio_cli.speakers.diarization import Turn, diarize, turns_of
from gemma_audio_cli.speakers.limits import MOST_SPEAKERS
from gemma_audio_cli.speakers.networks import EMBEDDING_SIZE, SpeakerNetworks
from gemma_audio_cli.speakers.voices import VoiceReader

SAME_VOICE = 0.62
"""Least cosine of an utterance's voice and a known speaker's: means of many embeddings are nearer to each
other than single ones."""
_SHORT = 1.5
"""Seconds below which a voice is no new speaker: too little was heard of it."""


class OnlineDiarizer:
    """The speakers of one stream."""

    def __init__(
        self, networks: SpeakerNetworks, speakers: int | None = None, most: int = MOST_SPEAKERS
    ) -> None:
        """`speakers`: no more than so many either; fewer are found where fewer have spoken."""
        self._networks, self._most = networks, min(most, speakers or most)
        self._sums = np.zeros((0, EMBEDDING_SIZE), np.float32)

    @property
    def voices(self) -> Floats:
        """[speakers, 192]: what each is like, by what was heard so far."""
        lengths = np.linalg.norm(self._sums, axis=1, keepdims=True)
        return np.asarray(self._sums / np.maximum(lengths, 1e-9), np.float32)

    def utterance(self, samples: Floats) -> list[Turn]:
        """The turns in an utterance, in seconds from its start; speakers are numbered over the stream."""
        reader = VoiceReader(self._networks)
        reader.push(samples)
        voices = reader.finish()
        found = diarize(voices, most=self._most)
        seconds = np.zeros(len(found.voices))
        for turn in found.turns:
            seconds[turn.speaker] += turn.end - turn.start
        known: set[int] = set()
        for speaker in np.argsort(-seconds).tolist():  # of the longest most is known
            known.add(self._known(found.voices[speaker], float(seconds[speaker]), known))
        # Those who said little here, and are known already, are found by what they said before.
        return turns_of(voices, self.voices) if known else []

    def _known(self, voice: Floats, seconds: float, taken: set[int]) -> int:
        """The number of the speaker with this voice, who is none of those `taken`; perhaps a new one."""
        alike = self.voices @ voice
        alike[list(taken)] = -2
        best = int(alike.argmax()) if len(alike) else -1
        free = len(alike) > len(taken)
        full = len(alike) >= self._most
        if free and alike[best] >= SAME_VOICE:
            self._sums[best] += voice * np.float32(seconds)
            return best
        if free and (seconds < _SHORT or full):
            return best  # a guess, from which nothing is learnt
        if full:  # more voices at once than there may be speakers
            return int((self.voices @ voice).argmax())
        self._sums = np.concatenate([self._sums, voice[None] * np.float32(max(seconds, 1 / SAMPLE_RATE))])
        return len(self._sums) - 1
