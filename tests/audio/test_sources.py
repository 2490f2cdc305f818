"""Sources: every container, the part and the channels that are wanted, and input that means harm."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.read.source import SourceOptions, open_source
from gemma_audio_cli.errors import AudioError, InputError, UsageError

SECONDS = 2.0
CONTAINERS = [
    # suffix, codec, format, seconds of picture, rate, most samples off
    ("m4a", "aac", None, 0, 44_100, 0),
    ("mp4", "aac", None, 2, 48_000, 0),
    ("mov", "alac", None, 0, 48_000, 0),
    ("mkv", "aac", None, 2, 48_000, 0),
    ("mka", "flac", None, 0, 16_000, 0),
    ("webm", "libopus", None, 0, 48_000, 0),
    ("mp3", "libmp3lame", None, 0, 44_100, 0),
    ("ogg", "libopus", None, 0, 48_000, 0),
    ("flac", "flac", None, 0, 22_050, 0),
    ("aac", "aac", "adts", 0, 44_100, 800),
    ("ts", "aac", "mpegts", 2, 48_000, 800),
    ("wma", "wmav2", "asf", 0, 44_100, 800),
    ("wmv", "wmav2", "asf", 2, 44_100, 800),
    ("avi", "mp2", None, 2, 44_100, 400),
    ("ac3", "ac3", None, 0, 48_000, 400),
    ("wav", "adpcm_ima_wav", None, 0, 22_050, 0),
]


def read(path: Path | str, **options: object) -> np.ndarray:
    with open_source(path, SourceOptions(**options)) as source:
        blocks = list(source.blocks())
    assert all(block.dtype == np.float32 and len(block) for block in blocks)
    return np.concatenate(blocks)


def failure(path: Path | str, **options: object) -> str:
    with pytest.raises(AudioError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("(stdin): " if path == "-" else f"{path}: ")
    return message


@pytest.mark.parametrize(("suffix", "codec", "form", "video", "rate", "off"), CONTAINERS)
def test_every_container(tmp_path, pipe, make_file, make_chirp, alike, suffix, codec, form, video, rate, off):
    if codec == "libopus":
        pytest.importorskip("av.codec").Codec(codec, "w")
    stereo = np.repeat(make_chirp(SECONDS, rate)[:, None], 2, axis=1)
    path = make_file(tmp_path / f"speech.{suffix}", codec, stereo, rate, form=form, video=video)
    got, want = read(path), make_chirp(SECONDS)
    with open_source(path) as source:
        assert source.duration == pytest.approx(SECONDS, abs=0.1)
    assert abs(len(got) - len(want)) <= max(800, off)
    same, lag = alike(got, want)
    assert same > 0.97
    assert abs(lag) <= off
    # A part is what the whole has at that place (Matroska counts in milliseconds).
    part = read(path, start=1.2, end=1.7)
    assert abs(len(part) - 8000) <= 1
    same, lag = alike(part, got[19_200:27_200])
    assert same > 0.98
    assert abs(lag) <= 8
    # A pipe gives what the file gives.
    piped = read(pipe(path.read_bytes()))
    assert abs(len(piped) - len(got)) <= 400
    assert alike(piped, got) == (pytest.approx(1, abs=1e-3), 0)


def test_mp3_is_the_same_in_any_blocks(tmp_path, make_chirp, alike):
    path = tmp_path / "speech.mp3"
    soundfile.write(path, make_chirp(4.0), 16_000)
    # SoundFile.read seeks after every block, which MP3's decoder does not survive unheard.
    assert alike(read(path), make_chirp(4.0))[0] > 0.999


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_of_several_is_heard_to_its_end(tmp_path, pipe, make_chirp, subtype):
    path = tmp_path / "radio.ogg"
    both = b""
    for seconds in (2.0, 1.0):
        soundfile.write(path, make_chirp(seconds), 16_000, subtype=subtype)
        both += path.read_bytes()
    path.write_bytes(both)
    assert len(read(path)) == pytest.approx(3.0 * 16_000, abs=800)
    assert len(read(pipe(both))) == pytest.approx(3.0 * 16_000, abs=800)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_that_starts_late_keeps_its_time(tmp_path, make_file, make_chirp, alike, suffix):
    path = make_file(tmp_path / f"late.{suffix}", "aac", make_chirp(2.0, 48_000), 48_000, video=3, late=1.0)
    got = read(path)
    assert not got[:15_000].any()
    assert abs(alike(got[16_000:], make_chirp(2.0))[1]) < 100
    assert alike(read(path, start=2.0), got[32_000:])[0] > 0.99


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "flac"), ("webm", "libopus"), ("mp4", "aac")])
def test_a_part_that_kept_its_times_is_whole(tmp_path, make_file, make_chirp, alike, suffix, codec):
    """As `ffmpeg -ss 5 -copyts -c copy` makes it. Its length by its header's word is when it ends."""
    import av

    whole = make_file(tmp_path / f"whole.{suffix}", codec, make_chirp(8.0, 48_000), 48_000)
    path = tmp_path / f"part.{suffix}"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        track = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None and 5.0 <= packet.pts * packet.time_base < 8.0:
                packet.stream = track
                out.mux(packet)
    with open_source(path) as source:
        assert source.duration == pytest.approx(3.0, abs=0.1)
        got = np.concatenate(list(source.blocks()))
    assert len(got) == pytest.approx(48_000, abs=1600)
    assert alike(got[4800:], make_chirp(8.0)[-len(got) + 4800 :])[0] > 0.95
    late = read(path, start=2.0)
    assert len(late) == pytest.approx(len(got) - 32_000, abs=20)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="cut short"), open_source(cut) as source:
        for _ in source.blocks():
            pass


