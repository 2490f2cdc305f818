"""gpu_check without a GPU: steps within their time, what is carried, what a figure says; all on the CPU."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

import gpu_check
from gpu import carry, checks
from gpu.memory_hog import CudaError, MemoryHog
from gpu.runner import Runner, Step, last_json

ROOT = Path(__file__).resolve().parents[2]


def step(name: str, code: str, limit_s: float = 20, *needs: str, beside: bool = False) -> Step:
    return Step(name, limit_s, [sys.executable, "-c", code], needs, beside)


def run(folder: Path, *steps: Step, limit_s: float = 60) -> dict:
    report = Runner(folder, limit_s, lambda text: None).run(steps)
    assert json.loads((folder / "report.json").read_text()) == report
    return report["steps"]


def test_a_step_that_fails_hangs_or_dies_does_not_stop_the_rest(tmp_path):
    found = run(
        tmp_path,
        step("says", "print('noise'); print('{\"a\": 1}')"),
        step("fails", "print('why'); raise SystemExit(3)"),
        step("hangs", "import time; time.sleep(60)", 0.5),
        step("dies", "import os; os.abort()"),
        step("needs", "print('{}')", 20, "says", "hangs"),
        step("last", "print('{\"b\": 2}')"),
    )
    assert found["says"]["found"] == {"a": 1}
    assert (found["fails"]["error"], found["fails"]["said"]) == ("status 3", ["why"])
    assert found["hangs"]["error"].startswith("ended after ")
    assert found["dies"]["error"] == "status -6"
    assert found["needs"]["error"] == "left out: it needs hangs"
    assert found["last"]["found"] == {"b": 2}
    assert [entry["ok"] for entry in found.values()] == [True, False, False, False, False, True]


def test_all_of_it_ends_in_time(tmp_path):
    begin = time.monotonic()
    found = run(
        tmp_path,
        step("aside", "import time; time.sleep(60)", 60, beside=True),
        step("long", "import time; time.sleep(60)", 60),
        step("late", "print('{}')"),
        limit_s=1.5,
    )
    assert time.monotonic() - begin < 10
    assert found["late"]["error"] == "left out: no time is left"
    assert not any(entry["ok"] for entry in found.values())


def test_steps_run_beside_others_until_they_are_needed(tmp_path):
    slow = "import time; time.sleep(1.0); print('{\"end\": %f}' % time.time())"
    now = "import time; print('{\"end\": %f}' % time.time())"
    found = run(tmp_path, step("a", slow, beside=True), step("b", now), step("c", now, 20, "a"))
    assert list(found) == ["b", "a", "c"]
    assert found["b"]["found"]["end"] < found["a"]["found"]["end"] < found["c"]["found"]["end"]


def test_what_a_step_started_ends_with_it(tmp_path):
    child = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    found = run(tmp_path, step("a", f"{child}; print('{{\"pid\": %d}}' % p.pid)"))
    pid = found["a"]["found"]["pid"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (['{"a": 1}', "later"], {"a": 1}),
        (['{"a": 1}', "{broken"], {"a": 1}),
        (["no", "[1]"], None),
        ([], None),
    ],
)
def test_the_last_object_is_what_a_step_found(lines, found):
    assert last_json(lines) == found


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("mel, max abs difference                     4.8e-06   <= 1e-04", True),
        ("mel, max abs difference                     4.8e-03   <= 1e-04", False),
        ("a: embeddings, worst token's cosine       0.9999950   >= 0.9999", True),
        ("a: embeddings, worst token's cosine       0.9000000   >= 0.9999", False),
        ("a: embeddings, worst token's cosine             nan   >= 0.9999", False),
        ("a: greedy tokens that agree                   31/32   all", False),
        ("a: greedy tokens that agree                   32/32   all", True),
        ("q4_0: ours / libllama, top-1, ties counted    99.0%   ", None),
    ],
)
def test_a_figure_is_judged_by_its_bound(line, verdict):
    assert checks.within(line) is verdict


def test_every_step_has_a_check_and_what_it_needs_comes_before():
    for words in ([], ["--installed"]):
        args = gpu_check.parse(words)
        steps = gpu_check.steps(args, {})
        assert {one.name for one in steps} == set(checks.CHECKS) - ({"build"} if words else set())
        seen: set[str] = set()
        for one in steps:
            assert set(one.needs) <= seen
            seen.add(one.name)
            assert one.command[-2:] == ["--step", one.name]
    assert sum(one.limit_s for one in steps if not one.beside) < 2 * gpu_check.LIMIT_S


def test_a_kit_has_what_the_build_reads_and_little_else(tmp_path):
    root = "llama_cpp_python-0.3.36"
    kept = ["CMakeLists.txt", "PKG-INFO", "llama_cpp/llama.py", "vendor/llama.cpp/CMakeLists.txt",
            "vendor/llama.cpp/ggml/src/ggml-cuda/mmq.cu", "vendor/llama.cpp/src/llama.cpp",
            "vendor/llama.cpp/tools/mtmd/mtmd.cpp", "vendor/llama.cpp/tools/CMakeLists.txt",
            "vendor/llama.cpp/ggml/src/ggml-cpu/ops.cpp"]  # fmt: skip
    left = [".git/modules/a.pack", "examples/b.py", "vendor/llama.cpp/docs/a.md",
            "vendor/llama.cpp/models/x.gguf",
            "vendor/llama.cpp/ggml/src/ggml-vulkan/y.cpp", "vendor/llama.cpp/tools/server/z.js",
            "vendor/llama.cpp/tools/mtmd/test-1.jpeg.png"]  # fmt: skip
    archive = tmp_path / f"{root}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in (*kept, *left):
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    kit = tmp_path / "kit"
    kit.mkdir()
    made = carry.prune(archive, kit)
    with tarfile.open(made) as tar:
        assert {member.name for member in tar} == {f"{root}/{name}" for name in kept}
    with zipfile.ZipFile(kit / "thing-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "x = 1")
    gpu_check.unpack(kit, tmp_path / "site")
    found = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.py")}
    assert found == {"thing.py", "llama_cpp/llama.py"}


def test_a_build_is_given_to_the_engine_and_to_llama_cpp(tmp_path, monkeypatch):
    from gemma_audio_cli.backends import store
    from gemma_audio_cli.engine._binding import ABI_VERSION, library_name

    prefix = tmp_path / "cuda" / "1.0-llama1.0-20260101T000000Z"
    library = prefix / "gemma_audio_cli" / "lib" / library_name()
    library.parent.mkdir(parents=True)
    library.touch()
    store.write_record(prefix, store.Record("cuda", "1.0", "1.0", ABI_VERSION, (), "2026"))
    for name in ("GEMMA_AUDIO_LIBRARY", "LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH", "GEMMA_AUDIO_BACKENDS_DIR"):
        monkeypatch.setenv(name, "")
    begun = []
    monkeypatch.setattr(os, "execv", lambda program, words: begun.append(words))
    gpu_check.use_build(tmp_path)
    assert len(begun) == 1
    assert os.environ["GEMMA_AUDIO_LIBRARY"] == str(library)
    assert os.environ["LLAMA_CPP_LIB_PATH"] == str(prefix / "llama_cpp" / "lib")
    gpu_check.use_build(tmp_path)  # the process that began anew
    assert len(begun) == 1


def test_without_cuda_there_is_one_line():
    try:
        MemoryHog(leave=1 << 60)
    except CudaError:
        with pytest.raises(CudaError, match=r"^libcudart is not found$"):
            MemoryHog(leave=1 << 60)


@pytest.mark.slow
def test_the_whole_check_on_the_cpu(tmp_path):
    """All steps but the build, with the CPU as the device and a tiny model."""
    command = [sys.executable, ROOT / "scripts" / "gpu_check.py", "--device", "CPU", "--installed"]
    options = ["--size", "tiny", "--minutes", "1", "--runs", "1", "--out", tmp_path]
    options += ["--patience", "10", "--limit", "1500"]  # for a machine that has other work
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    report = json.loads((tmp_path / "report.json").read_text())
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert set(report["steps"]) == set(checks.CHECKS) - {"build"}
    assert (tmp_path / "table.txt").read_text() == done.stdout
    assert report["steps"]["clip"]["found"]["cosine"] > 0.999
