"""`gemma-audio config`: what is set, and where."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.messages import exit_codes, put, put_json, put_path, say
from gemma_audio_cli.config import HELP
from gemma_audio_cli.errors import UsageError

_SETTINGS = "\n".join(f"  {name:14} {meaning}" for name, meaning in HELP.items())
EXAMPLES = f"""Examples:

\b
  gemma-audio config show
  gemma-audio config show --for talks/monday.mp3
  gemma-audio config set model /models/gemma-4-E2B-it-Q4_0.gguf
  gemma-audio config set threads 4
  $EDITOR "$(gemma-audio config path)"

Settings:

\b
{_SETTINGS}

A flag wins over the environment (GEMMA_AUDIO_MODEL and so on), which wins over config.toml. Between
the two stand context, language and model in a file .gemma-audio.toml, for recordings in its folder
and below. The nearest one wins; one that others may write to is left out.
"""

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, epilog=EXAMPLES, help="Show and change settings."
)


@app.command("show")
def show(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    recording: str | None = typer.Option(
        None, "--for", metavar="FILE", help="As they are for this recording or folder.", show_default=False
    ),
) -> None:
    """Print every setting, its value and where it comes from."""
    with exit_codes():
        from dataclasses import asdict

        from gemma_audio_cli import config
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.folder_settings import FolderSettings

        if recording is not None:
            recording = local_path(recording)
            if not os.path.lexists(recording):
                raise UsageError(f"{recording}: no such file or folder")
        loaded = FolderSettings().of(recording)
        for warning in loaded.warnings:
            say(f"warning: {warning}")
        values = asdict(loaded.settings)
        if as_json:
            put_json(values)
            return
        for name in config.NAMES:
            put(f"{name:14} {_shown(values[name])}  ({loaded.sources.get(name, 'default')})")


def _shown(value: object) -> str:
    """A value as config.toml has it, strings without their quotes."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(str(value).split("\n")).rstrip(", ") if isinstance(value, str) else str(value)


@app.command("set")
def set_(
    name: str = typer.Argument(
        ..., help="The setting.", show_default=False, autocompletion=complete.settings
    ),
    value: str = typer.Argument(..., help="Its value.", show_default=False),
) -> None:
    """Write a setting into config.toml, if it works here. The rest of the file stays as it is."""
    with exit_codes():
        from gemma_audio_cli import config, config_file
        from gemma_audio_cli.pipeline.settings import try_setting

        if name not in config.NAMES:
            raise UsageError(config.unknown(name))
        checked = config.check(name, _lasting(name, value), name)
        path = config.config_path()
        others = config.load_all(leave_out_wrong=True).settings
        try_setting(others.having(name, checked), name, say)
        config_file.set_value(path, name, checked)
        for warning in config.load_all(leave_out_wrong=True).warnings:
            say(f"warning: {warning}")
        name_in_environment = config.variable(name)
        if os.environ.get(name_in_environment):
            say(f"warning: {name_in_environment} is set and wins over config.toml")


def _lasting(name: str, value: str) -> str:
    """The value, so that it means the same in another folder. An alias is no file."""
    if name in ("model", "mmproj") and value != "demo":
        path = Path(value).expanduser()
        return str(path.resolve()) if path.exists() else value
    if name == "context" and value.startswith("@"):
        return f"@{Path(value[1:]).expanduser().resolve()}"
    return value.lower() if name == "backend" else value


@app.command("path")
def path() -> None:
    """Print where config.toml is, or would be."""
    with exit_codes():
        from gemma_audio_cli import config

        put_path(config.config_path())
