"""`gemma-audio doctor`: one page to paste into a bug report."""

from __future__ import annotations

from typing import Any

import typer

from gemma_audio_cli.cli.messages import exit_codes, put, put_json
from gemma_audio_cli.cli.options import Backend
from gemma_audio_cli.formatting import byte_amount, byte_size, counted

EXAMPLES = """Examples:

\b
  gemma-audio doctor
  gemma-audio doctor --backend vulkan
  gemma-audio doctor --json > report.json

Folders and the names of microphones are left out unless --full. Exit code 3: the self-test failed.
"""


def doctor(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    full: bool = typer.Option(False, "--full", help="With folders and names of devices."),
    backend: Backend = None,
) -> None:
    """Print what is installed, what is used and whether it works."""
    with exit_codes():
        from gemma_audio_cli import config
        from gemma_audio_cli.backends.table import find_backend
        from gemma_audio_cli.diagnosis import diagnose
        from gemma_audio_cli.errors import GemmaAudioError

        if backend and backend.lower() != "auto":
            find_backend(backend)
        else:
            try:
                backend = backend or config.load().backend or ""
            except GemmaAudioError:
                backend = ""  # the page tells
        found = diagnose(full, backend or None)
        put_json(found) if as_json else put(*page(found))
    if not found["selftest"].get("ok"):
        raise typer.Exit(3)


def page(found: dict[str, Any]) -> list[str]:
    """The report as text."""
    lines: list[str] = []
    for title, part in found.items():
        lines += ["", title] if lines else [title]
        if "error" in part and title != "selftest":
            lines.append(f"  error: {part['error']}")
        elif title in _PAGES:
            lines += [f"  {line}" for line in _PAGES[title](part)]
        else:
            lines += [f"  {name:17} {_plain(value)}" for name, value in part.items()]
    return lines


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {inner}" for name, inner in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _system(part: dict[str, Any]) -> list[str]:
    cores = part["cores"] or "unknown"
    return [
        part["platform"],
        f"{part['cpu']}: {cores} cores, {part['threads']} threads, {part['usable_threads']} usable",
        f"features: {_plain(part['features'])}",
        f"memory: {byte_amount(part['memory'], part['memory_free'])}",
    ]


def _backends(part: dict[str, Any]) -> list[str]:
    lines = []
    for name, one in part.items():
        have = [*one["devices"], *one["drivers"], *filter(None, [one["toolchain"], one["built"]])]
        detail = f" [{'; '.join(have)}]" if have else ""
        lines.append(f"{'*' if one['in_use'] else ' '} {name:9} {one['why']}{detail}")
    return lines


def _models(part: dict[str, Any]) -> list[str]:
    lines = []
    for name, one in part.items():
        if "error" in one:
            lines.append(f"{name}: {one['error']}")
            continue
        state = "does not run" if one["problems"] else "runs"
        lines.append(
            f"{name}: {state}; {_plain(one['layers'])} layers of width {_plain(one['width'])} "
            f"({_plain(one['types'])}), {_plain(one['projector'])} of {_plain(one['audio_layers'])} layers "
            f"giving width {_plain(one['output_width'])}"
        )
        lines += [f"  {file['path']}, {byte_size(file['bytes'])}" for file in one["files"]]
        lines += [f"  {text}" for text in (*one["problems"], *one["notes"])]
    return lines


def _audio(part: dict[str, Any]) -> list[str]:
    inputs = [
        f"input: {one.get('name', 'a device')}, {counted(one['channels'], 'channel')}, {one['rate']} Hz"
        for one in part["inputs"]
    ]
    return [f"interfaces: {_plain(part['interfaces'])}", *(inputs or ["no inputs"])]


def _selftest(part: dict[str, Any]) -> list[str]:
    if not part.get("ok"):
        return [f"FAILED: {part.get('error') or 'no text came out'}"]
    times = ", ".join(
        f"{name[:-2]} {part['timings'][name]:.3f}" for name in part["timings"] if name.endswith("_s")
    )
    return [
        f"ok: {part['text']!r} from 1 s of sound on {part['device']} in {part['seconds']:.2f} s ({times})",
        f"buffers: {part['buffers']}",
        f"products: {part['products']}",
        *part["notices"],
    ]


_PAGES = {
    "system": _system,
    "backends": _backends,
    "models": _models,
    "audio": _audio,
    "selftest": _selftest,
}
