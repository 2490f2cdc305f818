"""Writing one setting into config.toml: the line that sets it is replaced, everything else stays as it is.

    model = "e2b"     # comment    ──set_value(path, "model", "e4b")──►    model = "e4b"     # comment

The file is flat TOML by nature; keys inside of tables are none of our settings and are left alone. The new
text must read back as what was meant, else nothing is written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gemma_audio_cli.config import parse, read_file
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.files import AtomicFile, disk_errors

Value = str | int | float | bool

_REMEDY = "correct the permissions, or name another folder with GEMMA_AUDIO_CONFIG_DIR"


def set_value(path: Path, key: str, value: Value | None) -> None:
    """Sets a key of the file, which is made where it is not there; None removes it.

    The file is replaced as a whole or not at all. Raises UsageError where it is not valid TOML, OutputError
    where it cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        raise UsageError(f"{key!r} is no name of a setting")
    data = _read(path)
    before = parse(data, path)
    old = data.decode("utf-8")
    after = dict(before)
    after.pop(key, None)
    if value is not None:
        after[key] = value
    if repr(after) == repr(before):  # 1 is not True here
        return
    new = _edited(old, key, value)
    if not _reads_as(new, after):
        raise UsageError(f"{path}: {key} is written in a way there that cannot be edited; change it by hand")
    with disk_errors(path, _REMEDY):
        path.parent.mkdir(parents=True, exist_ok=True)
    with AtomicFile(path, remedy=_REMEDY) as file:
        file.write(new)


def toml_literal(value: Value) -> str:
    """The value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON's strings are TOML's, but for DEL, which TOML wants escaped, and surrogates, which it cannot hold.
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(f"{value!r} is not valid Unicode and cannot be a setting") from None
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _edited(text: str, key: str, value: Value | None) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # splitlines() knows more ends of lines than TOML
    own = re.compile(rf"""^[ \t]*(?:{re.escape(key)}|"{re.escape(key)}"|'{re.escape(key)}')[ \t]*=[ \t]*""")
    table = next((i for i, line in enumerate(lines) if re.match(r"[ \t]*\[", line)), len(lines))
    for i, line in enumerate(lines[:table]):
        found = own.match(line)
        if found:
            if value is None:
                del lines[i]
            else:
                lines[i] = found.group() + toml_literal(value) + _tail(line[found.end() :])
            return "".join(lines)
    if value is None:
        return text
    if table and not lines[table - 1].endswith(("\n", "\r")):
        lines[table - 1] += newline
    lines.insert(table, f"{key} = {toml_literal(value)}{newline}")
    return "".join(lines)


def _reads_as(text: str, meant: dict[str, Any]) -> bool:
    try:
        found = parse(text.encode("utf-8"), Path())
    except UsageError:
        return False
    return found == meant and all(type(found[key]) is type(value) for key, value in meant.items())


def _tail(rest: str) -> str:
    """What follows a value on its line: white space and a comment."""
    string = r""""(?:[^"\\]|\\.)*"|'[^']*\'"""
    found = re.match(rf"(?:{string}|[^\"'#\n]*?)([ \t]*(?:#[^\n]*)?\r?\n?)$", rest)
    return found.group(1) if found else "\n"


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}; check the file") from None
