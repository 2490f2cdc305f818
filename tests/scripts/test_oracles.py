"""llama.cpp lives in another process: its crash fails what asked, says how, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles import apart


def test_a_crash_fails_one_call_and_the_next_one_works(tiny_model, tmp_path):
    with pytest.raises(apart.OracleError, match=r"llama\.cpp died in crash: SIGSEGV"):
        apart.run("crash", int(signal.SIGSEGV))
    with apart.LlamaCpp(tiny_model.text) as ref:
        assert ref.forward([[4, 5]]).shape == (2, ref.n_vocab)


def test_a_crash_under_an_open_model_ends_only_that_model(tiny_model):
    with (
        pytest.raises(apart.OracleError, match=r"died in crash: SIGABRT"),
        apart.LlamaCpp(tiny_model.text) as ref,
    ):
        ref._worker.call("crash", int(signal.SIGABRT))
    with apart.LlamaCpp(tiny_model.text) as ref:
        assert ref.tokenize("<bos>") == [2]


def test_an_error_of_the_library_is_reported_and_the_process_stays(tiny_model, tmp_path):
    with pytest.raises(apart.OracleError, match="does not load"):
        apart.LlamaCpp(tmp_path / "nothing.gguf")
    before = list(apart._idle)
    with apart.LlamaCpp(tiny_model.text) as ref:
        assert ref._worker in before


def test_this_process_holds_no_llama_cpp():
    """What is imported here could end the whole run."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import oracles.apart; print('llama_cpp' in sys.modules)"
    )
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
