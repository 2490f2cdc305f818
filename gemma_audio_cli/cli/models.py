"""`gemma-audio models`: what models there are, getting them, looking into them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_audio_cli.cli.messages import exit_codes, put, put_json, put_path, say
from gemma_audio_cli.cli.options import Mmproj, Quiet, option
from gemma_audio_cli.errors import HubUnreachableError, ModelError, ModelNotFoundError, UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.models.names import Spec
    from gemma_audio_cli.models.resolve import ModelPair
    from gemma_audio_cli.models.store import Pulled

EXAMPLES = """Examples:

\b
  gemma-audio models list
  gemma-audio models pull e2b
  gemma-audio models pull e4b:Q8_0
  gemma-audio models pull unsloth/gemma-4-E2B-it-GGUF:UD-Q4_K_XL
  gemma-audio models pull speakers
  gemma-audio models use e2b
  gemma-audio models verify e2b

Models are kept in the cache of the Hugging Face hub; HF_HOME or HF_HUB_CACHE moves it, HF_TOKEN
or `hf auth login` opens what needs a login, HF_ENDPOINT names a mirror.
"""

app = typer.Typer(
    name="models",
    help="List, get, check and choose models.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
)

_NAME = typer.Argument(..., metavar="MODEL", help="e2b, e4b, 12b or OWNER/REPOSITORY, perhaps with :TYPE.")
_PULLED = typer.Argument(
    ...,
    metavar="MODEL",
    help="e2b, e4b, 12b or OWNER/REPOSITORY, perhaps with :TYPE; or speakers, for --speakers.",
)
_ANY = typer.Argument(
    None, metavar="[MODEL]", help="As after -m; default: the one in use.", show_default=False
)
_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command("list")
def list_models(as_json: bool = _JSON) -> None:
    """Which models there are, are here, and fit this machine."""
    with exit_codes():
        from gemma_audio_cli.cli.models_render import list_lines, list_values

        values = list_values()
        put_json(values) if as_json else put(*list_lines(values))


@app.command("pull")
def pull_model(
    name: str = _PULLED,
    mmproj_type: Annotated[
        str | None,
        option(
            "--mmproj-type",
            metavar="TYPE",
            help="The projector's type: BF16 (hears best), F16, Q8_0; from any source of the model.",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Annotated[
        bool, option("-v", "--verbose", help="Say what the sources have, and why these files are taken.")
    ] = False,
) -> None:
    """Get a model and its audio projector.

    What is here already is checked. An interrupted pull resumes where it stopped when the same command is
    given again.
    """
    with exit_codes():
        from gemma_audio_cli.models import names, speaker_files, store
        from gemma_audio_cli.models.plan import plan

        if name == speaker_files.NAME:
            _pull_speakers(quiet=quiet)
            return
        spec = names.parse_spec(name)
        try:
            wanted = plan(spec, mmproj_type)
        except HubUnreachableError as error:
            here = store.find(spec)
            if here is None:
                raise
            say(f"{error}; {spec} is here already, whether there is a newer one is not known")
            _print_files(here)
            return
        for line in wanted.reasons if verbose else ():
            say(line)
        if not quiet:
            from gemma_audio_cli.cli.models_render import pull_line

            for line in (*wanted.notices, pull_line(wanted)):
                say(line)
        from gemma_audio_cli.cli.models_progress import fetching

        try:
            pulled = fetching(wanted, quiet=quiet)
        except KeyboardInterrupt:
            if not quiet:
                say(f"what came so far is kept; gemma-audio models pull {spec} goes on from there")
            raise
        _print_files(pulled)


def _pull_speakers(*, quiet: bool) -> None:
    from gemma_audio_cli.cli.models_progress import fetching_speakers
    from gemma_audio_cli.models import speaker_files

    if not quiet:
        say(f"what tells speakers apart: {speaker_files.LICENCES}")
    for path in fetching_speakers(quiet=quiet):
        put_path(path)


@app.command("path")
def path_of_model(name: str = _ANY, mmproj: Mmproj = None) -> None:
    """Print the paths of a model's files."""
    with exit_codes():
        from gemma_audio_cli.models.names import part_paths

        pair = _resolve(name, mmproj)
        for path in (*part_paths(pair.text), pair.mmproj):
            put_path(path)


