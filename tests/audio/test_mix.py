"""Several channels to one: by their layout, and with nothing cancelled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.read.layout import mask_layout, mix_weights
from gemma_audio_cli.audio.read.mix import Mixer

RATE = 8_000
SURROUND = ("FL", "FR", "FC", "LFE", "BL", "BR")
MASKS = {"5.1": 0x3F, "5.1(side)": 0x60F, "7.1": 0x63F, "quad": 0x33, "3.0": 0x7}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Float32 [n]."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def mix(*channels: np.ndarray, layout=(), sizes=(10**9,), reported=None) -> np.ndarray:
    """The channels, cut into blocks of these sizes over and over, as one."""
    data = np.stack(channels, axis=1)
    mixer = Mixer(layout, data.shape[1], RATE, "x.wav", (reported if reported is not None else []).append)
    out, at, n = [], 0, 0
    while at < len(data):
        size = sizes[n % len(sizes)]
        out += mixer.push(data[at : at + size])
        at, n = at + size, n + 1
    out += mixer.finish()
    return np.concatenate(out)[:, 0]


def strength(found: np.ndarray, wanted: np.ndarray) -> float:
    """How much of `wanted` is in `found`: 1 for the same."""
    return float(found @ wanted / (wanted @ wanted))


@pytest.mark.parametrize("apart", [0.0, 0.1, 1.0])
def test_what_agrees_or_has_nothing_in_common_is_averaged_to_the_bit(apart):
    voice = noise(2)
    left, right = voice + apart * noise(2, 1), voice + apart * noise(2, 2)
    want = np.stack([left, right], axis=1).mean(axis=1, dtype=np.float32)
    reported: list[str] = []
    np.testing.assert_array_equal(mix(left, right, reported=reported), want)
    np.testing.assert_array_equal(mix(noise(2, 3), noise(2, 4)), (noise(2, 3) + noise(2, 4)) / 2)
    assert reported == []


@pytest.mark.parametrize("share", [1.0, 0.8, 0.5])
@pytest.mark.parametrize("seconds", [0.02, 0.35, 3.0])
@pytest.mark.parametrize("hiss", [0.0, 0.3])
def test_opposite_phase_is_heard_at_any_length(share, seconds, hiss):
    voice, reported = noise(seconds), list[str]()
    n = len(voice)
    left, right = voice + hiss * noise(seconds, 1), -share * voice + hiss * noise(seconds, 2)
    mixed = mix(left, right, reported=reported)
    assert len(mixed) == n
    assert abs(strength(mixed, voice)) > 0.6
    assert len(reported) == (seconds > 1)  # half a second of it is reported, once
    assert all("opposite phase" in text and text.startswith("x.wav: ") for text in reported)


def test_only_the_part_that_is_opposite_is_turned():
    voice, reported = noise(6), list[str]()
    other = voice.copy()
    other[2 * RATE : 4 * RATE] *= -1  # a part that was cut in from elsewhere
    mixed = mix(voice, other, reported=reported)
    for second in range(6):
        part = slice(second * RATE + RATE // 4, (second + 1) * RATE)
        assert abs(strength(mixed[part], voice[part])) > 0.9
    np.testing.assert_array_equal(mixed[: 2 * RATE], voice[: 2 * RATE])
    assert len(reported) == 1


def test_hum_that_both_wires_pick_up_hides_nothing():
    t = np.arange(4 * RATE) / RATE
    hum = (0.3 * np.sin(2 * np.pi * 50 * t)).astype(np.float32)
    voice = noise(4)
    assert abs(strength(mix(voice + hum, hum - voice), voice)) > 0.6


def test_what_is_in_phase_stays_where_other_sound_is_not():
    # A voice in opposite phase, and a quieter one that both channels have alike.
    voice, other = noise(3), 0.4 * noise(3, 1)
    mixed = mix(other + voice, other - voice)
    assert abs(strength(mixed, voice)) > 0.9
    assert abs(strength(mixed, other)) > 0.3


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=6),
    signs=st.lists(st.sampled_from([1.0, -1.0, 0.3]), min_size=3, max_size=3),
    surround=st.booleans(),
)
@example(sizes=[1], signs=[1.0, 1.0, 1.0], surround=True)  # one block or many: other orders in memory
def test_any_blocks_give_the_same(sizes, signs, surround):
    voice = noise(1.3)
    channels = [sign * voice + 0.01 * noise(1.3, n) for n, sign in enumerate(signs * (2 if surround else 1))]
    layout = SURROUND if surround else ()
    np.testing.assert_array_equal(mix(*channels, layout=layout, sizes=sizes), mix(*channels, layout=layout))


def test_a_voice_in_the_centre_stands_out():
    voice = noise(4)
    rest = [noise(4, seed) for seed in range(1, 6)]
    mixed = mix(rest[0], rest[1], voice, rest[2], rest[3], rest[4], layout=SURROUND)
    left = mixed - strength(mixed, voice) * voice
    # The usual downmix: 1 to 0.71, 0.71, 0.5, 0.5, which is -1.8 dB.
    assert np.square(left).mean() < 0.1 * np.square(strength(mixed, voice) * voice).mean()
    assert np.abs(mixed).max() <= max(np.abs(channel).max() for channel in (voice, *rest))


def test_a_voice_in_front_is_heard_where_the_centre_is_silent():
    voice, silence = noise(4), np.zeros(4 * RATE, dtype=np.float32)
    hiss = [0.2 * noise(4, seed) for seed in (1, 2)]
    mixed = mix(voice, voice, silence, silence, *hiss, layout=SURROUND)[3 * RATE :]
    left = mixed - strength(mixed, voice[3 * RATE :]) * voice[3 * RATE :]
    assert np.square(left).mean() < 0.05 * np.square(mixed).mean()


@pytest.mark.parametrize("name", MASKS)
def test_masks_name_what_ffmpeg_names(name):
    av = pytest.importorskip("av")
    names = tuple(channel.name for channel in av.AudioLayout(name).channels)
    assert mask_layout(MASKS[name], len(names)) == names
    assert mask_layout(MASKS[name], len(names) + 1) == ()


@pytest.mark.parametrize(
    "name", ["mono", "stereo", "2.1", "3.0", "4.0", "quad", "5.0", "5.1", "5.1(side)", "6.1", "7.1",
             "5.1.2(back)", "hexagonal", "octagonal", "downmix", "binaural", "22.2"],
)  # fmt: skip
def test_every_layout_of_ffmpeg(name):
    av = pytest.importorskip("av")
    names = [channel.name for channel in av.AudioLayout(name).channels]
    for voice in (False, True):
        weights = dict(zip(names, mix_weights(names, len(names), voice=voice), strict=True))
        assert max(weights.values()) == 1.0
        assert min(weights.values()) >= 0
        assert weights.get("LFE", 0.0) == 0.0
        if "FC" in names and len(names) > 1:
            assert all(weights["FC"] > weight for at, weight in weights.items() if at != "FC")
        if "FL" in names:
            assert weights["FL"] == weights["FR"]


@pytest.mark.parametrize("layout", [(), ("FL", "FR"), ("NONE",) * 6, ("FL",) * 6, tuple("abcdef")])
def test_an_unknown_layout_counts_every_channel(layout):
    assert mix_weights(layout, 6) == (1.0,) * 6


def test_numbers_that_are_none_in_a_channel_that_does_not_count():
    voice = noise(1)
    broken = np.full_like(voice, np.nan)
    mixed = mix(voice, voice, voice, broken, voice, voice, layout=SURROUND)
    np.testing.assert_allclose(mixed, voice, atol=1e-6)
