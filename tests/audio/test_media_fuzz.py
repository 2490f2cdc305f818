"""Damaged recordings of every container: samples or one line, in bounded time and memory. For longer:
`python scripts/fuzz/media.py --seconds N`.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def media():
    spec = importlib.util.spec_from_file_location("media_fuzz", ROOT / "scripts" / "fuzz" / "media.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "media").glob("*.*")), ids=lambda path: path.name)
def test_what_was_found_once(media, path, piped):
    options = {"end": media.LONGEST}
    assert media.outcome(path.read_bytes(), path.suffix[1:], options, piped=piped) is None


def test_numbers_that_signal(media):
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)
    data = head + b"data" + struct.pack("<I", 8_000) + struct.pack("<I", 0x7FA00000) * 1_000 + bytes(4_000)
    assert media.outcome(data, "wav", {}, piped=False) is None


def test_a_few_hundred_damaged_recordings(media):
    count, findings = media.fuzz(iter(range(400)), time.monotonic() + 20)
    assert findings == []
    assert count > 10


def test_the_fuzzer_sees_what_it_is_for(media, monkeypatch):
    # What a child takes is told from its parent's peak, which many tests have raised far above the present.
    monkeypatch.setattr(media, "MOST_MEMORY", 100 << 20)
    for harm, word in (
        (lambda path, options: os.kill(os.getpid(), 11), "SIGSEGV"),
        (lambda path, options: os.write(2, b"chatter") and None, "chatter"),
        (lambda path, options: len(b"x" * (1500 << 20)) and None, "memory"),
        (lambda path, options: "wrong", "wrong"),
    ):
        monkeypatch.setattr(media, "read", harm)
        assert word in media.outcome(b"x", "wav", {}, piped=False)
    monkeypatch.setattr(media, "MOST_SECONDS", 1)
    monkeypatch.setattr(media, "read", lambda path, options: time.sleep(30))
    assert "no end" in media.outcome(b"x", "wav", {}, piped=False)
