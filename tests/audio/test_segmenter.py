"""Speech windows: properties of the cutter on made-up probabilities, and real recordings cut by it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.segment.segmenter import SegmentationOptions, Segmenter, channel_windows, frames
from gemma_audio_cli.audio.segment.vad import FRAME, SpeechDetector
from gemma_audio_cli.sound import SAMPLE_RATE

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "speech"
SECOND = SAMPLE_RATE / FRAME
"""Frames a second."""

runs = st.lists(st.tuples(st.booleans(), st.integers(1, 500)), min_size=1, max_size=8)
"""Stretches of speech and silence, in frames of 32 ms."""


def cut(stretches, options=None):
    """The frames' speech, and the windows as ranges of frames."""
    cutter, windows, speech = Segmenter(options), [], []
    for is_speech, length in stretches:
        for _ in range(length):
            number = len(speech)
            speech.append(is_speech)
            # Every sample tells where it is from.
            window = cutter.push(np.full(FRAME, number, dtype=np.float32), 0.9 if is_speech else 0.05)
            if window is not None:
                windows.append(window)
    last = cutter.finish()
    if last is not None:
        windows.append(last)
    ranges = []
    for window in windows:
        first = round(window.start * SECOND)
        ranges.append((first, first + len(window.samples) // FRAME))
        np.testing.assert_array_equal(window.samples[::FRAME], np.arange(*ranges[-1]))
    return speech, ranges


@settings(deadline=None, max_examples=60)
@given(runs, st.floats(1.0, 30.0))
def test_windows_hold_all_speech_never_overlap_and_never_exceed_the_limit(stretches, limit):
    speech, ranges = cut(stretches, SegmentationOptions(max_seconds=limit))
    covered = np.zeros(len(speech), dtype=bool)
    for first, end in ranges:
        assert not covered[first:end].any()
        covered[first:end] = True
        assert (end - first) * FRAME <= limit * SAMPLE_RATE
        assert any(speech[first:end])
    assert covered[np.array(speech)].all()
    assert ranges == sorted(ranges)


@settings(deadline=None, max_examples=60)
@given(runs)
@example([(True, 288), (False, 30), (True, 119), (True, 500)])
def test_cuts_lie_in_pauses_while_the_last_ten_seconds_have_one(stretches):
    options = SegmentationOptions()
    speech, ranges = cut(stretches, options)
    pause = round(options.min_pause * SECOND)
    for (first, end), (following, _) in pairwise(ranges):
        through_speech = following == end and speech[end - 1] and speech[end]
        if through_speech:
            full = first + int(options.max_seconds * SECOND)
            tail = speech[full - int(10 * SECOND) : full]
            longest = current = 0
            for is_speech in tail:
                current = 0 if is_speech else current + 1
                longest = max(longest, current)
            assert longest < pause


def test_long_silence_is_left_out_and_short_pauses_are_not():
    speech, ranges = cut([(False, 200), (True, 60), (False, 20), (True, 60), (False, 400), (True, 60)])
    assert len(ranges) == 2
    assert sum(end - first for first, end in ranges) < len(speech) - 500
    (first, end), _ = ranges
    assert not speech[first]
    assert all(speech[200:260])
    assert first < 200
    assert end > 340


def test_silence_alone_gives_nothing_and_holds_nothing():
    cutter = Segmenter()
    for _ in range(10_000):
        assert cutter.push(np.zeros(FRAME, dtype=np.float32), 0.0) is None
    assert cutter.finish() is None
    assert len(cutter._audio) == 0


@given(st.lists(st.integers(0, 5_000), max_size=20))
@settings(deadline=None)
def test_frames_are_the_blocks_in_other_pieces(sizes):
    signal = np.arange(sum(sizes), dtype=np.float32)
    blocks = np.split(signal, np.cumsum(sizes)[:-1]) if sizes else []
    found = list(frames(blocks))
    assert all(len(frame) == FRAME for frame in found[:-1])
    np.testing.assert_array_equal(np.concatenate([*found, np.empty(0)]), signal)


def speech_windows(blocks):
    return [window for _channel, window in channel_windows(blocks, ())]


def film_clips():
    return sorted((SPEECH / "film").glob("*.wav"))


@pytest.mark.skipif(not SPEECH.is_dir(), reason="the recordings of ../shared/speech are not here")
def test_real_speech_is_covered_and_never_cut_through():
    for path in film_clips():
        samples = soundfile.read(path, dtype="float32")[0]
        detector = SpeechDetector()
        probabilities = np.array([detector(frame) for frame in frames([samples])])
        windows = speech_windows([samples])
        covered = np.zeros(len(probabilities), dtype=bool)
        for window in windows:
            first, end = round(window.start * SECOND), -(-round(window.end * SAMPLE_RATE) // FRAME)
            assert window.seconds <= 30.0
            covered[first:end] = True
        assert covered[probabilities >= 0.5].all(), path.name
        for window in windows[:-1]:
            at = min(round(window.end * SECOND), len(probabilities) - 1)
            assert probabilities[at] < 0.5, f"{path.name}: cut through speech at {window.end:.2f} s"


@pytest.mark.skipif(not SPEECH.is_dir(), reason="the recordings of ../shared/speech are not here")
def test_any_blocks_give_the_same_windows():
    samples = soundfile.read(film_clips()[0], dtype="float32")[0]
    whole = speech_windows([samples])
    pieces = speech_windows(np.array_split(samples, 37))
    assert [(w.start, len(w.samples)) for w in whole] == [(w.start, len(w.samples)) for w in pieces]


def test_impossible_options_are_refused():
    for bad in ({"max_seconds": 0.5}, {"max_seconds": 31.0}, {"min_pause": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            SegmentationOptions(**bad)
