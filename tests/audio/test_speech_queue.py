"""What waits to be understood: in order, all of it, in memory or on disk; and the ear that fills it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.audio.capture import speech_queue as module
from gemma_audio_cli.audio.capture.ingest import AudioIngest, at_speaking_pace
from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
from gemma_audio_cli.audio.segment.utterances import End, Speech, Utterances, all_speech, live_cut
from gemma_audio_cli.errors import AudioError

RATE = 16_000


def speech(first: int, count: int) -> Speech:
    return Speech(np.arange(first, first + count, dtype=np.float32), first + count)


def taken(speech_queue: SpeechQueue) -> list:
    """All there is: speech joined between ends."""
    out, joined = [], np.empty(0, dtype=np.float32)
    while True:
        try:
            found = speech_queue.take(0.0)
        except EOFError:
            break
        if found is None:
            break
        if isinstance(found.event, End):
            out += [joined, found.event]
            joined = np.empty(0, dtype=np.float32)
        else:
            joined = np.concatenate((joined, found.event.samples))
    return [*out, joined]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans(), st.booleans()), max_size=30))
def test_all_comes_out_in_order_whether_in_memory_or_on_disk(steps):
    speech_queue = SpeechQueue(in_memory=0.2)
    at, got, ends, joined = 0, [], [], []
    for count, ended, taking in steps:
        speech_queue.put(speech(at, count))
        at += count
        if ended:
            speech_queue.put(End(at / RATE, count))
            ends.append(at)
        if taking:
            got += taken(speech_queue)
    assert speech_queue.seconds >= 0
    speech_queue.close()
    got += taken(speech_queue)
    joined = np.concatenate([item for item in got if not isinstance(item, End)] or [np.empty(0)])
    np.testing.assert_array_equal(joined, np.arange(at))
    assert [round(item.start * RATE) for item in got if isinstance(item, End)] == ends
    assert speech_queue.seconds == on_disk(speech_queue) == speech_queue.ends == 0
    speech_queue.dispose()


def on_disk(speech_queue: SpeechQueue) -> float:
    """Seconds of the speech that waits in a file."""
    return speech_queue._spooled / RATE


def test_what_memory_does_not_hold_is_on_disk():
    speech_queue = SpeechQueue(in_memory=1.0)
    for second in range(10):
        speech_queue.put(speech(second * RATE, RATE))
    assert (speech_queue.seconds, on_disk(speech_queue), speech_queue.longest) == (10.0, 9.0, 10.0)
    first = speech_queue.take(0.0)
    assert len(first.event.samples) == 5 * RATE  # no more at once
    assert on_disk(speech_queue) == 5.0


def test_a_full_disk_loses_nothing(monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", full)
    speech_queue = SpeechQueue(in_memory=1.0)
    for second in range(10):
        speech_queue.put(speech(second * RATE, RATE))
    assert (speech_queue.seconds, on_disk(speech_queue)) == (10.0, 0.0)
    speech_queue.close()
    np.testing.assert_array_equal(taken(speech_queue)[-1], np.arange(10 * RATE))


def test_who_takes_waits_for_sound_and_no_longer():
    speech_queue = SpeechQueue()
    start = time.monotonic()
    assert speech_queue.take(0.05) is None
    assert time.monotonic() - start < 10.0
    threading.Timer(0.05, speech_queue.put, [speech(0, 10)]).start()
    assert speech_queue.take(60.0).event.end == 10
    threading.Timer(0.05, speech_queue.close, [AudioError("gone")]).start()
    with pytest.raises(AudioError, match="gone"):
        speech_queue.take(60.0)


def test_what_was_heard_before_a_failure_counts():
    def blocks():
        yield np.ones(2000, dtype=np.float32)
        raise AudioError("cable: pulled")

    kept: list[int] = []
    speech_queue = SpeechQueue()
    ear = AudioIngest(
        blocks(),
        Utterances(live_cut(0.6, 30.0), all_speech),
        speech_queue,
        taps=[lambda block: kept.append(len(block))],
    )
    ear.start()
    assert ear.join(10.0)
    assert kept == [2000]
    assert len(speech_queue.take(0.0).event.samples) == 2000
    assert speech_queue.take(0.0).event == End(0.0, 2000)
    with pytest.raises(AudioError, match="cable"):
        speech_queue.take(0.0)


def test_a_gate_lets_through_what_is_said_while_it_is_open():
    talking = iter([False, True, True, False, False, True, False])
    blocks = [np.full(512, n, dtype=np.float32) for n in range(7)]
    speech_queue, kept = SpeechQueue(), []
    ear = AudioIngest(
        blocks,
        Utterances(live_cut(0.6, 30.0), all_speech),
        speech_queue,
        taps=[lambda block: kept.append(block[0])],
        gate=lambda: next(talking),
    )
    ear.start()
    assert ear.join(10.0)
    found = taken(speech_queue)
    assert [list(dict.fromkeys(item)) for item in found[::2]] == [[1, 2], [5], []]
    assert found[1::2] == [End(0.0, 1024), End(1024 / RATE, 512)]
    assert kept == [1, 2, 5]
    assert ear.seconds == 3 * 512 / RATE


def test_a_replay_takes_as_long_as_the_recording(monkeypatch):
    clock, rests = [100.0], []

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    pieces = []
    for piece in at_speaking_pace([np.zeros(RATE // 2, dtype=np.float32)]):
        pieces.append((len(piece), round(clock[0] - 100.0, 6)))
        clock[0] += 0.25 if len(pieces) == 2 else 0.0  # who takes it is busy: the next ones do not wait
    assert pieces == [(1600, 0.1), (1600, 0.2), (1600, 0.45), (1600, 0.45), (1600, 0.5)]
    assert sum(rests) == pytest.approx(0.25)
    assert not list(at_speaking_pace([np.zeros(RATE * 60, dtype=np.float32)], lambda: True))
