"""Whose code is in a folder? A backend is machine code that runs as this person.

    distrusted(folder, library) ──► None, or why others could have put it there

Every folder from where backends lie down to a built one, all that is in it, and what it links to must belong
to this person or to root, and nobody else may write to it. Windows has no such owners; there the folder of a
person's own data has to do.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def distrusted(folder: Path, prefix: Path) -> str | None:
    """Why the code in `prefix`, a folder somewhere in `folder`, may be somebody else's; None: it is not."""
    if sys.platform == "win32":
        return None
    try:
        way = [folder, *(path for path in prefix.parents if folder in path.parents), prefix]
        way += prefix.rglob("*")
        for path in [*way, *(path.resolve() for path in way if path.is_symlink())]:
            found = path.lstat()
            if found.st_uid not in (0, os.geteuid()):
                return f"{path} belongs to another user ({found.st_uid})"
            # Where a link leads is looked at itself; who may write to it says nothing.
            if not stat.S_ISLNK(found.st_mode) and _others_write(found):
                return f"others may write to {path}; chmod go-w forbids it"
    except (OSError, RuntimeError) as error:
        return f"{prefix} cannot be looked at: {error}"
    return None


def close(folder: Path) -> None:
    """Takes the right to write from everybody else, in the folder and all that is in it."""
    if sys.platform == "win32":
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o022)


def _others_write(found: os.stat_result) -> bool:
    by_group = bool(found.st_mode & stat.S_IWGRP) and not _is_private(found.st_gid)
    return by_group or bool(found.st_mode & stat.S_IWOTH)


def _is_private(group: int) -> bool:
    """Is this the group that has only this person in it? Many systems make one for everybody."""
    import grp
    import pwd

    try:
        person, known = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    own = person.pw_gid == group and known.gr_name == person.pw_name
    return own and set(known.gr_mem) <= {person.pw_name}
