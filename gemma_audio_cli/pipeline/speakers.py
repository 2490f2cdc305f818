"""Speakers in a run over recordings: the networks opened once, people enrolled, segments given to speakers.

SpeakerOptions ──► Speakers ──► a Diarizer a recording ──► segments, cut where the speaker changes
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import PurePath

import numpy as np

from gemma_audio_cli.audio.read.source import SourceOptions, display_name, open_source
from gemma_audio_cli.errors import AudioError, Notice
from gemma_audio_cli.formatting import one_line, printable
from gemma_audio_cli.models.speaker_files import speaker_files
from gemma_audio_cli.pipeline.options import SpeakerOptions
from gemma_audio_cli.sound import Floats
from gemma_audio_cli.speakers.assignment import Name, SpeakerTimes, by_speaker
from gemma_audio_cli.speakers.diarization import Diarizer, Turn
from gemma_audio_cli.speakers.networks import SpeakerFiles, SpeakerNetworks
from gemma_audio_cli.speakers.online import OnlineDiarizer
from gemma_audio_cli.speakers.voices import VoiceReader
from gemma_audio_cli.transcript import Final, Segment

SAME_PERSON = 0.5
"""Least cosine of an enrolled voice and a speaker's for them to be one person."""
_ENROLLED_SECONDS = 600.0
"""So much of an enrolled recording is heard at most."""


class Speakers:
    """Who speaks, in one run."""

    def __init__(self, options: SpeakerOptions, notice: Notice, threads: int = 1) -> None:
        """Hears those enrolled. Raises UsageError and ModelError where speakers cannot be told apart here,
        InputError for a recording of an enrolled person that cannot be used.
        """
        self._options = options
        files = speaker_files(options.folder)
        self._networks = SpeakerNetworks(SpeakerFiles(files.segmentation, files.embedding), threads)
        self._enrolled = [self._enrol(given, notice) for given in options.enrolled]

    def listen(self, offset: float) -> RecordingSpeakers:
        """For one recording, of which the first `offset` seconds are left out."""
        return RecordingSpeakers(
            self, Diarizer(self._networks, self._options.count, self._options.most), offset
        )

    def stream(self) -> StreamSpeakers:
        """For one stream."""
        diarizer = OnlineDiarizer(self._networks, self._options.count, self._options.most)
        return StreamSpeakers(self, diarizer)

    def names(self, voices: Floats) -> Name:
        """Of a recording's speakers: enrolled people first, then the names given, in order of appearance."""
        known: dict[int, str] = {}
        people = np.array([voice for _, voice in self._enrolled], np.float32).reshape(-1, voices.shape[1])
        alike = voices @ people.T
        while alike.size and alike.max() >= SAME_PERSON:
            speaker, person = np.unravel_index(int(alike.argmax()), alike.shape)
            known[int(speaker)] = self._enrolled[int(person)][0]
            alike[speaker, :] = alike[:, person] = -1
        names = iter(self._options.names)
        # Names come from command lines and files: nothing in them may move a terminal's cursor.
        labels = {k: known.get(k) or next(names, f"Speaker {k + 1}") for k in range(len(voices))}
        labels = {k: printable(one_line(label)) for k, label in labels.items()}
        return labels.__getitem__

    def _enrol(self, given: str, notice: Notice) -> tuple[str, Floats]:
        label, mark, path = given.partition("=")
        if not mark:
            label, path = PurePath(given).stem, given
        reader = VoiceReader(self._networks)
        with open_source(path, SourceOptions(end=_ENROLLED_SECONDS), notice) as source:
            for block in source.blocks():
                reader.push(block)
        voices = reader.finish()
        if not len(voices.vectors):
            raise AudioError(f"{display_name(path)}: nobody speaks; --enroll needs some seconds of one voice")
        mean = voices.vectors.mean(axis=0)
        return label, mean / max(float(np.linalg.norm(mean)), 1e-9)


class RecordingSpeakers:
    """Who speaks in one recording."""

    def __init__(self, speakers: Speakers, diarizer: Diarizer, offset: float) -> None:
        self._speakers, self._diarizer, self._offset = speakers, diarizer, offset

    def push(self, samples: Floats) -> None:
        """More of the recording, samples [n]."""
        self._diarizer.push(samples)

    def segments(self, segments: Iterable[Segment]) -> list[Segment]:
        """The recording's segments by speaker, when all of it was heard."""
        times, name = self._found
        return [part for segment in segments for part in by_speaker(segment, times, name)]

    def names(self, start: float, end: float) -> tuple[str, ...]:
        """Who speaks from `start` to `end` (seconds of the recording), when all of it was heard."""
        times, name = self._found
        return tuple(map(name, times.speaking(start, end)))

    @cached_property
    def _found(self) -> tuple[SpeakerTimes, Name]:
        found = self._diarizer.finish()
        times = SpeakerTimes(
            Turn(turn.start + self._offset, turn.end + self._offset, turn.speaker) for turn in found.turns
        )
        return times, self._speakers.names(found.voices)


class StreamSpeakers:
    """Who speaks in one stream, utterance by utterance."""

    def __init__(self, speakers: Speakers, diarizer: OnlineDiarizer) -> None:
        self._speakers, self._diarizer = speakers, diarizer

    def finals(self, final: Final, samples: Floats) -> list[Final]:
        """The utterance, as one of each speaker in it. `samples` are its own."""
        if not final.text:
            return [final]
        turns = self._diarizer.utterance(samples)
        times = SpeakerTimes(Turn(t.start + final.start, t.end + final.start, t.speaker) for t in turns)
        return by_speaker(final, times, self._speakers.names(self._diarizer.voices))
