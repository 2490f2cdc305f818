"""What was heard, kept on disk: what goes in comes out, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemma_audio_cli.pipeline import sound_cache
from gemma_audio_cli.pipeline.sound_cache import SoundCache

WIDTH = 8
posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes of POSIX")


def key(n: int) -> bytes:
    return n.to_bytes(32, "big") if n > 255 else bytes([n]) * 32


def rows(n: int = 5, kind=np.float16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (n, WIDTH)).astype(kind)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache" / "heard"


@pytest.fixture
def notices():
    return []


@pytest.fixture
def cache(place, notices):
    return SoundCache(place, notice=notices.append)


def path_of(place, n: int):
    return place / key(n).hex()[:2] / key(n).hex()


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_what_goes_in_comes_out(cache, place, kind):
    assert cache.get(key(1), WIDTH) is None
    cache.put(key(1), rows(kind=kind))
    found = SoundCache(place).get(key(1), WIDTH)
    assert found.dtype == kind
    assert np.array_equal(found, rows(kind=kind))
    assert cache.get(key(1), WIDTH + 1) is None  # a model of another width


@posix
def test_only_this_person_can_read_it(cache, place):
    place.mkdir(parents=True)
    place.chmod(0o755)
    cache.put(key(1), rows())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (place, path_of(place, 1).parent)}
    assert modes == {0o700}
    assert stat.S_IMODE(path_of(place, 1).stat().st_mode) == 0o600


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_nothing_and_goes(cache, place, data):
    cache.put(key(1), rows())
    path = path_of(place, 1)
    whole = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["flip", "cut", "longer", "other"]))
    if how == "flip":
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "cut":
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    elif how == "longer":
        whole += data.draw(st.binary(min_size=1, max_size=50))
    else:
        whole = bytearray(data.draw(st.binary(max_size=200)))
    path.write_bytes(whole)
    assert cache.get(key(1), WIDTH) is None
    assert not path.exists()
    cache.put(key(1), rows())
    assert np.array_equal(cache.get(key(1), WIDTH), rows())


def test_numbers_that_are_none_are_damage(cache, place):
    cache.put(key(1), np.full((2, WIDTH), np.inf, dtype=np.float32))
    assert cache.get(key(1), WIDTH) is None
    assert not path_of(place, 1).exists()


@posix
@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "link-above", "file-above"])
def test_what_is_no_file_of_ours_goes_and_is_not_followed(cache, place, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("dear")
    cache.put(key(2), rows())  # the folders are there
    path = path_of(place, 1)
    if kind.endswith("above"):
        if kind == "link-above":
            path.parent.symlink_to(outside)
        else:
            path.parent.write_text("")
    else:
        path.parent.mkdir()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
            (path / "more").write_text("")
        else:
            path.symlink_to(outside / "letter")
    assert cache.get(key(1), WIDTH) is None
    cache.put(key(1), rows())
    assert np.array_equal(cache.get(key(1), WIDTH), rows())
    assert os.listdir(outside) == ["letter"]
    assert (outside / "letter").read_text() == "dear"


def size(place) -> int:
    return sum(entry.bytes for entry in sound_cache.entries(place))


def test_what_was_not_used_for_longest_goes_first(place):
    old = SoundCache(place)
    for n in range(1, 11):
        old.put(key(n), rows())
    one = size(place) // 10
    past = time.time() - 1000
    for n in range(1, 11):
        os.utime(path_of(place, n), (past + n, past + n))
    SoundCache(place).get(key(1), WIDTH)  # used
    new = SoundCache(place, limit=round(10.4 * one))
    for n in range(11, 14):
        new.put(key(n), rows())
    assert size(place) <= 10.4 * one
    left = {n for n in range(1, 14) if path_of(place, n).exists()}
    assert {1, 11, 12, 13} <= left
    assert left == {1, *range(min(left - {1}), 14)}


def test_what_this_run_has_used_stays_and_the_rest_is_not_kept(place, notices):
    one = len(rows().tobytes()) + 100
    cache = SoundCache(place, limit=3 * one, notice=notices.append)
    for n in range(1, 30):
        cache.put(key(n), rows())
    kept = [n for n in range(1, 30) if cache.get(key(n), WIDTH) is not None]
    assert kept == list(range(1, 1 + len(kept)))  # the first ones: those that are asked for first
    assert 2 <= len(kept) <= 3
    assert len(notices) == 1
    assert "cache_mb" in notices[0]


def test_a_full_disk_is_one_notice(cache, place, notices, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    for n in range(1, 5):
        cache.put(key(n), rows())
        assert cache.get(key(n), WIDTH) is None
    assert len(notices) == 1
    assert "No space left on device; --no-cache does without" in notices[0]
    assert [path for path in place.rglob("*") if path.is_file()] == []  # and no half file


def test_a_place_that_is_no_folder_is_one_notice(place, notices):
    place.parent.mkdir()
    place.write_text("in its place")
    cache = SoundCache(place, notice=notices.append)
    cache.put(key(1), rows())
    assert cache.get(key(1), WIDTH) is None
    assert len(notices) == 1
    assert place.read_text() == "in its place"


@posix
def test_a_link_in_its_place_is_not_followed(place, tmp_path, notices):
    (tmp_path / "outside").mkdir()
    place.parent.mkdir()
    place.symlink_to(tmp_path / "outside")
    cache = SoundCache(place, notice=notices.append)
    cache.put(key(1), rows())
    assert len(notices) == 1
    sound_cache.clear(place)
    assert os.listdir(tmp_path / "outside") == []
    assert not place.is_symlink()


def test_all_of_it_can_be_shown_and_cleared(cache, place):
    assert sound_cache.clear(place) == 0
    for n in range(1, 4):
        cache.put(key(n), rows(25))
    assert len(sound_cache.entries(place)) == 3
    assert sound_cache.seconds_kept(place) == pytest.approx(3.0)
    assert sound_cache.clear(place) == size(place) + 3 * (61 + 25 * WIDTH * 2 + 32)
    assert not place.exists()


def test_what_a_killed_process_left_goes(cache, place):
    cache.put(key(1), rows())
    left = path_of(place, 1).parent / f".{'0' * 16}.tmp"
    left.write_text("half")
    os.utime(left, (1, 1))
    SoundCache(place).put(key(1), rows())
    assert not left.exists()
