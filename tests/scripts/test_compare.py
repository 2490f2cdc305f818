"""compare.py without its runs: which classes there are, what is left to measure, the table of them all."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
sys.path.insert(0, str(BENCH))

cases = importlib.import_module("cases")
compare = importlib.import_module("compare")
cpu_classes = importlib.import_module("cpu_classes")
duel = importlib.import_module("duel")
llama_builds = importlib.import_module("llama_builds")
model_files = importlib.import_module("model_files")
tables = importlib.import_module("tables")

ZEN5 = frozenset(
    [
        "sse4_2",
        "avx",
        "avx2",
        "bmi2",
        "f16c",
        "fma",
        "avx_vnni",
        "avx512f",
        "avx512_bf16",
        "avx512vbmi",
        "avx512_vnni",
    ]
)
LAPTOP = frozenset(["sse4_2", "avx", "avx2", "bmi2", "f16c", "fma", "avx_vnni"])
XEON = ZEN5 | {"amx_tile", "amx_int8"}
INSTALLED_ON_ZEN5 = [
    "SSE3",
    "SSSE3",
    "AVX",
    "AVX_VNNI",
    "AVX2",
    "F16C",
    "FMA",
    "BMI2",
    "AVX512",
    "AVX512_VBMI",
    "AVX512_VNNI",
    "AVX512_BF16",
    "LLAMAFILE",
    "OPENMP",
    "REPACK",
]
"""As ggml reported it on such a processor."""


def run(**figures: float) -> dict[str, float]:
    return figures


# ---- classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "possible"),
    [
        (ZEN5, ["avx512", "avxvnni", "avx2"]),
        (LAPTOP, ["avxvnni", "avx2"]),
        (XEON, ["amx", "avx512", "avxvnni", "avx2"]),
        (frozenset(), []),
    ],
)
def test_a_processor_can_be_measured_as_its_class_and_smaller_ones(flags, possible):
    assert [one.name for one in cpu_classes.CLASSES if one.is_here(flags)] == possible
    largest = cpu_classes.largest(flags)
    assert (largest.name if largest else None) == (possible[0] if possible else None)


def test_an_installed_build_is_a_classs_best_only_if_it_uses_all_of_it_and_no_more():
    best = {one.name for one in cpu_classes.CLASSES if one.is_best(INSTALLED_ON_ZEN5, ZEN5)}
    assert "avx512" in best
    assert not best & {"avxvnni", "avx2"}
    for missing in ("AVX512_VNNI", "FMA"):
        fewer = [name for name in INSTALLED_ON_ZEN5 if name != missing]
        assert not cpu_classes.find("avx512").is_best(fewer, ZEN5)


def test_a_build_for_a_class_switches_everything_else_off():
    told = {}
    for one in cpu_classes.CLASSES:
        (name, features, _), *others = llama_builds.candidates(one, XEON)
        assert name == one.name
        assert [name for name, *_ in others] == (["avx512"] if one.name == "amx" else [])
        values = dict(word[2:].split("=") for word in llama_builds.options(features))
        told[one.name] = {key for key in cpu_classes.LINUX_NAMES if values[f"GGML_{key}"] == "ON"}
        assert values["GGML_NATIVE"] == "OFF"
    assert told["amx"] > told["avx512"] > told["avxvnni"] > told["avx2"]
    assert told["avxvnni"] - told["avx2"] == {"AVX_VNNI"}
    assert told["avx2"] == {"SSE42", "AVX", "AVX2", "BMI2", "F16C", "FMA"}
    # A processor without some of it gets a build without.
    (_, features, _), *_ = llama_builds.candidates(cpu_classes.find("avx512"), ZEN5 - {"avx512_bf16"})
    assert "AVX512_BF16" not in features


def test_both_engines_are_given_the_build(tmp_path):
    environment = llama_builds.Build(tmp_path, "").environment()
    assert set(environment) == {"LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH"}
    assert set(environment.values()) == {str(tmp_path)}


def test_a_class_that_is_not_there_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(llama_builds.amx, "cpu_flags", lambda: LAPTOP)
    with pytest.raises(
        llama_builds.BuildError, match="no AVX-512 VNNI; it can be measured as: avxvnni, avx2"
    ):
        llama_builds.best(cpu_classes.find("avx512"), tmp_path, print)


# ---- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--against", "server"],
        ["--against", "server", "--job", "recording"],
        ["--against", "server", "--job", "recording", "--class", "avx2"],
        ["--pair", "a", "b", "--text-type", "q4_0", "q8_0"],
        ["--class", "avx3"],
        ["--text-type", "q9"],
        ["--threads", "0"],
        ["--runs", "0"],
        ["--busy", "-1"],
    ],
)
def test_options_that_do_not_go_together_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        compare.parse(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_files_in_real_format_and_the_whole_processor_are_the_default():
    args = compare.parse([])
    assert (args.text_type, args.mmproj_type, args.classes, args.jobs) == (
        ["q4_0"],
        "bf16",
        ["native"],
        ["clip"],
    )
    assert "q4_0" in model_files.QUANTISED  # by llama.cpp's quantiser, with its mixtures
    text, mmproj = compare.pair_of(args, "q4_k_m")
    assert (text.name, mmproj.name) == ("e2b-q4_k_m.gguf", "mmproj-e2b-bf16.gguf")


# ---- resuming ------------------------------------------------------------------------------------


class Fights:
    """In place of runs: counts them, and ends the program at one of them."""

    def __init__(self, end_at: int | None = None) -> None:
        self.turns: list[tuple[str, int]] = []
        self._end_at = end_at

    def __call__(self, _args, _files, case, _build):
        fights = self

        class Duel:
            def fight(self, turn: int):
                if len(fights.turns) == fights._end_at:
                    raise KeyboardInterrupt
                fights.turns.append((case.key, turn))
                return duel.Fought((run(total=1.0), run(total=3.0)), 0.5, {"llama.cpp": "x"})

        return Duel()


def measured(monkeypatch, out: Path, fights: Fights, *words: str) -> int:
    monkeypatch.setattr(compare, "Duel", fights)
    monkeypatch.setattr(compare, "builds", lambda classes, _cache: dict.fromkeys(classes))
    monkeypatch.setattr(compare.machine, "engine", lambda: "e")
    pair = ["--pair", "a.gguf", "b.gguf"]
    return int(
        compare.main([*pair, "--class", "avx512", "avx2", "--out", str(out), "--threads", "2", *words])
    )


def test_a_benchmark_goes_on_where_it_was(monkeypatch, tmp_path, capsys):
    out = tmp_path / "out.json"
    first = Fights(end_at=4)
    with pytest.raises(KeyboardInterrupt):
        measured(monkeypatch, out, first)
    second = Fights()
    assert measured(monkeypatch, out, second, "--at-most", "1") == 0
    assert "1 pairs are missing" in capsys.readouterr().err
    third = Fights()
    assert measured(monkeypatch, out, third) == 0
    turns = first.turns + second.turns + third.turns
    assert turns == [(f"{name}/q4_0/clip/2/0", turn) for name in ("avx512", "avx2") for turn in range(3)]
    assert measured(monkeypatch, out, again := Fights()) == 0
    assert again.turns == []
    assert measured(monkeypatch, out, again, "--only-table", "--runs", "9") == 0
    assert again.turns == []


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"about": 3, "cases": {}}'])
def test_a_file_of_something_else_is_left_as_it_is(damage, monkeypatch, tmp_path, capsys):
    out = tmp_path / "out.json"
    out.write_text(damage)
    assert measured(monkeypatch, out, Fights()) == 1
    assert str(out) in capsys.readouterr().err
    assert out.read_text() == damage


def test_figures_of_another_clip_are_not_mixed_in(monkeypatch, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert measured(monkeypatch, out, Fights()) == 0
    assert measured(monkeypatch, out, Fights(), "--seconds", "10") == 1
    assert "another seconds" in capsys.readouterr().err
    assert json.loads(out.read_text())["about"]["seconds"] == 30.0


# ---- tables --------------------------------------------------------------------------------------


def test_one_table_has_all_classes_and_types():
    clip, recording = (cases.Case("avx2", "q4_k_m", job, 2) for job in ("clip", "recording"))
    other = cases.Case("avx512", "q4_0", "clip", 1, busy=1)
    found = [
        (clip, [(run(encode=1.0, total=2.0), run(encode=t, total=8.0)) for t in (2.0, 5.0, 3.0)]),
        (recording, [(run(recording=100.0, peak_rss=2e9), run(recording=450.0, peak_rss=5e9))]),
        (other, [(run(encode=0.05, total=1.0), run(encode=0.1, total=0.5))]),
    ]
    lines = tables.summary(found).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "AVX2, Q4_K_M, 2 T", "AVX-512 VNNI, Q4_0, 1 T, 1 busy",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[2].split("|")[2:-1]] == ["3.00", "", "", "4.00", "4.50", "", ""]
    assert len({line.count("|") for line in lines}) == 1
    text = tables.details(found)
    assert "| AVX2, Q4_K_M, 2 T (3) | encode | 1.00 s | 3.00 s (2.00-5.00) | **3.00** (2.00-5.00) |" in text
    assert "|  | peak RSS | 2.00 GB | 5.00 GB | **2.50** (2.50-2.50) |" in text
    assert "0.050 s" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_logits_agree_by_their_direction(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    one = rng.standard_normal(1000).astype(np.float32)
    for name, values in (("a", one), ("b", 3 * one), ("c", rng.standard_normal(1000).astype(np.float32))):
        np.save(tmp_path / f"{name}.npy", values)
    assert duel.agreement(tmp_path / "a.npy", tmp_path / "b.npy") == pytest.approx(1.0)
    assert abs(duel.agreement(tmp_path / "a.npy", tmp_path / "c.npy")) < 0.2


def test_a_process_that_computed_with_another_ggml_is_found(tmp_path):
    build = llama_builds.Build(tmp_path, "x")
    case = cases.Case("avx2", "q4_0", "clip", 1)
    fight = duel.Duel(compare.parse([]), (tmp_path, tmp_path), case, build)
    right = {"ggml": [str(tmp_path / "libggml-cpu.so.0")], "products": "avx2: q4_0"}
    fight._check({"ours": right, "llamacpp": right})
    for wrong in ([], ["/elsewhere/libggml-cpu.so.0"], [*right["ggml"], "/elsewhere/libggml-cpu.so.0"]):
        with pytest.raises(duel.DuelError, match="computed with"):
            fight._check({"ours": right, "llamacpp": {"ggml": wrong}})
    unknown = "left out: GEMMA_AUDIO_CPU_CLASS is avx2, which is no class of processors"
    with pytest.raises(duel.DuelError, match="knows no class avx2"):
        fight._check({"ours": {**right, "products": unknown}, "llamacpp": right})


def test_their_recording_is_a_part_of_it_times_as_many(tmp_path):
    args = compare.parse(["--minutes", "10", "--sample", "2"])
    fight = duel.Duel(args, (tmp_path, tmp_path), cases.Case("native", "q4_0", "recording", 1), None)
    assert fight._whole({"recording": 7.0, "load": 1.0}) == {"recording": 35.0, "load": 1.0}
    clip = duel.Duel(args, (tmp_path, tmp_path), cases.Case("native", "q4_0", "clip", 1), None)
    assert clip._whole({"total": 7.0}) == {"total": 7.0}