def test_a_pause_of_the_recorder_is_silence(tmp_path, make_file, make_chirp, alike):
    path = make_file(tmp_path / "gap.webm", "libopus", make_chirp(2.0, 48_000), 48_000, skip=(1.0, 2.5))
    got = read(path)
    assert len(got) == pytest.approx(3.5 * 16_000, abs=800)
    assert not got[17_000:39_000].any()
    assert alike(got[40_000:], make_chirp(2.0)[16_000:])[0] > 0.99
    assert alike(read(path, start=1.75), got[28_000:])[0] > 0.99


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.floats(0, 1.8),
    length=st.floats(0.05, 1.0),
    rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    suffix=st.sampled_from(["wav", "flac", "ogg", "aiff", "mp3"]),
    end=st.booleans(),
)
@example(start=1.47265625, length=1.0, rate=44_100, suffix="wav", end=False)
def test_start_and_end_equal_slicing(tmp_path, make_chirp, alike, start, length, rate, suffix, end):
    path = tmp_path / f"tone{rate}.{suffix}"
    if not path.exists():
        soundfile.write(path, make_chirp(2.0, rate), rate)
    part = read(path, start=start, end=start + length if end else None)
    last = start + length if end else 2.0
    # Sliced at the file's own rate: at the model's, a start between two samples would be half of one off.
    want = soxr.resample(
        soundfile.read(path, dtype="float32")[0][round(start * rate) : round(min(last, 2.0) * rate)],
        rate,
        16_000,
    )
    tail = 200 if suffix == "mp3" else 2
    assert abs(len(part) - len(want)) <= tail
    if len(want) > 400:
        assert alike(part, want)[0] > 0.98
        assert abs(alike(part, want)[1]) <= 1


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_part_at_the_model_s_rate_is_exact(tmp_path, make_chirp, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, make_chirp(3.0), 16_000)
    np.testing.assert_array_equal(read(path, start=0.5, end=1.75), read(path)[8_000:28_000])


def test_a_start_behind_the_end(recording, pipe):
    assert "ends before 7 s" in failure(recording, start=7.0)
    assert "ends before 7 s" in failure(pipe(recording.read_bytes()), start=7.0)


def test_an_end_behind_the_end_is_the_end(recording):
    np.testing.assert_array_equal(read(recording, end=100.0), read(recording))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mka"])
