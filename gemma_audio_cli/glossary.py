"""Names and terms that may occur in recordings: as text, or a file with one a line.

    "Käthe, Umspannwerk" ──► terms          "@names.txt" ──► its lines without comments ──► terms

Both become one text: with line ends it has a term a line, without them commas part the terms.
"""

from __future__ import annotations

import re
from pathlib import Path

from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.formatting import one_line
from gemma_audio_cli.textfiles import text_of

MAX_TERMS = 10_000
MAX_TERM = 200
"""Characters of a term in a glossary; more is a sentence, or no text at all."""


def terms_of(context: str) -> tuple[str, ...]:
    """The terms of a text, each once, in their order."""
    parts = context.split("\n") if "\n" in context else re.split(r"[,;]", context)
    return tuple(dict.fromkeys(term for part in parts if (term := one_line(part))))


def context_text(value: str, folder: Path | None = None) -> str:
    """What --context names: the text itself, or the terms of the glossary behind an @, a line each. `folder`
    is where a relative name begins; None: here. Raises UsageError that names the file.
    """
    if not value.startswith("@"):
        return value
    name = value[1:]
    if not name:
        raise UsageError("@ is followed by the name of a glossary: @names.txt")
    path = Path(name).expanduser()
    return "".join(f"{term}\n" for term in read_glossary(folder / path if folder is not None else path))


def read_glossary(path: Path) -> tuple[str, ...]:
    """The terms of a file: its lines without what follows a # at their beginning or behind a space. Raises
    UsageError that names the file, and the line.
    """
    terms: dict[str, None] = {}
    for number, line in enumerate(text_of(str(path), "the glossary").split("\n"), start=1):
        term = one_line(re.sub(r"(^|\s)#.*", "", line, flags=re.S))
        if len(term) > MAX_TERM:
            raise UsageError(
                f"{path}: line {number} has {len(term)} characters; a term has at most {MAX_TERM}, one a line"
            )
        if term:
            terms[term] = None
    if not terms:
        raise UsageError(f"{path}: no term in this glossary; write one a line")
    if len(terms) > MAX_TERMS:
        raise UsageError(f"{path}: {len(terms)} terms; a glossary has at most {MAX_TERMS}")
    return tuple(terms)
