"""Decoding: every readable file to 16 kHz mono, every other to one clear line."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.samples import samples
from gemma_audio_cli.errors import AudioError


def decode(path: Path | str) -> np.ndarray:
    return np.concatenate(list(samples(path)))


def failure(path: Path | str) -> str:
    with pytest.raises(AudioError) as caught:
        decode(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("(stdin)" if path == "-" else str(path))
    return message


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate", "channels"),
    [
        ("wav", "PCM_16", 16_000, 1),
        ("wav", "PCM_U8", 8_000, 1),
        ("wav", "PCM_24", 44_100, 2),
        ("wav", "FLOAT", 192_000, 6),
        ("wav", "DOUBLE", 22_050, 1),
        ("wav", "ULAW", 8_000, 1),
        ("flac", "PCM_16", 48_000, 2),
        ("ogg", "VORBIS", 44_100, 2),
        ("ogg", "OPUS", 48_000, 1),
        ("mp3", "MPEG_LAYER_III", 44_100, 2),
        ("aiff", "PCM_16", 11_025, 1),
    ],
)
def test_every_format_rate_and_channel_count(tmp_path, make_tone, suffix, subtype, rate, channels):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, make_tone(2.0, rate, channels), rate, subtype=subtype, format=suffix)
    got = decode(path)
    assert got.dtype == np.float32
    assert got.ndim == 1
    assert len(got) / 16_000 == pytest.approx(2.0, abs=0.1)
    want = make_tone(2.0)
    spectrum = np.abs(np.fft.rfft(got[: len(want)]))
    assert spectrum.argmax() == pytest.approx(880, abs=10)  # 440 Hz in 2 s
    assert np.sqrt(np.mean(got**2)) == pytest.approx(np.sqrt(np.mean(want**2)), rel=0.1)


def test_sixteen_kilohertz_mono_is_left_alone(recording, make_tone):
    np.testing.assert_allclose(decode(recording), make_tone(2.0), atol=1 / 32_000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 3])
def test_wav_from_a_pipe_equals_the_file(tmp_path, pipe, make_tone, subtype, channels):
    path = tmp_path / "tone.wav"
    soundfile.write(path, make_tone(1.2, 24_000, channels), 24_000, subtype=subtype)
    np.testing.assert_allclose(decode(pipe(path.read_bytes())), decode(path), atol=1e-6)


def test_wav_from_a_pipe_whose_sizes_were_never_filled_in(recording, pipe):
    data = bytearray(recording.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    data[4:8] = b"\xff\xff\xff\xff"
    np.testing.assert_array_equal(decode(pipe(bytes(data))), decode(recording))


@pytest.mark.parametrize(("suffix", "tolerance"), [("flac", 0.0), ("ogg", 1e-4), ("mp3", 1e-4)])
def test_other_formats_from_a_pipe(tmp_path, pipe, make_tone, suffix, tolerance):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, make_tone(1.0), 16_000)
    piped, read = decode(pipe(path.read_bytes())), decode(path)
    # Decoders differ in how much of the padding of the last packet they count as sound.
    assert abs(len(piped) - len(read)) <= 400
    common = min(len(piped), len(read))
    np.testing.assert_allclose(piped[:common], read[:common], atol=tolerance)


def test_a_missing_file(tmp_path):
    assert "no such file" in failure(tmp_path / "none.wav")


def test_a_folder(tmp_path):
    assert "folder" in failure(tmp_path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    assert "empty" in failure(path)


def test_text_named_wav(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("this is no recording\n" * 100)
    message = failure(path)
    assert "cannot be read as audio" in message
    assert "--raw" in message


def test_no_samples(tmp_path):
    path = tmp_path / "none.wav"
    soundfile.write(path, np.empty(0, dtype=np.float32), 16_000)
    assert "0 samples" in failure(path)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_wav_cut_short_gives_what_is_there_and_then_fails(recording, keep):
    data = recording.read_bytes()
    recording.write_bytes(data[: round(len(data) * keep)])
    got = []
    with pytest.raises(AudioError, match="cut short"):
        got += samples(recording)
    found = samples(recording)
    assert len(next(found)) > 1000


def test_a_flac_cut_short_fails(tmp_path, make_tone):
    path = tmp_path / "tone.flac"
    soundfile.write(path, make_tone(4.0), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    failure(path)


def test_a_header_alone_fails(recording):
    recording.write_bytes(recording.read_bytes()[:20])
    failure(recording)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_samples_that_are_no_numbers_become_silence_with_a_notice(tmp_path, make_tone, value, rate):
    data = make_tone(2.0, rate)
    data[rate // 2 : rate // 2 + 7] = value
    path = tmp_path / "odd.wav"
    soundfile.write(path, data, rate, subtype="FLOAT")
    notices: list[str] = []
    got = np.concatenate(list(samples(path, notices.append)))
    assert np.isfinite(got).all()
    (notice,) = notices
    assert str(path) in notice
    assert "7 samples" in notice
    assert "0.50 s" in notice


def test_nothing_but_nan_is_refused(tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(1000, np.nan, dtype=np.float32), 16_000, subtype="FLOAT")
    assert "NaN" in failure(path)


def test_huge_numbers_do_not_overflow_into_the_model(tmp_path):
    path = tmp_path / "huge.wav"
    soundfile.write(path, np.full((1000, 2), 3e38, dtype=np.float32), 16_000, subtype="FLOAT")
    assert "NaN or infinite" in failure(path)


def test_nothing_from_a_pipe(pipe):
    assert "nothing came in" in failure(pipe(b""))


def test_text_from_a_pipe(pipe):
    assert "cannot be read as audio" in failure(pipe(b"hello\n" * 50))


def test_long_recordings_take_no_more_memory(tmp_path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(200):
            file.write(np.zeros(8_000, dtype=np.float32))
    tracemalloc.start()
    total = sum(len(block) for block in samples(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == pytest.approx(200 * 16_000, abs=16)
    assert peak < 4_000_000
