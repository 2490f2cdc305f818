"""What is here: listing, choosing, using and removing models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gemma_audio_cli.memory import Memory
from gemma_audio_cli.models import names, store
from tests.models.hub import ALT, E2B, E4B

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(cache, monkeypatch) -> Path:
    """The cache, for this process too."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def config(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.toml"


def put(cache: Path, repository: str, *files: str, commit: str = "a" * 40, content: bytes = b"GGUF") -> None:
    """Files as the hub's library would have left them where links cannot be made."""
    for name in files:
        path = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_list_shows_what_there_is_and_what_is_here(models):
    before = models("list")
    assert before.code == 0
    for word in ("e2b:Q4_0", "e4b:Q8_0", "12b:Q4_K_M", "Without -m: demo"):
        assert word in before.out
    models("pull", "e2b")
    after = json.loads(models("list", "--json").out)
    (pulled,) = after["pulled"]
    assert (pulled["model"], pulled["repository"], after["default"]) == ("e2b:Q4_0", E2B, "e2b:Q4_0")


def test_a_pulled_model_is_used_where_none_is_named(cli, models, recording):
    assert "demo model" in cli("transcribe", recording).err
    models("pull", "e2b")
    done = cli("transcribe", "-v", recording)
    assert done.code == 0
    assert "demo model" not in done.err
    assert done.out == cli("transcribe", "-m", "e2b", recording).out
    assert done.out == cli("transcribe", "-m", f"{E2B}:Q4_0", recording).out


def test_a_model_that_is_not_here_is_one_line(cli, recording):
    done = cli("transcribe", "-m", "e4b", recording)
    assert (done.code, done.out) == (3, "")
    assert (
        done.err
        == "gemma-audio: error: model e4b is not on this machine; gemma-audio models pull e4b gets it\n"
    )


def test_the_largest_that_fits_is_the_best(here, monkeypatch):
    for repository, label in ((E2B, "E2B"), (E4B, "E4B"), ("ggml-org/gemma-4-12B-it-GGUF", "12B")):
        put(here, repository, f"gemma-4-{label}-it-Q4_0.gguf", f"mmproj-gemma-4-{label}-it-bf16.gguf")
    for memory, alias in ((None, "12b"), (16e9, "12b"), (6e9, "e4b"), (3e9, "e2b"), (1e9, "e2b")):
        monkeypatch.setattr("gemma_audio_cli.memory.memory", lambda total=memory: Memory(total, None))
        best = store.best()
        assert best is not None
        assert best.alias == alias, memory


def test_other_programs_models_are_not_ours(here):
    put(here, "some/llama-GGUF", "llama-Q4_0.gguf", "mmproj-llama-F16.gguf")
    put(here, "no-projector/gemma-4-E2B-it-GGUF", "gemma-4-E2B-it-Q4_0.gguf")
    put(here, "unfinished/x", "a-00001-of-00002.gguf", "mmproj-a-F16.gguf")
    assert list(store.pulled_models()) == []
    assert store.best() is None


def test_other_gemma_models_count(here, tiny_model):
    put(here, "me/mine", "mine-Q4_0.gguf", content=tiny_model.text.read_bytes())
    put(here, "me/mine", "mmproj-mine-BF16.gguf")
    best = store.best()
    assert best is not None
    assert str(best.spec) == "me/mine:Q4_0"
    assert store.find(names.parse_spec("me/mine")) == best


def test_rubbish_in_the_cache_is_ignored(here):
    for name in ("models--x", "models--a--b", "models--..--..", "models--a--\x1b[31m", "datasets--a--b"):
        (here / name).mkdir(parents=True)
    (here / "models--c--d").write_bytes(b"")
    (here / "models--a--b" / "snapshots").write_bytes(b"")
    assert list(store.pulled_models()) == []


