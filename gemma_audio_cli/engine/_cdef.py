"""From gemma_audio.h to cffi declarations.

The header is the only place where the C interface is written down. This file stands alone: the build runs it
as a program (`python _cdef.py HEADER OUT`) to write the module `_ffi.py` that is installed, and `_binding.py`
imports it to parse the header in a source checkout. It needs nothing but cffi.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cffi import FFI


def cdef_from_header(text: str) -> str:
    """The declarations of the header in the C subset cffi reads: no comments, preprocessor lines or export
    macros.
    """
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    lines = []
    skipping = 0  # depth inside `#ifdef __cplusplus`
    for line in text.replace("\\\n", " ").splitlines():
        directive = line.strip()
        if directive.startswith("#"):
            word = directive[1:].split(None, 1)
            if skipping:
                if word[0] in ("if", "ifdef", "ifndef"):
                    skipping += 1
                elif word[0] == "endif":
                    skipping -= 1
            elif word == ["ifdef", "__cplusplus"]:
                skipping = 1
            continue
        if not skipping:
            lines.append(re.sub(r"\bGA_API\b\s*", "", line).rstrip())
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip() + "\n"


def make_ffi(header: Path, module: str | None = None) -> FFI:
    """An FFI with the header's declarations; with `module`, ready to be written out under that name."""
    from cffi import FFI

    ffi = FFI()
    if module:
        ffi.set_source(module, None)
    ffi.cdef(cdef_from_header(header.read_text(encoding="utf-8")))
    return ffi


def main(argv: list[str]) -> int:
    """Write the out-of-line module of the header argv[0] to argv[1]."""
    header, out = argv
    make_ffi(Path(header), "gemma_audio_cli.engine._ffi").emit_python_code(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
