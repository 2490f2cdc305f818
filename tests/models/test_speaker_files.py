"""What tells speakers apart is pulled like a model: whole, with the hash that is known, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.models import speaker_files
from tests.forks import ROOT, Result

CONTENTS = {
    file.repository: {file.name: b"\x08\x08" + bytes([i]) * 70_000}
    for i, file in enumerate(speaker_files.REMOTE)
}

EXPECTING = """
import sys
from dataclasses import replace
from gemma_audio_cli.cli import run
from gemma_audio_cli.models import speaker_files
sizes, hashes = sys.argv[1].split(","), sys.argv[2].split(",")
speaker_files.REMOTE = tuple(
    replace(file, size=int(size), sha256=sha256)
    for file, size, sha256 in zip(speaker_files.REMOTE, sizes, hashes)
)
sys.exit(run(sys.argv[3:]))
"""
"""The command line, with other files expected than the released ones, which this machine cannot get."""


@pytest.fixture
def pull(environment, hub, tmp_path):
    """Pulls from a hub with files of the same names."""
    hub.repositories.update({name: dict(files) for name, files in CONTENTS.items()})
    data = [files[file.name] for file in speaker_files.REMOTE for files in [CONTENTS[file.repository]]]

    def run(*arguments: str) -> Result:
        sizes = ",".join(str(len(content)) for content in data)
        hashes = ",".join(hashlib.sha256(content).hexdigest() for content in data)
        done = subprocess.run(
            [sys.executable, "-c", EXPECTING, sizes, hashes, "models", "pull", *arguments, "speakers"],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
            env=environment | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def test_both_files_come(pull, hub, cache):
    done = pull()
    assert done.code == 0, done.err
    assert "MIT" in done.err
    assert "Apache-2.0" in done.err
    paths = [Path(line) for line in done.out.splitlines()]
    assert [path.read_bytes() for path in paths] == [
        CONTENTS[file.repository][file.name] for file in speaker_files.REMOTE
    ]
    for path, file in zip(paths, speaker_files.REMOTE, strict=True):
        assert path.is_relative_to(
            cache / f"models--{file.repository.replace('/', '--')}" / "snapshots" / file.commit
        )
    sent = hub.sent
    again = pull("-q")
    assert (again.code, again.out, again.err, hub.sent) == (0, done.out, "", sent)


def test_what_is_not_as_released_gets_no_name(pull, hub, cache):
    file = speaker_files.REMOTE[1]
    hub.repositories[file.repository][file.name] = b"\0" * 70_002
    done = pull("-q")
    assert (done.code, done.out) == (3, "")
    assert "arrived damaged" in done.err
    assert not list(cache.rglob(file.name))


def test_the_command_finds_what_was_pulled(monkeypatch, tmp_path):
    monkeypatch.setattr("gemma_audio_cli.models.store.cache_folder", lambda: tmp_path)
    with pytest.raises(ModelNotFoundError, match="models pull speakers"):
        speaker_files.speaker_files()
    for file in speaker_files.REMOTE:
        path = speaker_files.path_of(file)
        path.parent.mkdir(parents=True)
        path.touch()
    found = speaker_files.speaker_files()
    assert [found.segmentation, found.embedding] == [speaker_files.path_of(f) for f in speaker_files.REMOTE]


def test_a_folder_of_ones_own(tmp_path):
    (tmp_path / "segmentation.onnx").touch()
    with pytest.raises(ModelNotFoundError, match=r"embedding\.onnx: no such file"):
        speaker_files.speaker_files(str(tmp_path))
    (tmp_path / "embedding.onnx").touch()
    assert speaker_files.speaker_files(str(tmp_path)).embedding == tmp_path / "embedding.onnx"


def test_the_released_files_are_named_in_full():
    for file in speaker_files.REMOTE:
        assert len(file.sha256 or "") == 64
        assert len(file.commit) == 40
        assert replace(file, size=0).blob_name == file.sha256