@app.command("show")
def show_model(name: str = _ANY, mmproj: Mmproj = None, as_json: bool = _JSON) -> None:
    """What a model's files hold, what they are worth, and whether they run here.

    Ends with 3 where it does not.
    """
    with exit_codes():
        from dataclasses import asdict

        from gemma_audio_cli.cli.models_render import show_lines, word_time_notes
        from gemma_audio_cli.models.inspect import inspect
        from gemma_audio_cli.models.names import part_paths

        pair = _resolve(name, mmproj)
        report = inspect(pair)
        report.notes += word_time_notes([*part_paths(pair.text), pair.mmproj])
        put_json(asdict(report)) if as_json else put(*show_lines(report))
        if report.problems:
            raise typer.Exit(3)


@app.command("verify")
def verify_model(name: str = _ANY, mmproj: Mmproj = None, quiet: Quiet = False) -> None:
    """Check a model's files.

    Their hashes must be the hub's, and every tensor must hold finite numbers. Ends with 3 where something is
    wrong.
    """
    with exit_codes():
        from gemma_audio_cli.cli.models_progress import verifying

        whole = True
        for line, sound in verifying(_resolve(name, mmproj), quiet=quiet):
            whole = whole and sound
            if sound:
                put(line)
            else:
                say(f"error: {line}")
        if not whole:
            raise typer.Exit(3)


@app.command("remove")
def remove_model(name: str = _NAME, quiet: Quiet = False) -> None:
    """Remove a pulled model from this disk.

    Its projector goes with the last text model that uses it.
    """
    with exit_codes():
        from gemma_audio_cli import config
        from gemma_audio_cli.formatting import byte_size
        from gemma_audio_cli.models import names, removal, store

        spec = names.parse_spec(name)
        pulled = _pulled(spec)
        freed = removal.remove(pulled)
        if not quiet:
            say(f"{pulled.spec} of {pulled.repository} is removed, {byte_size(freed)} are free again")
            configured = config.load().model
            if configured and names.is_spec(configured) and store.find(names.parse_spec(configured)) is None:
                say(
                    f"the settings name {configured}, which is not here now; choose another: models use MODEL"
                )


@app.command("use")
def use_model(
    name: str = typer.Argument(..., metavar="MODEL", help="As after -m."), quiet: Quiet = False
) -> None:
    """Use a model wherever none is named.

    Writes `model` into config.toml.
    """
    with exit_codes():
        from gemma_audio_cli import config
        from gemma_audio_cli.config_file import set_value
        from gemma_audio_cli.models import names
        from gemma_audio_cli.models.inspect import inspect

        pair = _resolve(name, None)
        problems = inspect(pair).problems
        if problems:
            raise ModelError(f"{name} cannot be used: {problems[0]}")
        path = config.config_path()
        is_path = Path(name).expanduser().exists() and not pair.is_demo
        value = str(Path(name).expanduser().absolute()) if is_path else str(names.parse_spec(name))
        # A projector in the settings belongs to the model that was there before.
        if config.load_file().get("mmproj") is not None:
            set_value(path, "mmproj", None)
            if not quiet:
                say(f"{path}: mmproj, which belonged to the model before, is removed")
        set_value(path, "model", value)
        if not quiet:
            say(f"{value} is the model from now on ({path})")


def _resolve(name: str | None, mmproj: str | None) -> ModelPair:
    """The files of a model as every command finds them."""
    from gemma_audio_cli import config
    from gemma_audio_cli.models import resolve

    if name is None:
        settings = config.load()
        return resolve(settings.model, mmproj or settings.mmproj)
    return resolve(name, mmproj)


def _pulled(spec: Spec) -> Pulled:
    from gemma_audio_cli.models import store

    if not store.repositories_of(spec):
        raise UsageError(
            f"{spec.name!r} is no model that can be pulled or removed; see gemma-audio models list"
        )
    found = store.find(spec)
    if found is None:
        raise ModelNotFoundError(f"model {spec} is not on this machine; see gemma-audio models list")
    return found


def _print_files(pulled: Pulled) -> None:
    for path in pulled.files:
        put_path(path)
    sys.stdout.flush()


def register(parent: Any) -> None:
    """Adds the commands to the program."""
    parent.add_typer(app, name="models")
