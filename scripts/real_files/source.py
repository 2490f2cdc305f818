"""What llama.cpp's sources hold about Gemma 4, fetched once by pip and kept in the user's cache.

    requirements/llama.txt ──► pip download, checked by hash ──► LlamaSource: vocabulary, templates, converter

The release is the one that the project builds. GEMMA_AUDIO_SOURCE_CACHE names another folder than the user's
cache; without a network, put a copy of a filled one there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENT = ROOT / "requirements" / "llama.txt"
CACHE_VARIABLE = "GEMMA_AUDIO_SOURCE_CACHE"

_IN_ARCHIVE = re.compile(r"[^/]+/vendor/llama\.cpp/(.+)")
_KEPT = (
    "models/ggml-vocab-gemma-4.gguf",  # and its .inp and .out
    "models/templates/google-gemma-4",
    "convert_hf_to_gguf.py",
    "conversion/",
    "gguf-py/gguf/",
    "LICENSE",
)
_SEPARATOR = "\n__ggml_vocab_test__\n"


class SourceError(RuntimeError):
    """The sources cannot be had; the message is one line."""


@dataclass(frozen=True)
class LlamaSource:
    """A folder with the parts of llama.cpp that are about Gemma 4."""

    folder: Path

    @property
    def vocabulary(self) -> Path:
        """A GGUF with the released vocabulary (262,144 tokens, 514,906 merges) and without weights."""
        return self.folder / "models" / "ggml-vocab-gemma-4.gguf"

    @property
    def converter(self) -> Path:
        """convert_hf_to_gguf.py, with the packages it imports beside it."""
        return self.folder / "convert_hf_to_gguf.py"

    @property
    def gguf_package(self) -> Path:
        """The folder to put on the path for the converter's own `gguf`."""
        return self.folder / "gguf-py"

    def template_files(self) -> list[Path]:
        """Google's chat templates."""
        return sorted((self.folder / "models" / "templates").glob("*.jinja"))

    def templates(self) -> dict[str, str]:
        """The same by name."""
        return {path.stem: path.read_text(encoding="utf-8") for path in self.template_files()}

    def vocabulary_tests(self) -> list[tuple[str, list[int]]]:
        """llama.cpp's own tests of the vocabulary: texts, and their tokens by the original tokenizer."""
        texts = Path(f"{self.vocabulary}.inp").read_bytes().decode().split(_SEPARATOR)
        lines = Path(f"{self.vocabulary}.out").read_text(encoding="utf-8").splitlines()
        if len(texts) != len(lines):
            raise SourceError(f"{self.vocabulary}: {len(texts)} test texts, {len(lines)} results")
        return [(text, [int(n) for n in line.split()]) for text, line in zip(texts, lines, strict=True)]


def release() -> str:
    """`llama-cpp-python==0.3.36`, as requirements/llama.txt pins it."""
    match = re.search(r"^llama-cpp-python==[0-9.]+", REQUIREMENT.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise SourceError(f"{REQUIREMENT}: llama-cpp-python is not pinned there")
    return match[0]


def cache_folder() -> Path:
    """Where sources and what is made of them is kept."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("gemma-audio-tests")


def fetch() -> LlamaSource:
    """The sources; the first call downloads 77 MB, later ones nothing. Raises SourceError."""
    wanted = release()
    folder = cache_folder() / wanted.replace("==", "-")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as temporary:
            made = Path(temporary) / "sources"
            _unpack(download(wanted, Path(temporary)), made)
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():  # another process was faster
                    raise
    return LlamaSource(folder)


def download(wanted: str, folder: Path) -> Path:
    """The archive of `release()`, by pip, which checks its hash and asks the installed build backend for
    its name.
    """
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
        "--no-build-isolation", "--require-hashes", "-r", str(REQUIREMENT), "-d", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode or len(found) != 1:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SourceError(f"pip does not download the sources of {wanted}: {last}")
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    """The files of `_KEPT`, without the folders above them."""
    with tarfile.open(archive) as tar:
        for member in tar:
            match = _IN_ARCHIVE.fullmatch(member.name)
            if match is None or not member.isfile() or not match[1].startswith(_KEPT):
                continue
            target = folder / match[1]
            if ".." in Path(match[1]).parts:
                raise SourceError(f"{archive}: {member.name} leads out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            data = tar.extractfile(member)
            assert data is not None  # it is a file
            with data, target.open("wb") as out:
                shutil.copyfileobj(data, out)
    if not LlamaSource(folder).vocabulary.is_file():
        raise SourceError(f"{archive}: models/ggml-vocab-gemma-4.gguf is not in it")
