"""Whose is a file? What somebody else could have put there is not acted upon.

    foreign(path, path.lstat()) ──► None, or why others could have written it

A file has to belong to this person or to root, and nobody else may write to it. Windows has no such owners.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

KNOWN = hasattr(os, "geteuid")
"""Does this system say to whom a file belongs?"""


def foreign(path: Path, found: os.stat_result) -> str | None:
    """Why what was found at the path may be somebody else's; None: it is not. Only where owners are known."""
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user ({found.st_uid})"
    # Where a link leads is looked at itself; who may write to it says nothing.
    if not stat.S_ISLNK(found.st_mode) and _others_write(found):
        return f"others may write to {path}; chmod go-w forbids it"
    return None


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
