"""Changes one key of config.toml and leaves the rest, comments too, as it is.

The file has plain keys only, a line each; what is in tables further down is not ours.
"""

from __future__ import annotations

import re
from pathlib import Path


def set_value(path: Path, key: str, value: str | int | bool | float) -> None:
    """Set `key` in the file at `path`, which is made where there is none; whole or not at all."""
    from gemma_audio_cli.output.atomic import AtomicFile, make_folder

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
        make_folder(path.parent)
    line = f"{key} = {_toml(value)}"
    table = next((i for i, text in enumerate(lines) if re.match(r"\s*\[", text)), len(lines))
    same = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    at = next((i for i in range(table) if same.match(lines[i])), None)
    if at is None:
        lines.insert(table, line)
    else:
        lines[at] = line
    with AtomicFile(path) as file:
        file.write("\n".join(lines) + "\n")


def _toml(value: str | int | bool | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    text = "".join(
        escapes.get(c, c if c.isprintable() or ord(c) > 0x9F else f"\\u{ord(c):04x}") for c in value
    )
    return f'"{text}"'
