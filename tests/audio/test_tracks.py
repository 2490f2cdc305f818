"""Files with several audio tracks."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.source import SourceOptions, open_source
from gemma_audio_cli.audio.read.tracks import Track, chosen
from gemma_audio_cli.errors import AudioError, UsageError

RATE = 48_000
FREQUENCIES = {"eng": 440.0, "deu": 880.0, "fra": 1760.0}


def film(path: Path, codec: str = "aac", seconds: float = 1.0) -> Path:
    """A file with a tone in each language."""
    with av.open(str(path), "w") as out:
        streams = []
        for language in FREQUENCIES:
            stream = out.add_stream(codec, rate=RATE, layout="mono")
            stream.metadata["language"] = language
            streams.append(stream)
        for stream, frequency in zip(streams, FREQUENCIES.values(), strict=True):
            t = np.arange(round(seconds * RATE)) / RATE
            values = (9000 * np.sin(2 * np.pi * frequency * t)).astype(np.int16)
            for at in range(0, len(values), 960):
                part = np.ascontiguousarray(values[None, at : at + 960])
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), at
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def pitch(path: Path, track: str | None = None) -> tuple[float, list[str]]:
    """(the strongest frequency in Hz, what was reported)."""
    reported: list[str] = []
    with open_source(path, SourceOptions(track=track), reported.append) as source:
        sound = np.concatenate(list(source.blocks()))
    return float(np.abs(np.fft.rfft(sound)).argmax() * 16_000 / len(sound)), reported


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_track_is_chosen_by_number_or_language(tmp_path, suffix):
    path = film(tmp_path / f"film.{suffix}")
    for wanted, language in (
        ("1", "eng"), ("2", "deu"), ("3", "fra"), ("deu", "deu"), ("de", "deu"), ("ger", "deu"),
        ("German", "deu"), ("FR", "fra"), ("en-GB", "eng"),
    ):  # fmt: skip
        found, reported = pitch(path, wanted)
        assert found == pytest.approx(FREQUENCIES[language], rel=0.05)
        assert reported == []
    found, (reported,) = pitch(path)
    assert found == pytest.approx(440, rel=0.05)
    assert "3 audio tracks (1: eng aac, 2: deu aac, 3: fra aac); track 1 is heard" in reported
    for wanted in ("4", "ita"):
        with pytest.raises(AudioError, match=f"no audio track {wanted}: it has 3 audio tracks"):
            pitch(path, wanted)


def test_a_track_that_no_decoder_knows_is_passed_over(tmp_path):
    path = film(tmp_path / "memo.mov", "pcm_s16le")
    data = path.read_bytes()
    places = [found.start() for found in re.finditer(b"sowt", data)]
    assert len(places) == 3
    for unknown in ((0,), (1, 2), (0, 2)):
        changed = bytearray(data)
        for n in unknown:
            changed[places[n] : places[n] + 4] = b"apac"
        path.write_bytes(changed)
        found, reported = pitch(path)
        usable = [value for n, value in enumerate(FREQUENCIES.values()) if n not in unknown]
        assert found == pytest.approx(usable[0], rel=0.05)
        assert len(reported) == (len(usable) > 1)  # where there is no choice, there is nothing to say
        with pytest.raises(AudioError, match="no decoder"):
            pitch(path, str(unknown[0] + 1))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_what_has_one_track_has_track_1(tmp_path, make_tone, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, make_tone(1.0), 16_000)
    assert pitch(path, "1")[0] == pytest.approx(440, rel=0.05)
    with pytest.raises(AudioError, match="no audio track 2: it has 1 audio track"):
        pitch(path, "2")


@pytest.mark.parametrize("wrong", ["", " ", "0", "-1", "+2", "00"])
def test_no_tracks(wrong):
    with pytest.raises(UsageError, match="is no track"):
        SourceOptions(track=wrong)


def test_a_language_that_only_an_unknown_track_has():
    tracks = (Track(1, "deu"), Track(2, "deu", codec="aac"))
    assert chosen("x", tracks, "de").number == 2
