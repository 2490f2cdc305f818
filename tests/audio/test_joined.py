"""Files put together by `cat`, headers that say too little or too much, and what lies behind their end."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.joined import flac_files, is_joined
from gemma_audio_cli.audio.read.source import SourceOptions, open_source
from gemma_audio_cli.errors import AudioError

MEDIA = Path(__file__).resolve().parents[1] / "media"


def heard(path: Path | str, **options: object) -> tuple[np.ndarray, list[str]]:
    """(all samples, what was reported)."""
    reported: list[str] = []
    with open_source(path, SourceOptions(**options), reported.append) as source:
        return np.concatenate(list(source.blocks())), reported


def ogg(path: Path, sound: np.ndarray, subtype: str, serial: int) -> bytes:
    """An OGG file whose stream has this serial number."""
    soundfile.write(path, sound, 16_000, subtype=subtype)
    data = bytearray(path.read_bytes())
    table = []
    for n in range(256):
        value = n << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 1 << 31 else 0)
            value &= 0xFFFFFFFF
        table.append(value)
    at = 0
    while at < len(data):
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        data[at + 14 : at + 18] = struct.pack("<I", serial)
        data[at + 22 : at + 26] = bytes(4)
        check = 0
        for byte in data[at:end]:
            check = (check << 8 & 0xFFFFFFFF) ^ table[check >> 24 ^ byte]
        data[at + 22 : at + 26] = struct.pack("<I", check)
        at = end
    return bytes(data)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("serials", [(7, 7), (7, 8), (7, 8, 7), (7, 7, 7)])
def test_a_chain_of_ogg_is_heard_to_its_end_whatever_its_serials(tmp_path, make_chirp, subtype, serials):
    path = tmp_path / "radio.ogg"
    parts = [ogg(path, make_chirp(1.0 + n / 2), subtype, serial) for n, serial in enumerate(serials)]
    path.write_bytes(b"".join(parts))
    seconds = sum(1.0 + n / 2 for n in range(len(serials)))
    sound, reported = heard(path)
    assert len(sound) / 16_000 == pytest.approx(seconds, abs=0.05 * len(serials))
    assert reported == []


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_joined_flac(tmp_path, make_chirp, alike, subtype):
    path = tmp_path / "joined.flac"
    both = b""
    for seconds in (2.0, 1.0):
        soundfile.write(path, make_chirp(seconds), 16_000, subtype=subtype)
        both += path.read_bytes()
    path.write_bytes(both)
    sound, reported = heard(path)
    assert len(sound) == 48_000
    assert alike(sound[32_000:], make_chirp(1.0))[0] > 0.999
    assert reported == []


@pytest.mark.parametrize("cover", [0, 40_000])
def test_joined_mp3_is_not_called_damaged(tmp_path, make_chirp, cover):
    path = tmp_path / "joined.mp3"
    soundfile.write(path, make_chirp(2.0), 16_000)
    plain = path.read_bytes()
    size = bytes((cover + 20) >> shift & 0x7F for shift in (21, 14, 7, 0))
    picture = np.random.default_rng(1).bytes(cover)
    tag = b"ID3\x04\x00\x00" + size + b"APIC" + bytes(16) + picture
    path.write_bytes(plain + b"TAG" + bytes(125) + tag + plain)
    sound, reported = heard(path)
    assert reported == []
    assert len(sound) / 16_000 == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS", "PCM_16"])
def test_a_plain_file_is_not_joined(tmp_path, make_chirp, subtype):
    path = tmp_path / ("plain.flac" if subtype == "PCM_16" else "plain.ogg")
    soundfile.write(path, make_chirp(30.0), 16_000, subtype=subtype)
    with path.open("rb") as file:
        assert not is_joined(ByteStream(file))
        assert flac_files(ByteStream(file)) == [0]


def test_joined_flac_of_other_rates_and_channels(tmp_path, make_chirp, alike):
    path, data = tmp_path / "joined.flac", b""
    stereo = np.repeat(make_chirp(1.0, 44_100)[:, None], 2, axis=1)
    for sound, rate in ((make_chirp(2.0), 16_000), (stereo, 44_100), (make_chirp(1.0, 8_000), 8_000)):
        soundfile.write(path, sound, rate)
        data += path.read_bytes()
    path.write_bytes(data)
    sound, reported = heard(path)
    assert (len(sound) / 16_000, reported) == (pytest.approx(4.0, abs=0.01), [])
    assert alike(sound[32_000:48_000], make_chirp(1.0))[0] > 0.99
    assert alike(heard(path, start=2.5, end=3.0)[0], sound[40_000:48_000])[0] > 0.99
    path.write_bytes(data[: len(data) - 3_000])
    with pytest.raises(AudioError, match=r"cut short|damaged"):
        heard(path)


def test_the_mark_of_another_file_is_found_between_two_reads(tmp_path):
    path = tmp_path / "long.flac"
    for at in range((1 << 20) - 12, (1 << 20) + 12):
        path.write_bytes(b"fLaC" + bytes(at) + b"fLaC\x00\x00\x00\x22" + bytes(50))
        with path.open("rb") as file:
            assert flac_files(ByteStream(file)) == [0, 4 + at]


# ---- WAV -----------------------------------------------------------------------------------------


def wav(samples: np.ndarray, size: int | None = None, rate: int = 16_000) -> bytes:
    """A WAV of int16 [n] or [n, channels] that claims to have `size` bytes of them."""
    channels = samples.reshape(len(samples), -1).shape[1]
    data = samples.astype("<i2").tobytes()
    claimed = len(data) if size is None else size
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * rate * channels, 2 * channels, 16)
    head = b"RIFF" + struct.pack("<I", (36 + claimed) & 0xFFFFFFFF) + b"WAVEfmt " + form
    return head + b"data" + struct.pack("<I", claimed & 0xFFFFFFFF) + data


RAMP = (np.arange(40_000) % 20_011 - 10_000).astype(np.int16)


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize(
    ("behind", "found", "word"),
    [
        (b"", 0, ""),
        (b"LIST" + struct.pack("<I", 60_000) + bytes(60_000), 0, ""),
        (b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"id3 " + struct.pack("<I", 4) + b"abcd", 0, ""),
        (b"bext" + struct.pack("<I", 3) + b"abc\0" + b"TAG" + bytes(125), 0, ""),
        (b"LIST" + struct.pack("<I", 1 << 30), 0, ""),  # cut in a chunk: no sound is lost
        (RAMP.astype("<i2").tobytes(), 40_000, "80000 bytes lie behind"),
        (wav(RAMP), 40_000, ""),
        (wav(RAMP) + wav(RAMP), 80_000, ""),
        (wav(RAMP, rate=8_000), 0, "of another kind"),
    ],
)  # fmt: skip
def test_what_lies_behind_the_samples(tmp_path, pipe, piped, behind, found, word):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(RAMP) + behind)
    sound, reported = heard(pipe(path.read_bytes()) if piped else path)
    assert len(sound) == 40_000 + found
    for at in range(0, len(sound), 40_000):
        np.testing.assert_array_equal(sound[at : at + 40_000] * 32_768, RAMP)
    if piped and "bytes" in word and found:
        word = "more samples lie behind"  # nobody knows how many
    assert len(reported) == bool(word)
    assert word in "".join(reported)
    if found:
        part, _ = heard(path, start=3.0, end=3.5)
        np.testing.assert_array_equal(part, sound[48_000:56_000])


def test_padding_behind_the_samples_is_no_sound(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(RAMP) + bytes(60_000))
    sound, reported = heard(path)
    assert (len(sound), reported) == (40_000, [])


def test_an_unknown_chunk_that_ends_the_file_is_no_sound(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(RAMP) + b"mine" + struct.pack("<I", 50_000) + RAMP.tobytes()[:50_000])
    sound, reported = heard(path)
    assert (len(sound), reported) == (40_000, [])


@pytest.mark.parametrize("wraps", [1, 2])
def test_a_size_that_wrapped_at_4_gib(tmp_path, wraps):
    path = tmp_path / "big.wav"
    size = (wraps << 32) + 2 * 16_000 * 20
    with path.open("wb") as file:  # sparse: it takes no room
        file.write(wav(RAMP, size)[:44])
        file.seek(44 + size - len(RAMP.tobytes()))
        file.write(RAMP.tobytes())
        file.write(b"LIST" + struct.pack("<I", 4) + b"abcd")
    seconds = size / 32_000
    with open_source(path) as source:
        assert source.duration == pytest.approx(seconds)
    sound, reported = heard(path, start=seconds - 2.5)
    np.testing.assert_array_equal(sound * 32_768, RAMP)
    assert reported == []


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize(("lacking", "whole"), [(44, True), (3_000, True), (3_400, False), (40_000, False)])
def test_a_header_that_promises_less_than_a_tenth_of_a_second_too_much(tmp_path, pipe, piped, lacking, whole):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(RAMP, 80_000 + lacking))
    source = pipe(path.read_bytes()) if piped else path
    if whole:
        assert len(heard(source)[0]) == 40_000
    else:
        with pytest.raises(AudioError, match=f"cut short: {100 * 80_000 // (80_000 + lacking)} %"):
            heard(source)


@pytest.mark.parametrize(
    ("suffix", "codec", "form"), [("avi", "mp2", None), ("mkv", "aac", None), ("wma", "wmav2", "asf")]
)
def test_other_headers_that_promise_a_little_too_much(tmp_path, make_file, make_chirp, suffix, codec, form):
    path = make_file(tmp_path / f"a.{suffix}", codec, make_chirp(8.0, 44_100), 44_100, form=form)
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    assert len(heard(path)[0]) / 16_000 == pytest.approx(8.0, abs=0.15)
    path.write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(AudioError, match=r"cut short|damaged"):
        heard(path)


@pytest.mark.parametrize("keep", [0.3, 0.64, 0.9])
def test_a_cut_mp3_says_how_much_is_there(tmp_path, make_file, make_chirp, keep):
    path = make_file(tmp_path / "a.mp3", "libmp3lame", make_chirp(20.0, 44_100), 44_100)
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * keep)])
    with pytest.raises(AudioError, match="cut short") as caught:
        heard(path)
    percent = int(str(caught.value).split("cut short: ")[1].split()[0])
    assert percent == pytest.approx(100 * keep, abs=1.5)


# ---- AMR -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_pauses_of_amr_keep_their_time(monkeypatch, own):
    from gemma_audio_cli.audio.read import container

    if not own:  # an FFmpeg without libopencore, whose own decoder refuses the packets of a pause
        monkeypatch.setattr(container, "_AMR", {"amrnb": "none", "amrwb": "none"})
    sound, reported = heard(MEDIA / "dtx-pause.amr")
    assert reported == []
    packets = 0
    data = (MEDIA / "dtx-pause.amr").read_bytes()[6:]
    while data:
        data = data[1 + (12, 13, 15, 17, 19, 20, 26, 31, 5, 0, 0, 0, 0, 0, 0, 0)[data[0] >> 3 & 15] :]
        packets += 1
    assert len(sound) == pytest.approx(packets * 320, abs=16)
    assert np.abs(sound[int(6.2 * 16_000) : int(8.0 * 16_000)]).max() > 0.05
    assert np.abs(sound[int(4.6 * 16_000) : int(5.6 * 16_000)]).max() < 0.05


# ---- containers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("m4a", "aac"), ("mov", "pcm_s16le")])
def test_a_second_mp4_behind_the_first_is_reported(tmp_path, make_file, make_chirp, suffix, codec):
    path = make_file(tmp_path / f"a.{suffix}", codec, make_chirp(2.0, 48_000), 48_000)
    alone, reported = heard(path)
    assert reported == []
    data = path.read_bytes()
    path.write_bytes(data + data)
    both, (reported,) = heard(path)
    np.testing.assert_array_equal(both, alone)
    assert f"another recording of {len(data)} bytes" in reported


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "aac"), ("webm", "libopus")])
def test_a_hole_in_matroska_that_swallows_the_rest_is_no_success(
    tmp_path, make_file, make_chirp, suffix, codec
):
    path = make_file(tmp_path / f"a.{suffix}", codec, make_chirp(4.0, 48_000), 48_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = np.random.default_rng(1).bytes(600)
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"cut short|damaged"):
        heard(path)
