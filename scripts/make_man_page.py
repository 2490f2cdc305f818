#!/usr/bin/env python3
"""Write the man page from the command line itself: what `--help` knows is what the page says.

    python scripts/make_man_page.py             # docs/gemma-audio.1
    python scripts/make_man_page.py -           # to standard output: ... - | man -l -

    typer app ──► tree of commands ──► roff (man macros)
    config.py ──► ENVIRONMENT

A test compares the file with what this makes: run it after a command, an option or a help text has changed.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from gemma_audio_cli import __version__
from gemma_audio_cli.cli import app
from gemma_audio_cli.config import HELP, variable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gemma-audio.1"
_NAME = "gemma-audio"
_DATE = "2026-11-24"  # of the release

# What roff would take for something else, or print as another character.
_SPECIAL = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})

_VARIABLES = {
    "GEMMA_AUDIO_CONFIG_DIR": "The folder of config.toml.",
    "GEMMA_AUDIO_BACKENDS_DIR": "The folder of backends that were built.",
    "GEMMA_AUDIO_CACHE_DIR": "The folder of what was measured and heard: ~/.cache/gemma-audio.",
    "GEMMA_AUDIO_LIBRARY": "Another libgemma_audio than the package's.",
    "GEMMA_AUDIO_CPU_CLASS": "Caps the processor: avx512, avxvnni, avx2, portable (slow) or ggml.",
    "HF_HOME, HF_HUB_CACHE": "Where pulled models are kept.",
    "HF_TOKEN, HF_ENDPOINT": "The hub's login, and a mirror in its place.",
    "OMP_WAIT_POLICY, GOMP_SPINCOUNT": "How threads wait for each other; the default is to spin briefly.",
}
_FILES = {
    "~/.config/gemma-audio/config.toml": "Settings. `gemma-audio config path` prints the place here.",
    "~/.local/share/gemma-audio/backends/": "Backends that were built.",
    "~/.cache/gemma-audio/": "How many windows gain from being decoded together, as measured.",
    "~/.cache/gemma-audio/heard/": "What ask heard; see `gemma-audio cache`.",
    "~/.cache/huggingface/hub/": "Models that were pulled.",
}


def page() -> str:
    """The page in roff."""
    root = typer.main.get_command(app)
    lines = [
        '.\\" Made by scripts/make_man_page.py from the command line; changes belong there.',
        f'.TH {_escape(_NAME.upper())} 1 "{_DATE}" "{_NAME} {__version__}" "User Commands"',
        ".SH NAME",
        rf"{_escape(_NAME)} \- speech to text and questions about recordings, on this machine",
        ".SH SYNOPSIS",
        *_synopses(root, _NAME),
        ".SH DESCRIPTION",
        *_text(root.help or ""),
        ".SH OPTIONS",
        *_options(root),
        *_item("-h, --help", "Show help; after a command, that of the command."),
        ".SH COMMANDS",
    ]
    for path, command in _commands(root, ""):
        lines += _command(path, command)
    examples, codes = _split(root.epilog or "")
    lines += [".SH EXIT STATUS"]
    for part in re.split(r", (?=\d)", " ".join(codes.split()).rstrip(".")):
        code, _, meaning = part.partition(" ")
        lines += _item(code, f"{meaning[:1].upper()}{meaning[1:]}.")
    lines += [".SH ENVIRONMENT", "An option wins over the environment, which wins over", r".IR config.toml ."]
    for name, meaning in HELP.items():
        lines += _item(variable(name), meaning)
    for names, meaning in _VARIABLES.items():
        lines += _item(names, meaning)
    lines += [".SH FILES"]
    for name, meaning in _FILES.items():
        lines += _item(name, meaning)
    lines += [".SH EXAMPLES", *_text(examples.removeprefix("Examples:"))]
    return "\n".join(lines) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below the group with its words, in the order of --help."""
    for name, command in group.commands.items():
        if not command.hidden:
            words = f"{path} {name}".strip()
            yield words, command
            if hasattr(command, "commands"):
                yield from _commands(command, words)


def _command(path: str, command: Any) -> list[str]:
    use = _synopses(command, f"{_NAME} {path}")
    lines = [f".SS {_escape(path)}", *use, ".PP", *_text(command.help or "")]
    for argument in _parameters(command, "argument"):
        if argument.help:
            lines += _item(_argument_name(argument), argument.help)
    lines += _options(command)
    if command.epilog:
        lines += [".PP", *_text(command.epilog)]
    return lines


