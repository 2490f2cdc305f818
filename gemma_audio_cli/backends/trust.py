"""Whose code is in a folder? A backend is machine code that runs as this person.

    distrusted(folder, library) ──► None, or why others could have put it there

Every folder from where backends lie down to a built one, all that is in it, and what it links to must belong
to this person or to root, and nobody else may write to it. Windows has no such owners; there the folder of a
person's own data has to do.
"""

from __future__ import annotations

import stat
from pathlib import Path

from gemma_audio_cli import ownership


def distrusted(folder: Path, prefix: Path) -> str | None:
    """Why the code in `prefix`, a folder somewhere in `folder`, may be somebody else's; None: it is not."""
    if not ownership.KNOWN:
        return None
    try:
        way = [folder, *(path for path in prefix.parents if folder in path.parents), prefix]
        way += prefix.rglob("*")
        for path in [*way, *(path.resolve() for path in way if path.is_symlink())]:
            reason = ownership.foreign(path, path.lstat())
            if reason is not None:
                return reason
    except (OSError, RuntimeError) as error:
        return f"{prefix} cannot be looked at: {error}"
    return None


def close(folder: Path) -> None:
    """Takes the right to write from everybody else, in the folder and all that is in it."""
    if not ownership.KNOWN:
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o022)
