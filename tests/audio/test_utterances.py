"""Utterances given while they are spoken are the windows that the cutter finds afterwards."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.segment.segmenter import SegmentationOptions, Segmenter
from gemma_audio_cli.audio.segment.utterances import End, Speech, Utterances, all_speech, live_cut
from gemma_audio_cli.audio.segment.vad import FRAME


class Listed:
    """A detector that says what it was told to."""

    def __init__(self, probabilities: list[float]) -> None:
        self._left = iter(probabilities)

    def __call__(self, _frame: np.ndarray) -> float:
        return next(self._left, 0.0)


def collected(events, samples: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(start, samples) of each utterance, put together as a listener would."""
    found, given = [], np.empty(0, dtype=np.float32)
    for event in events:
        if isinstance(event, Speech):
            assert len(event.samples)
            np.testing.assert_array_equal(event.samples, samples[event.end - len(event.samples) : event.end])
            given = np.concatenate((given, event.samples))
        else:
            found.append((event.start, given[: event.samples]))
            assert event.samples + event.rest <= len(given)
            given = given[len(given) - event.rest :]
    assert not len(given), "speech that no utterance has"
    return found


def events(utterances: Utterances, samples: np.ndarray, sizes: list[int]):
    at = 0
    for size in sizes:
        yield from utterances.push(samples[at : at + size])
        at += size
    yield from utterances.push(samples[at:])
    yield from utterances.finish()


# Runs of speech and silence: (speech?, frames, how sure).
RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 90), st.floats(0.0, 0.3)), max_size=12)
OPTIONS = st.builds(
    SegmentationOptions,
    max_seconds=st.sampled_from([1.0, 2.0, 5.0]),
    skip_pause=st.sampled_from([0.2, 0.6, 2.5]),
    tidy_pause=st.sampled_from([0.2, 0.6]),
    search_seconds=st.sampled_from([0.5, 10.0]),
)


@settings(max_examples=300, deadline=None)
@given(
    RUNS, OPTIONS, st.integers(0, FRAME - 1), st.lists(st.integers(1, 9000), max_size=8), st.integers(0, 9)
)
def test_they_are_the_windows_that_the_cutter_finds(runs, options, tail, sizes, seed):
    probabilities = [1.0 - doubt if speech else doubt for speech, n, doubt in runs for _ in range(n)]
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(len(probabilities) * FRAME + tail).astype(np.float32)
    cutter, detector, expected = Segmenter(options), Listed(probabilities), []
    for at in range(0, len(samples), FRAME):
        expected.append(cutter.push(samples[at : at + FRAME], detector(samples)))
    expected.append(cutter.finish())
    windows = [window for window in expected if window is not None]

    found = collected(events(Utterances(options, Listed(probabilities)), samples, sizes), samples)

    assert [start for start, _ in found] == [window.start for window in windows]
    for (_, ours), window in zip(found, windows, strict=True):
        np.testing.assert_array_equal(ours, window.samples)


def test_speech_is_given_while_it_lasts_and_a_pause_is_held_back():
    # 20 frames of speech, a pause, speech: what lies beyond the room around speech is not given yet.
    probabilities = [1.0] * 20 + [0.0] * 15 + [1.0] * 5
    samples = np.ones(40 * FRAME, dtype=np.float32)
    utterances = Utterances(live_cut(0.6, 30.0), Listed(probabilities))
    given = [0]
    for at in range(0, len(samples), FRAME):
        new = list(utterances.push(samples[at : at + FRAME]))
        assert all(isinstance(event, Speech) for event in new)
        given.append(given[-1] + sum(len(event.samples) for event in new))
    frames = [count // FRAME for count in given]
    assert frames[1:21] == list(range(1, 21))
    assert frames[35] == 29  # nine frames of room, 0.3 s
    assert frames[36:41] == [36, 37, 38, 39, 40]


def test_an_utterance_can_be_ended_by_hand():
    utterances = Utterances(live_cut(0.6, 30.0), all_speech)
    first = [*utterances.push(np.ones(4 * FRAME, dtype=np.float32)), *utterances.end()]
    second = [*utterances.push(np.ones(2 * FRAME, dtype=np.float32)), *utterances.end(), *utterances.end()]
    assert first[-1] == End(0.0, 4 * FRAME)
    assert second[-1] == End(4 * FRAME / 16_000, 2 * FRAME)
    assert not list(utterances.finish())