def _synopses(command: Any, name: str) -> list[str]:
    """The line of use: options in short, arguments by name."""
    words = ["[options]"] if _parameters(command, "option") else []
    for argument in _parameters(command, "argument"):
        shown = _argument_name(argument) + ("..." if argument.nargs == -1 else "")
        words.append(shown if argument.required else f"[{shown}]")
    if hasattr(command, "commands"):
        words.append("[command]" if command.invoke_without_command and command.name != _NAME else "command")
    return [rf"\fB{_escape(name)}\fR {_escape(' '.join(words))}".rstrip()]


def _options(command: Any) -> list[str]:
    lines: list[str] = []
    for option in _parameters(command, "option"):
        names = ", ".join(sorted(option.opts, key=len))
        if option.secondary_opts:
            names += " / " + ", ".join(option.secondary_opts)
        value = "" if _is_flag(option) else option.metavar or _value_name(option)
        lines += _item(names, f"{option.help or ''}{_remarks(option)}".strip(), value)
    return lines


def _parameters(command: Any, kind: str) -> list[Any]:
    """Its options or arguments. --help, which all commands have, is not among them."""
    return [
        parameter
        for parameter in command.params
        if parameter.param_type_name == kind and not getattr(parameter, "hidden", False)
    ]


def _argument_name(argument: Any) -> str:
    return (argument.metavar or argument.name.upper()).strip("[]{}.")


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False) or getattr(option, "count", False))


def _value_name(option: Any) -> str:
    """What stands for a value. typer keeps a type of click's, or from 0.26 on the annotation."""
    if hasattr(option, "type_descriptor"):
        name = getattr(option.type_descriptor.annotation, "__name__", "")
    else:
        name = option.type.name
    if name.startswith("int"):
        return "N"
    return "NUMBER" if name.startswith("float") else "TEXT"


def _remarks(option: Any) -> str:
    """Bounds, default and variable, as --help has them."""
    parts = []
    bounds = option if hasattr(option, "type_descriptor") else option.type
    low, high = getattr(bounds, "min", None), getattr(bounds, "max", None)
    if low is not None and high is not None:
        parts.append(f"{low} to {high}")
    elif low is not None or high is not None:
        parts.append(f"from {low}" if high is None else f"up to {high}")
    shown = option.show_default and not _is_flag(option)
    if shown and isinstance(option.default, (str, int, float)) and option.default != "":
        parts.append(f"default: {option.default}")
    return f" ({'; '.join(parts)})" if parts else ""


# ---- roff --------------------------------------------------------------------------------------------------


def _item(term: str, text: str, value: str = "") -> list[str]:
    shown = rf"\fB{_escape(term)}\fR" + (rf" \fI{_escape(value)}\fR" if value else "")
    return [".TP", shown, *_sentences(text)]


def _split(epilog: str) -> tuple[str, str]:
    """The examples, and the paragraph on exit codes."""
    examples, _, codes = epilog.partition("Exit codes:")
    return examples.rstrip("\n\b "), codes


def _text(text: str) -> list[str]:
    """Paragraphs as click reads them: one that begins with a line of \\b keeps its lines."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        kept = paragraph.strip("\n").split("\n")
        if lines:
            lines.append(".PP")
        if kept[0].strip() == "\b":
            lines += [".EX", *(_line(line) for line in kept[1:]), ".EE"]
        else:
            lines += _sentences(" ".join(line.strip() for line in kept))
    return lines


def _sentences(text: str) -> list[str]:
    """Each sentence begins a line, as man pages are kept, and lines are short."""
    sentences = [sentence for sentence in re.split(r"(?<=[.!?]) +(?=[A-Z-])", text) if sentence]
    return [_line(line) for each in sentences for line in textwrap.wrap(each, 72, break_on_hyphens=False)]


def _line(text: str) -> str:
    escaped = _escape(text.rstrip())
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escape(text: str) -> str:
    return text.translate(_SPECIAL)


def main(arguments: list[str]) -> int:
    """Write the page."""
    if arguments == ["-"]:
        sys.stdout.write(page())
        return 0
    if arguments:
        print("usage: python scripts/make_man_page.py [-]", file=sys.stderr)
        return 2
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
