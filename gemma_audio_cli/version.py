"""What this package is and where it lies. Imported before Ctrl-C is handled: it imports next to nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__version__ = "0.1.0"


def package_folders() -> list[Path]:
    """The package's folders; an editable installation has two: the sources, and site-packages with what was
    built.
    """
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("gemma_audio_cli")
    places = spec.submodule_search_locations if spec is not None else None
    return [Path(place) for place in places or ()]
