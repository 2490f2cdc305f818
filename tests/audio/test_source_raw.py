"""Samples without a header, and WAV from a pipe: the same in blocks of any size."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.pcm import SAMPLE_BYTES, PcmReader, RawFormat, parse_raw, to_float
from gemma_audio_cli.audio.read.source import SourceOptions, open_source
from gemma_audio_cli.audio.read.wav import read_header
from gemma_audio_cli.errors import AudioError, UsageError

SUBTYPES = {
    "u8": "PCM_U8", "s8": "PCM_S8", "s16le": "PCM_16", "s16be": "PCM_16", "s24le": "PCM_24",
    "s24be": "PCM_24",
    "s32le": "PCM_32", "s32be": "PCM_32", "f32le": "FLOAT", "f32be": "FLOAT", "f64le": "DOUBLE",
    "f64be": "DOUBLE", "alaw": "ALAW", "mulaw": "ULAW",
}  # fmt: skip


class Dribble(io.BytesIO):
    """A pipe that gives as many bytes at a time as a list says."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self._sizes, self._turn = sizes, 0

    def read1(self, size: int | None = -1) -> bytes:
        self._turn += 1
        return super().read1(min(size or -1, self._sizes[self._turn % len(self._sizes)]))

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("encoding", list(SAMPLE_BYTES))
def test_every_encoding_is_what_libsndfile_reads(encoding):
    values = np.random.default_rng(2).uniform(-1, 1, 500)
    endian = "BIG" if encoding.endswith("be") else "LITTLE"
    file = io.BytesIO()
    soundfile.write(file, values, 8_000, subtype=SUBTYPES[encoding], endian=endian, format="RAW")
    file.seek(0)
    want, _ = soundfile.read(
        file, samplerate=8_000, channels=1, subtype=SUBTYPES[encoding], endian=endian, format="RAW"
    )
    np.testing.assert_allclose(to_float(file.getvalue(), encoding), want, atol=1e-6)


@pytest.mark.parametrize("encoding", ["alaw", "mulaw"])
def test_all_codes_of_companded_telephone_speech(encoding):
    data = bytes(range(256))
    want, _ = soundfile.read(
        io.BytesIO(data), samplerate=8_000, channels=1, subtype=SUBTYPES[encoding], format="RAW"
    )
    np.testing.assert_allclose(to_float(data, encoding), want, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("s16le:16000:1", RawFormat("s16le", 16_000, 1)),
        ("F32LE:48000:2", RawFormat("f32le", 48_000, 2)),
        ("mulaw:8000", RawFormat("mulaw", 8_000, 1)),
    ],
)
def test_raw_formats(text, want):
    assert parse_raw(text) == want


@pytest.mark.parametrize(
    "text",
    ["", "s16le", "s16le:", "s16le:x:1", "s17:16000:1", "s16le:16000:0", "s16le:1:1", "s16le:16000:1:1",
     "s16le:-5:1", "s16le:99999999999999:1", "s16le:16000:99999"],
)  # fmt: skip
def test_no_raw_formats(text):
    with pytest.raises(UsageError):
        parse_raw(text)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=8),
    encoding=st.sampled_from(list(SAMPLE_BYTES)),
    channels=st.integers(1, 3),
    first=st.integers(0, 400),
    excess=st.integers(0, 2),
)
def test_blocks_of_any_size_are_the_same_samples(sizes, encoding, channels, first, excess):
    width = SAMPLE_BYTES[encoding] * channels
    excess = min(excess, width - 1)
    data = np.random.default_rng(5).integers(0, 128, 300 * width + excess, dtype=np.uint8).tobytes()
    form = RawFormat(encoding, 8_000, channels)
    notices: list[str] = []
    reader = PcmReader(ByteStream(Dribble(data, sizes)), form, "x", notices.append)
    got = list(reader.blocks(first))
    whole = to_float(data[: 300 * width], encoding).reshape(-1, channels)
    joined = np.concatenate(got) if got else whole[:0]
    np.testing.assert_array_equal(joined, whole[first:])
    assert len(notices) == (1 if excess and not first else 0)


def wav_header(data_size: int, channels: int = 1, rate: int = 16_000) -> bytes:
    fmt = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + fmt + b"data" + struct.pack("<I", data_size)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=6),
    size=st.sampled_from([0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 6_000]),
)
def test_a_wav_that_dribbles_in_under_any_size_it_claims(sizes, size):
    frames = np.arange(3_000, dtype="<i2")
    stream = ByteStream(Dribble(wav_header(size) + frames.tobytes() + b"LIST" * (size == 6_000), sizes))
    header, _ = read_header(stream)
    assert header is not None
    reader = PcmReader(
        stream, RawFormat(header.encoding, header.rate, header.channels), "x", print, header.data_size
    )
    got = np.concatenate(list(reader.blocks(0)))[:, 0]
    np.testing.assert_array_equal(got * 32_768, frames)


def test_a_wav_on_disk_whose_sizes_were_never_filled_in(tmp_path):
    path = tmp_path / "live.wav"
    for size in (0, 0xFFFFFFFF):
        path.write_bytes(wav_header(size) + np.arange(3_000, dtype="<i2").tobytes())
        with open_source(path) as source:
            assert source.duration == pytest.approx(3_000 / 16_000)
            assert sum(map(len, source.blocks())) == 3_000


def test_rf64_says_its_size_elsewhere():
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 0, 6_000, 3_000, 0)
    data = wav_header(0xFFFFFFFF).replace(b"RIFF", b"RF64").replace(b"fmt ", sizes + b"fmt ")
    header, taken = read_header(io.BytesIO(data))
    assert header is not None
    assert header.data_size == 6_000
    assert taken == data


def test_a_wav_from_a_pipe_that_breaks_off(pipe):
    heard = 0
    with (
        pytest.raises(AudioError, match="cut short: 50 %"),
        open_source(pipe(wav_header(64_000) + bytes(32_000))) as source,
    ):
        for block in source.blocks():
            heard += len(block)
    assert heard == 16_000


@pytest.mark.parametrize("piped", [False, True])
def test_raw_from_a_file_and_a_pipe(tmp_path, pipe, piped):
    values = (np.arange(32_000) % 1_000 - 500).astype(">i2")
    path = tmp_path / "samples"
    path.write_bytes(values.tobytes())
    options = SourceOptions(raw=parse_raw("s16be:16000:2"), start=0.25, end=0.5, channel=2)
    with open_source(pipe(path.read_bytes()) if piped else path, options) as source:
        got = np.concatenate(list(source.blocks()))
    np.testing.assert_array_equal(got * 32_768, values.reshape(-1, 2)[4_000:8_000, 1])


def test_raw_without_a_byte(pipe):
    options = SourceOptions(raw=parse_raw("s16le:16000:1"))
    with pytest.raises(AudioError, match="no audio"), open_source(pipe(b""), options) as source:
        list(source.blocks())
