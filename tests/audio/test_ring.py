"""The ring between the sound card's thread and ours: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.audio.capture.ring import Ring

STEPS = st.lists(st.tuples(st.sampled_from(["write", "read"]), st.integers(0, 40)), max_size=60)


@given(capacity=st.integers(1, 30), steps=STEPS)
def test_it_is_a_queue_of_bounded_length(capacity, steps):
    ring, held, came, lost = Ring(capacity), [], 0, 0
    for what, count in steps:
        if what == "write":
            block = np.arange(came, came + count, dtype=np.float32)
            came += count
            fitting = min(count, capacity - len(held))
            assert ring.write(block) == fitting
            held += block[:fitting].tolist()
            lost += count - fitting
        else:
            assert ring.read(count).tolist() == held[:count]
            del held[:count]
        assert len(ring) == len(held)
        assert ring.lost == lost
        assert ring.written - ring.taken == len(held)


def test_what_was_read_is_a_copy():
    ring = Ring(4)
    ring.write(np.ones(4, dtype=np.float32))
    first = ring.read(4)
    ring.write(np.zeros(4, dtype=np.float32))
    assert first.tolist() == [1, 1, 1, 1]


def test_a_ring_without_room_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Ring(0)


def test_two_threads_lose_and_repeat_nothing():
    # float32 counts exactly to 2^24.
    total, ring = 200_000, Ring(997)
    sizes = np.random.default_rng(1).integers(1, 300, 5000)

    def write() -> None:
        at = 0
        for size in np.resize(sizes, total):
            block = np.arange(at, min(at + int(size), total), dtype=np.float32)
            while len(block):
                block = block[ring.write(block) :]
                time.sleep(0)  # whose turn it is must not depend on who holds the interpreter
            at += int(size)
            if at >= total:
                return

    writer = threading.Thread(target=write)
    writer.start()
    expected = 0
    while expected < total:
        got = ring.read(211)
        if not len(got):
            time.sleep(0)
        assert np.array_equal(got, np.arange(expected, expected + len(got), dtype=np.float32))
        expected += len(got)
    writer.join()
    assert len(ring) == 0
