"""Where the program keeps what it could find out again: measurements, and what was heard."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder; it may not be there yet."""
    if chosen := os.environ.get("GEMMA_AUDIO_CACHE_DIR"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("gemma-audio", appauthor=False)
