"""Which ggml and libllama the engine computes with: those of a release of llama-cpp-python.

An installation from source has that package beside it; a wheel that was built for machines without a
compiler has its libraries inside, beside libgemma_audio.
"""

from __future__ import annotations

from gemma_audio_cli.version import package_folders

RELEASE = "0.3.36"
"""What this version of the package is built against; pyproject.toml says the same."""


def release() -> str:
    """The release in use."""
    from importlib import metadata

    if is_bundled():
        return RELEASE
    try:
        return metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return RELEASE


def is_bundled() -> bool:
    """Whether ggml lies inside this package."""
    return any(True for folder in package_folders() for _ in (folder / "lib").glob("*ggml-base*"))
