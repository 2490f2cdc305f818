"""The writer of pages: a transcript, and the recording to listen to along with it.

Recording, segments, waveform ──► transcript (as -f json has it), about ──► document
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gemma_audio_cli.filenames import STDIN
from gemma_audio_cli.output.as_json import transcript_as_dict
from gemma_audio_cli.output.page.document import document
from gemma_audio_cli.output.page.sound import Sound, sound_of
from gemma_audio_cli.output.records import TranscriptWriter
from gemma_audio_cli.output.unsure import BELOW
from gemma_audio_cli.output.writers import Sink
from gemma_audio_cli.transcript import TIMES_ESTIMATED, Recording, Transcript, Waveform, source_label


class PageWriter(TranscriptWriter):
    """One HTML document a recording, written when the recording is done."""

    def __init__(
        self, out: Sink, *, source: str = STDIN, folder: Path = Path(), below: float = BELOW
    ) -> None:
        """`source`: the recording as it was given; `folder`: where the page will be; `below`: words with a
        probability below it are unsure.
        """
        super().__init__(out)
        self._source, self._folder, self._below = source, folder, below
        self._waveform: Waveform | None = None

    def begin(self, recording: Recording) -> None:
        """A recording starts."""
        super().begin(recording)
        self._waveform = None

    def waveform(self, waveform: Waveform) -> None:
        """How loud the recording is; comes before its end, if it comes."""
        self._waveform = waveform

    def _write(self, transcript: Transcript) -> None:
        sound = None if self._source == STDIN else sound_of(self._source, self._folder)
        title = Path(transcript.file).name or transcript.file
        about = about_page(self._recording, transcript, sound, self._waveform, self._below)
        media = sound.media if sound else None
        self._out.write(document(title, transcript_as_dict(transcript), about, media=media))


def about_page(
    recording: Recording,
    transcript: Transcript,
    sound: Sound | None,
    waveform: Waveform | None,
    below: float = BELOW,
) -> dict[str, Any]:
    """What a page needs beside the transcript. `voices` are names of speakers, channels or tracks in order of
    appearance, `by` says for each segment which of them it is.
    """
    labels = [source_label(recording, segment).removesuffix(": ") for segment in transcript.segments]
    voices = [*dict.fromkeys(filter(None, labels))]
    words = [word for segment in transcript.segments for word in segment.words]
    return {
        "voices": voices,
        "by": [voices.index(label) if label else None for label in labels],
        "below": below,
        "estimated": any(word.source == TIMES_ESTIMATED for word in words),
        "sound": None if sound is None else {"src": sound.address, "name": sound.name},
        "waveform": None
        if waveform is None
        else {"start": waveform.start, "step": waveform.step, "peaks": waveform.peaks},
    }
