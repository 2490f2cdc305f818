"""The benchmarks measure what they say: how runs are paired, who else was busy, how much was decoded."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


figures = load("figures")
quiet = load("quiet")
linux = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="watching others needs Linux")


def test_ratios_are_taken_within_pairs():
    pairs = [
        ({"encode": 1.0}, {"encode": 2.0}),
        ({"encode": 4.0}, {"encode": 12.0}),
        ({"encode": 2.0}, {"encode": 5.0}),
    ]
    (row,) = figures.compare(pairs, ("encode", "not measured"))
    assert (row.ours.median, row.ours.low, row.ours.high) == (2.0, 1.0, 4.0)
    assert (row.ratio.median, row.ratio.low, row.ratio.high) == (2.5, 2.0, 3.0)


@linux
def test_a_run_reports_its_own_time_and_its_end():
    work = "import time, sys\nwhile time.process_time() < 0.3: pass\nprint('x'); sys.exit(3)"
    done = quiet.run([sys.executable, "-c", work])
    assert (done.stdout, done.status) == ("x\n", 3)
    assert 0.3 <= done.cpu_s <= done.wall_s + 0.1


@linux
def test_a_busy_neighbour_is_seen():
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        done = quiet.run([sys.executable, "-c", "import time; time.sleep(1.0)"])
    finally:
        spin.kill()
        spin.wait()
    assert done.others > 0.3  # a whole core, less what this machine's other work takes from it


@linux
def test_both_engines_run_the_same_clip(tiny_model, tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, BENCH / "compare.py", "--pair", tiny_model.text, tiny_model.mmproj]
    options = ["--seconds", "2", "--new-tokens", "5", "--runs", "2", "--threads", "1", "--quiet", "99"]
    done = subprocess.run([*command, *options, "--out", report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| load |" in done.stdout
    found = json.loads(report.read_text())
    (case,) = found["cases"].values()
    assert "products are right" in case["builds"]["llama.cpp"]
    assert case["builds"]["cosine"] > 0.9995
    assert len(case["runs"]) == 2
    for one in case["runs"]:
        for engine in ("ours", "theirs"):
            stages = ["load", "mel", "encode", "audio_prefill", "text_prefill", "decode", "total", "peak_rss"]
            assert set(one[engine]) == set(stages)
            assert min(one[engine].values()) > 0


@pytest.mark.parametrize("engine", ["ours", "llamacpp"])
def test_a_recording_is_answered_window_by_window(engine, tiny_model):
    command = [
        sys.executable,
        BENCH / "contestant.py",
        engine,
        "recording",
        tiny_model.text,
        tiny_model.mmproj,
    ]
    options = ["--minutes", "1.5", "--new-tokens", "6", "--threads", "1", "--slots", "2"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    found = json.loads(done.stdout)
    assert found["recording"] > 0
    assert found["peak_rss"] > 1e6


@linux
@pytest.mark.parametrize("job", ["pace", "left", "draft"])
def test_live_is_measured(job, tiny_model):
    pair = [tiny_model.text, tiny_model.mmproj]
    command = [sys.executable, BENCH / "live.py", job, "--pair", *pair, "--runs", "1", "--threads", "1"]
    command += ["--seconds", "2", "--pause", "1", "--utterances", "2"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    if job == "pace":
        assert result["utterances"] == 2
        assert all(0 < tokens <= 12 for tokens in result["tokens"])
    elif job == "left":
        assert 5 < result["tokens_behind_the_clip"] < 12  # a small vocabulary spells "model"
        assert result["ours"]["median"] > 0
    else:
        assert result["decoded"]["median"] > 0


@linux
def test_products_are_measured_beside_ggmls_and_plain_reads(tmp_path):
    products = load("products")
    if not products.PROGRAM.exists():
        pytest.skip("the native tests are not built")
    report = tmp_path / "products.json"
    options = ["--types", "q4_0", "--threads", "1", "--seconds", "0.01", "--json", report]
    done = subprocess.run([sys.executable, BENCH / "products.py", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heading, reads, *rows = done.stdout.splitlines()
    assert reads.startswith("1 threads: plain reads ")
    assert [row.split()[1] for row in rows] == ["1", "4", "16", "750"]
    found = json.loads(report.read_text())
    assert found[0]["products"] == heading
    timed = [one for one in found if "type" in one]
    assert {one["way"] for one in timed} >= {"ggml"}
    for one in timed:  # two figures of one time: 18 bytes are 32 weights
        assert one["gf_s"] / one["gb_s"] == pytest.approx(2 * one["rows"] * 32 / 18, rel=0.01)