def test_channels(tmp_path, pipe, make_file, suffix):
    rng = np.random.default_rng(1)
    data = (rng.standard_normal((16_000, 2)) * 0.1).astype(np.float32)
    path = tmp_path / f"call.{suffix}"
    if suffix == "mka":
        make_file(path, "flac", data, 16_000)
    else:
        soundfile.write(path, data, 16_000)
    for source in (path, pipe(path.read_bytes())):
        with open_source(source, SourceOptions(split_channels=True)) as opened:
            assert opened.channels == (1, 2)
            assert opened.labels == ("left", "right")
            both = np.concatenate(list(opened.blocks()))
    np.testing.assert_allclose(both, data, atol=2 / 32_768)
    np.testing.assert_array_equal(read(path, channel=1), both[:, 0])
    np.testing.assert_array_equal(read(path, channel=2), both[:, 1])
    np.testing.assert_allclose(read(path), both.mean(axis=1), atol=1e-6)
    assert "no channel 3: it has 2 channels" in failure(path, channel=3)


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("mka", "flac"), ("mka", "libopus")])
def test_eight_channels_are_heard_each(tmp_path, make_file, suffix, codec):
    """Of decoders that give each channel a plane of its own, eight planes have no end mark."""
    t = np.arange(48_000) / 48_000
    tones = 0.3 * np.sin(2 * np.pi * t[:, None] * (200 + 100 * np.arange(8)))
    tones[:, 3] = 0.3 * np.sin(2 * np.pi * 60 * t)  # of deep sounds only
    path = make_file(tmp_path / f"film.{suffix}", codec, tones, 48_000)
    split = read(path, split_channels=True)
    assert split.shape[1] == 8
    found = [int(np.abs(np.fft.rfft(split[2000:14_000, c], 16_000)).argmax()) for c in range(8)]
    assert sorted(found) == pytest.approx([60, 200, 300, 400, 600, 700, 800, 900], abs=6)
    assert len(read(path)) == len(split)


def test_split_channels_are_resampled_each_on_its_own(tmp_path, make_chirp):
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([make_chirp(1.0, 44_100), -make_chirp(1.0, 44_100)], axis=1), 44_100)
    both = read(path, split_channels=True)
    assert both.shape == (16_000, 2)
    np.testing.assert_allclose(both[:, 0], read(path, channel=1), atol=1e-6)
    np.testing.assert_allclose(both[:, 0], -both[:, 1], atol=1e-4)


def test_mono_splits_into_one(recording):
    with open_source(recording, SourceOptions(split_channels=True)) as source:
        assert source.labels == ("channel 1",)
        assert next(source.blocks()).shape[1] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"start": -1.0},
        {"start": float("nan")},
        {"start": 3.0, "end": 3.0},
        {"end": float("inf")},
        {"channel": 0},
        {"channel": 1, "split_channels": True},
    ],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(UsageError):
        SourceOptions(**options)


def test_video_without_sound(tmp_path, make_file):
    path = make_file(tmp_path / "silent.mp4", "", np.zeros(1), 0, video=1)
    assert "without sound" in failure(path)


def test_encrypted_sound(tmp_path, make_file, make_chirp):
    key = "00112233445566778899aabbccddeeff"
    path = make_file(
        tmp_path / "bought.m4a", "aac", make_chirp(6.0, 44_100), 44_100, form="mp4",
        options={"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key},
    )  # fmt: skip
    assert "encrypted" in failure(path)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
        ("pls", "[playlist]\nFile1={}\n"),
    ],
)
def test_a_playlist_opens_nothing(tmp_path, make_file, make_chirp, suffix, text):
    secret = make_file(tmp_path / "secret.ts", "aac", make_chirp(1.0, 48_000), 48_000, form="mpegts")
    path = tmp_path / f"list.{suffix}"
    path.write_text(text.format(secret))
    failure(path)


