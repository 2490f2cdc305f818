"""How many windows are decoded together: the choice, what it costs, and what is remembered."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from gemma_audio_cli.decoding.options import AUTO_SLOTS, DEFAULT_SLOTS, DecodeOptions
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.errors import OutOfMemoryError
from gemma_audio_cli.memory import Memory
from gemma_audio_cli.pipeline import slots

AUTO = DecodeOptions(slots=AUTO_SLOTS)


@pytest.fixture(scope="module")
def engine(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1, device="CPU")) as opened:
        yield opened


@pytest.fixture
def steps(monkeypatch):
    """Measurements in place of real ones, and how often one was asked for."""

    class Steps:
        seconds: tuple[float, ...] = (1.0, 1.1, 1.3, 2.5, 5.0)
        asked = 0

        def __call__(self, _engine, most):
            self.asked += 1
            return iter([(n, s) for n, s in zip(slots.COUNTS, self.seconds, strict=True) if n <= most])

    found = Steps()
    monkeypatch.setattr(slots, "step_seconds", found)
    return found


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        ((1.0, 2.0, 4.0, 8.0, 16.0), 1),  # nothing is shared
        ((1.0, 1.1, 1.3, 2.5, 5.0), 4),
        ((1.0, 1.0, 1.0, 1.0, 1.0), 16),
        ((1.0, 1.9, 2.0, 2.0, 2.0), 1),  # each doubling has to gain
        ((1.0, 1.5, 2.5, 4.4, 8.7), 8),
    ],
)
def test_the_largest_count_that_still_gains(seconds, count):
    rates = {n: n / s for n, s in zip(slots.COUNTS, seconds, strict=True)}
    assert slots.best(rates) == count
    assert slots.best(dict(slots._rates(zip(slots.COUNTS, seconds, strict=True)))) == count


def test_every_doubling_below_the_choice_gained():
    rng = random.Random(5)
    for _ in range(300):
        rates = {n: rng.uniform(0.5, 2.0) * n for n in slots.COUNTS[: rng.randint(1, 5)]}
        count, counts = slots.best(rates), sorted(rates)
        gains = [rates[b] >= rates[a] * slots.GAIN for a, b in pairwise(counts)]
        at = counts.index(count)
        assert all(gains[:at])
        assert at == len(counts) - 1 or not gains[at]


def test_a_named_number_is_taken_as_it_is(engine, steps, tmp_path):
    for count in (1, 3, 64):
        assert slots.chosen(engine, DecodeOptions(slots=count), tmp_path / "f").count == count
    assert steps.asked == 0


def test_it_is_measured_once(engine, steps, tmp_path):
    file = tmp_path / "folder" / "slots.json"
    first = slots.chosen(engine, AUTO, file)
    second = slots.chosen(engine, AUTO, file)
    assert (first.count, second.count, steps.asked) == (4, 4, 1)
    assert "measured now" in first.reason
    assert second.reason == "4 windows together; measured before, tokens/s by 1: 1.0, 2: 1.8, 4: 3.1, 8: 3.2"
    assert [path.name for path in file.parent.iterdir()] == ["slots.json"]


def test_another_processor_model_or_age_is_measured_again(engine, steps, tmp_path, monkeypatch):
    file = tmp_path / "slots.json"
    slots.chosen(engine, AUTO, file)
    with monkeypatch.context() as other:
        other.setattr(slots, "cpu_products", lambda: "avx2: q4_0")
        slots.chosen(engine, AUTO, file)
    with monkeypatch.context() as other:
        other.setattr(slots, "identity", lambda files: "other")
        slots.chosen(engine, AUTO, file)
    assert steps.asked == 3
    assert len(json.loads(file.read_text())) == 3
    slots.chosen(engine, AUTO, file)
    assert steps.asked == 3
    later = time.time() + 31 * 86400
    monkeypatch.setattr(slots.time, "time", lambda: later)
    slots.chosen(engine, AUTO, file)
    assert steps.asked == 4


@pytest.mark.parametrize(
    "damage",
    ["", "[]", "{", "3", '{"KEY": 3}', '{"KEY": {"slots": 7, "time": NOW, "tokens_per_second": []}}',
     '{"KEY": {"slots": "many", "time": NOW, "tokens_per_second": []}}',
     '{"KEY": {"slots": 8, "time": 1e999, "tokens_per_second": []}}',
     '{"KEY": {"slots": 8, "time": NOW, "tokens_per_second": [1]}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_is_measured_anew(damage, engine, steps, tmp_path):
    file = tmp_path / "slots.json"
    key = slots._key(engine, slots.affordable(engine, AUTO))
    file.write_text(damage.replace("KEY", key).replace("NOW", str(time.time())))
    assert slots.chosen(engine, AUTO, file).count == 4
    assert steps.asked == 1
    assert key in json.loads(file.read_text())


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(engine, steps, tmp_path):
    (tmp_path / "file").write_text("")
    assert slots.chosen(engine, AUTO, tmp_path / "file" / "slots.json").count == 4


def test_memory_limits_the_count(engine, steps, tmp_path, monkeypatch):
    monkeypatch.setattr(slots, "memory", lambda: Memory(1 << 40, 1 << 40))
    assert slots.affordable(engine, AUTO) == 16
    info = engine.info
    seconds = AUTO.max_seconds
    positions = 25 * seconds + AUTO.budget(seconds)
    least = positions * info.n_layer_kv * info.n_embd * 4  # of one window
    for windows in (2, 5, 9, 17):
        monkeypatch.setattr(slots, "memory", lambda w=windows: Memory(1 << 40, int(w * least * 4)))
        assert slots.affordable(engine, AUTO) < windows
    monkeypatch.setattr(slots, "memory", lambda: Memory(1 << 30, 1))
    assert slots.chosen(engine, AUTO, tmp_path / "f").count == 1
    assert steps.asked == 0
    monkeypatch.setattr(slots, "memory", lambda: Memory(None, None))
    assert slots.affordable(engine, AUTO) == DEFAULT_SLOTS


def test_a_device_without_room_gets_the_usual_count(engine, monkeypatch, tmp_path):
    def full(_engine, _most):
        raise OutOfMemoryError("no memory for a K/V cache")

    monkeypatch.setattr(slots, "step_seconds", full)
    assert slots.chosen(engine, AUTO, tmp_path / "f").count == DEFAULT_SLOTS
    assert not (tmp_path / "f").exists()


def test_real_steps_are_measured_and_leave_nothing_open(engine):
    found = list(slots.step_seconds(engine, 8))
    assert [count for count, _ in found] == [1, 2, 4, 8]
    assert all(seconds > 0 for _, seconds in found)
    assert not list(engine._children)


def test_a_transcript_does_not_depend_on_the_number(tiny_model):
    """Sixteen slots fill up little by little; the windows come back in order, with the same text."""
    from gemma_audio_cli.audio.segment.windows import Window
    from gemma_audio_cli.decoding.transcriber import Transcriber

    rng = np.random.default_rng(3)
    sounds = [rng.standard_normal(8000 + 700 * (i % 5)).astype(np.float32) * 0.1 for i in range(24)]
    windows = [Window(float(i), sound) for i, sound in enumerate(sounds)]
    base = DecodeOptions(tokens_per_second=8, min_tokens=2, max_seconds=2.0)
    texts = {}
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1, device="CPU")) as engine:
        for count in (1, 4, 16):
            transcriber = Transcriber(engine, replace(base, slots=count))
            texts[count] = [(s.start, s.text, s.tokens) for s in transcriber.transcribe(windows)]
            transcriber.close()
    assert texts[16] == texts[4] == texts[1]
