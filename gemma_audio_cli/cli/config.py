"""`gemma-audio config`: what is set, and where."""

from __future__ import annotations

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.telling import exit_codes, put, put_json, put_path, say
from gemma_audio_cli.errors import UsageError

EXAMPLES = """Examples:

\b
  gemma-audio config show
  gemma-audio config set model /models/gemma-4-E2B-it-Q4_0.gguf
  gemma-audio config set threads 4
  $EDITOR "$(gemma-audio config path)"

Settings: model, mmproj, language, microphone, threads, backend, device, gpu_layers, vad_threshold.
A flag wins over the environment (GEMMA_AUDIO_MODEL and so on), which wins over config.toml.
"""

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, epilog=EXAMPLES, help="Show and change settings."
)


@app.command("show")
def show(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Print every setting, its value and where it comes from."""
    with exit_codes():
        from gemma_audio_cli import config

        loaded = config.load_all()
        for warning in loaded.warnings:
            say(f"warning: {warning}")
        if as_json:
            put_json({name: getattr(loaded.settings, name) for name in config.NAMES})
            return
        for name in config.NAMES:
            value = getattr(loaded.settings, name) if name in loaded.sources else "-"
            put(f"{name:13} {value}  ({loaded.sources.get(name, 'default')})")


@app.command("set")
def set_(
    name: str = typer.Argument(
        ..., help="The setting.", show_default=False, autocompletion=complete.settings
    ),
    value: str = typer.Argument(..., help="Its value.", show_default=False),
) -> None:
    """Write a setting into config.toml; the rest of the file stays as it is."""
    with exit_codes():
        from gemma_audio_cli import config, config_file

        if name not in config.NAMES:
            raise UsageError(config.unknown(name))
        path = config.config_path()
        config_file.set_value(path, name, _checked(name, value))
        config.load_all()  # a file that was wrong before is told now


def _checked(name: str, value: str) -> str | int | float:
    """The value, if it makes sense for the setting."""
    from gemma_audio_cli import config

    if name == "backend" and value.lower() != "auto":
        from gemma_audio_cli.backends.table import back_end

        return back_end(value).name
    if name in ("model", "mmproj"):
        from pathlib import Path

        # A file that is there keeps its meaning in other folders; an alias is no file.
        path = Path(value).expanduser()
        value = str(path.resolve()) if path.exists() else value
    return config.check(name, value, name)


@app.command("path")
def path() -> None:
    """Print where config.toml is, or would be."""
    with exit_codes():
        from gemma_audio_cli import config

        put_path(config.config_path())