def test_an_mp4_from_a_pipe_whose_index_comes_last_or_first(tmp_path, pipe, make_file, make_chirp):
    last = make_file(tmp_path / "memo.m4a", "aac", make_chirp(2.0, 44_100), 44_100)
    first = make_file(
        tmp_path / "fast.m4a", "aac", make_chirp(2.0, 44_100), 44_100, options={"movflags": "faststart"}
    )
    notices: list[str] = []
    with open_source(pipe(last.read_bytes()), notice=notices.append) as source:
        late = np.concatenate(list(source.blocks()))
    assert "index at the end" in notices.pop()
    with open_source(pipe(first.read_bytes()), notice=notices.append) as source:
        early = np.concatenate(list(source.blocks()))
    assert not notices
    np.testing.assert_array_equal(early, late)


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """The file cut anywhere, or with bytes of it changed."""
    changed = bytearray(data[: rng.integers(1, len(data))] if rng.random() < 0.6 else data)
    for _ in range(int(rng.integers(0, 12))):
        # Half of it in the header, where the numbers are.
        reach = len(changed) if rng.random() < 0.5 else min(400, len(changed))
        changed[int(rng.integers(0, reach))] = int(rng.integers(0, 256))
    return bytes(changed)


@pytest.mark.parametrize(
    ("suffix", "codec", "form"),
    [
        ("wav", "pcm_s16le", None), ("flac", "flac", None), ("ogg", "libopus", None), ("mp3", "mp3", None),
        ("m4a", "aac", None), ("mkv", "aac", None), ("webm", "libopus", None), ("wma", "wmav2", "asf"),
        ("aac", "aac", "adts"), ("ts", "aac", "mpegts"), ("avi", "mp2", None), ("aiff", "pcm_s16be", None),
    ],
)  # fmt: skip
def test_damage_ends_in_one_clear_line(tmp_path, pipe, capfd, make_file, make_chirp, suffix, codec, form):
    rate = 48_000 if codec == "libopus" else 44_100
    whole = make_file(tmp_path / f"whole.{suffix}", codec, make_chirp(1.0, rate), rate, form=form)
    data = whole.read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / f"damaged.{suffix}"
    for _ in range(8):
        path.write_bytes(damage(data, rng))
        for source in (path, pipe(path.read_bytes())):
            heard, message = 0, ""
            try:
                with open_source(source, SourceOptions(end=60.0)) as opened:
                    for block in opened.blocks():
                        assert np.isfinite(block).all()
                        heard += len(block)
            except InputError as error:
                message = str(error)
            assert heard or message
            assert "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("suffix", "codec", "form"),
    [("wav", "pcm_s16le", None), ("flac", "flac", None), ("mp3", "libmp3lame", None), ("mkv", "aac", None),
     ("webm", "libopus", None), ("mp4", "aac", None), ("wma", "wmav2", "asf"), ("avi", "mp2", None)],
)  # fmt: skip
def test_cut_short_gives_what_is_there_and_says_so(
    tmp_path, pipe, make_file, make_chirp, suffix, codec, form
):
    rate = 48_000 if codec == "libopus" else 44_100
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    sound = make_chirp(8.0, rate)
    data = make_file(tmp_path / f"w.{suffix}", codec, sound, rate, form=form, options=options).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: len(data) * 6 // 10])
    for source in (path, pipe(path.read_bytes())):
        heard = 0
        with pytest.raises(AudioError, match=r"cut short|damaged after"), open_source(source) as opened:
            for block in opened.blocks():
                heard += len(block)
        assert heard / 16_000 == pytest.approx(8.0 * 0.6, abs=0.8)


def test_a_folder_and_a_file_without_permission(tmp_path, recording):
    assert "-r" in failure(tmp_path)
    if os.name == "posix" and os.geteuid() != 0:
        recording.chmod(0)
        assert "opened" in failure(recording)


def test_tags_that_are_no_text_do_no_harm(tmp_path, make_chirp):
    av = pytest.importorskip("av")
    path = tmp_path / "odd.mkv"
    samples = (make_chirp(1.0) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Q" * 12
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    data = path.read_bytes()
    assert b"Q" * 12 in data
    path.write_bytes(data.replace(b"Q" * 12, b"\xff\xfe\x80\xc3" * 3))
    assert len(read(path)) == pytest.approx(16_000, abs=100)


def test_a_source_that_is_stopped_before_its_first_block_is_no_error(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(16_000, dtype=np.float32), 16_000)
    with open_source(path) as source:
        source.stop()
        assert list(source.blocks()) == []
