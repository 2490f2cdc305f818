"""Addresses where a file is wanted: file:// is a path, others get a hint how to fetch their sound.

Nothing is fetched: what a person hears stays on this machine, and so does whom they ask for it.
"""

from __future__ import annotations

import os
import re
import shlex
from urllib.parse import unquote_to_bytes

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_FILE = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_FETCHED = ("http", "https", "ftp", "ftps", "sftp", "scp")
_OUR_HOSTS = ("", "localhost", "127.0.0.1")


def local_path(name: str) -> str:
    """The path of file:///tmp/a%20b.wav; any other name as it is, also where a file is called so itself."""
    found = _FILE.fullmatch(name)
    if found is None or (found["host"] or "").lower() not in _OUR_HOSTS or os.path.lexists(name):
        return name
    path = os.fsdecode(unquote_to_bytes(os.fsencode(found["path"])))
    # file:///C:/sound.wav
    return path[1:] if os.name == "nt" and re.match(r"/[A-Za-z]:", path) else path


def advice(name: str) -> str | None:
    """What to do with a name that is no file but an address; None: it is none."""
    found = _SCHEME.match(name)
    if found is None:
        return None
    scheme = found[1].lower()
    if scheme == "file":
        return "this is a file of another machine; copy it here first"
    if scheme in _FETCHED:
        fetch = f"curl -L {shlex.quote(name)}"
    else:
        fetch = f"ffmpeg -i {shlex.quote(name)} -f wav -"
    return f"this is an address, and nothing is fetched here: {fetch} | gemma-audio transcribe -"