def test_the_newest_commit_counts(here):
    put(here, ALT, "a-Q4_0.gguf", "mmproj-a-F16.gguf", commit="a" * 40)
    put(here, ALT, "a-Q4_0.gguf", "mmproj-a-F16.gguf", commit="b" * 40)
    refs = store.repository_folder(ALT) / "refs"
    refs.mkdir()
    for commit in ("a" * 40, "b" * 40):
        (refs / "main").write_text(commit, encoding="ascii")
        pulled = store.find(names.parse_spec("e2b"))
        assert pulled is not None
        assert pulled.text.parent.name == commit


# ---- remove --------------------------------------------------------------------------------------


def test_remove_keeps_the_projector_for_what_is_left(models, cache):
    models("pull", "e2b")
    models("pull", "e2b:Q8_0")
    done = models("remove", "e2b:Q8_0")
    assert done.code == 0
    assert "free again" in done.err
    assert models("path", "e2b:Q8_0").code == 3
    assert models("verify", "e2b").code == 0
    assert models("remove", "-q", "e2b").err == ""
    assert models("path", "e2b").code == 3
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert models("remove", "e2b").code == 3


def test_remove_warns_when_the_settings_name_it(models):
    models("pull", "e2b")
    models("use", "e2b")
    assert "the settings name e2b" in models("remove", "e2b").err


@pytest.mark.parametrize("name", ["demo", "nonsense", "../../etc", "/etc/passwd"])
def test_remove_takes_pulled_models_only(models, name):
    done = models("remove", name)
    assert (done.code, done.out) == (2, "")


# ---- use -----------------------------------------------------------------------------------------


def test_use_writes_the_settings_and_keeps_the_rest(models, tmp_path, cli, recording):
    models("pull", "e2b")
    config(tmp_path).parent.mkdir()
    config(tmp_path).write_text(
        '# mine\nthreads = 1 # one\nmodel = "demo"\nmmproj = "x.gguf"\n', encoding="utf-8"
    )
    done = models("use", "e2b")
    assert done.code == 0
    assert config(tmp_path).read_text(encoding="utf-8") == '# mine\nthreads = 1 # one\nmodel = "e2b"\n'
    assert "mmproj" in done.err
    assert models("path").out == models("path", "e2b").out
    assert models("use", "demo").code == 0
    assert 'model = "demo"' in config(tmp_path).read_text(encoding="utf-8")


def test_use_of_a_file_writes_its_whole_path(models, tiny_model, tmp_path):
    assert models("use", tiny_model.text).code == 0
    assert f'model = "{tiny_model.text}"' in config(tmp_path).read_text(encoding="utf-8")


def test_use_of_what_is_not_here_changes_nothing(models, tmp_path):
    assert models("use", "e4b").code == 3
    assert models("use", tmp_path / "none.gguf").code == 3
    assert not config(tmp_path).exists()


# ---- where links cannot be made ------------------------------------------------------------------


NO_LINKS = """
import os, sys
def refuse(*_): raise OSError("a privilege is not held")
os.symlink = refuse
from gemma_audio_cli.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_without_links_files_lie_under_their_names_and_keep_their_hash(environment, hub, cache):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", NO_LINKS, "models", *arguments]
        env = environment | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    done = run("pull", "e2b")
    assert done.returncode == 0, done.stderr
    text, mmproj = map(Path, done.stdout.splitlines())
    assert not text.is_symlink()
    assert not any((cache / f"models--{E2B.replace('/', '--')}" / "blobs").iterdir())
    assert run("verify", "e2b").stdout.count("as the hub said") == 2
    text.write_bytes(text.read_bytes()[:-1] + b"?")
    assert run("verify", "e2b").returncode == 3
    sent = hub.sent
    assert run("pull", "e2b").returncode == 0
    assert hub.sent == sent + text.stat().st_size
    assert run("verify", "e2b").returncode == 0
    assert run("remove", "e2b").returncode == 0
    assert not text.exists()
    assert not mmproj.exists()
