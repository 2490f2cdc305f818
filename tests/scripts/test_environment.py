"""scripts/environment.sh: when llama.cpp is installed, proved and built anew; sh runs it, Python pretends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Answers as each of the scripts would, by files in the folder `state`; writes what pip is asked to state/log.
PYTHON = r"""#!/bin/sh
case "$*" in
*"amx.py --processor") cat state/processor ;;
*amx.py) printf 'what was found\n%s\n' "-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse' $CMAKE_ARGS" ;;
*prove_ggml.py)
    echo prove >>state/log
    if [ -e state/broken ]; then kill -SEGV $$; fi
    echo "all is right" ;;
-) cat >/dev/null; echo FINGERPRINT ;;
-c*) [ -e state/llama ] ;;
*llama.txt)
    echo "$* [$CMAKE_ARGS]" >>state/log
    touch state/llama
    case "$*" in *--force-reinstall*) [ -e state/hopeless ] || rm -f state/broken ;; esac ;;
*) ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with an environment that pretends."""
    for name in ("scripts", "requirements", "state", ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "environment.sh", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements" / "llama.txt", tmp_path / "requirements")
    (tmp_path / ".venv/bin/python").write_text(PYTHON)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / "state/processor").write_text("milan\n")
    return tmp_path


def prepare(folder: Path, level: str = "base") -> tuple[int, str, list[str]]:
    """(exit code, what was said, what was done since the last time)."""
    log = folder / "state" / "log"
    log.write_text("")
    code = f"set -eu; . scripts/environment.sh; prepare {level}"
    done = subprocess.run(["sh", "-c", code], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines()


def test_a_fresh_environment_is_proved_and_remembered(folder):
    code, said, done = prepare(folder)
    assert code == 0, said
    assert "ggml and AMX: what was found" in said
    assert "runs on this processor: all is right" in said
    assert len(done) == 2
    assert "--require-hashes" in done[0]
    assert "--no-cache-dir" not in done[0]
    assert "[-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'" in done[0]
    assert (folder / ".venv/installed").read_text() == "FINGERPRINT base milan\n"
    assert prepare(folder) == (0, "", [])


def test_a_wheel_from_the_cache_that_crashes_is_built_anew(folder):
    (folder / "state/broken").touch()
    code, said, done = prepare(folder)
    assert code == 0, said
    assert "exit code 139" in said
    assert [line == "prove" for line in done] == [False, True, False, True]
    assert "--no-cache-dir --force-reinstall" in done[2]
    assert "-fno-dse" in done[2]


def test_what_never_runs_is_an_error_that_names_a_way_out(folder):
    for name in ("broken", "hopeless"):
        (folder / "state" / name).touch()
    code, said, _ = prepare(folder)
    assert code == 1
    assert "CMAKE_ARGS=-DGGML_NATIVE=OFF" in said
    assert not (folder / ".venv/installed").exists()


def test_on_another_processor_the_proof_is_made_again(folder):
    prepare(folder, "test")
    (folder / "state/processor").write_text("sapphirerapids\n")
    code, said, done = prepare(folder)
    assert (code, done) == (0, ["prove"])
    assert "made on another processor" in said
    assert (folder / ".venv/installed").read_text() == "FINGERPRINT test sapphirerapids\n"


def test_a_record_of_before_processors_were_kept_is_no_proof(folder):
    (folder / "state/llama").touch()
    (folder / ".venv/installed").write_text("FINGERPRINT base\n")
    assert prepare(folder)[2] == ["prove"]


def test_a_wrong_product_is_no_proof():
    """The real proof, with sums that were tampered with."""
    code = "import sys, prove_ggml as p; real = p.product\n"
    code += "p.product = lambda *a: None if (y := real(*a)) is None else y[:, ::-1]\nsys.exit(p.main([]))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "cosine" in done.stdout
