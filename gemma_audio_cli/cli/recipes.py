"""`gemma-audio minutes FILE...`, `ask --recipe NAME`, `gemma-audio recipes`: questions with a shape."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemma_audio_cli.cli import complete
from gemma_audio_cli.cli.ask_passes import HeardBar, Passes
from gemma_audio_cli.cli.common import Job, unfinished
from gemma_audio_cli.cli.messages import exit_codes, put, put_json, put_path, say
from gemma_audio_cli.cli.options import (
    Files,
    Input,
    Model,
    Notices,
    Part,
    Speech,
    Threshold,
    option,
    with_groups,
)
from gemma_audio_cli.cli.speakers import SpeakerChoices
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.transcript import FLAG_NO_SPEECH

if TYPE_CHECKING:
    from gemma_audio_cli.output import OutputPlan
    from gemma_audio_cli.pipeline.options import AskOptions
    from gemma_audio_cli.pipeline.recipes import RecipeDone
    from gemma_audio_cli.recipes.recipe import Recipe

EXAMPLES = """Examples:

\b
  gemma-audio minutes meeting.m4a
  gemma-audio minutes -o minutes/ monday.m4a friday.m4a
  gemma-audio minutes --json meeting.m4a | jq .value.action_items
  gemma-audio ask --recipe chapters talk.mp3
  gemma-audio ask --recipe chapters --format vtt -o talk.vtt talk.mp3

Minutes are a recipe: a question with the shape of its answer. `gemma-audio recipes` lists the
others and says where your own go. Who is to do something, and by when, is "not said" unless it was.
"""

_RECIPES = "Recipes"
Json = Annotated[bool, option("--json", help="One JSON object a recording: short for --format json.")]


@dataclass(frozen=True)
class RecipeResults:
    """Where the answers to a recipe go, and as what."""

    format: Annotated[
        str | None,
        option(
            "-f", "--format", metavar="FORMAT", panel=_RECIPES,
            help="markdown or json; of chapters also youtube or vtt.",
        ),
    ] = None  # fmt: skip
    output: Annotated[
        str | None,
        option(
            "-o", "--output", metavar="FILE|FOLDER", panel=_RECIPES,
            help="Where the answers to a recipe go; default: standard output.",
        ),
    ] = None  # fmt: skip

    @property
    def given(self) -> bool:
        """Was anything chosen?"""
        return self.format is not None or self.output is not None

    def kind(self, recipe: Recipe, *, as_json: bool) -> str:
        """The format: the one that was chosen, that of the file's extension, or the recipe's usual one.
        Raises UsageError.
        """
        from gemma_audio_cli.recipes.render import EXTENSIONS, formats

        possible = formats(recipe)
        if as_json and self.format not in (None, "json"):
            raise UsageError(f"--json and --format {self.format} do not go together")
        chosen = "json" if as_json else self.format
        if chosen is None and self.output is not None and not self.output.endswith("/"):
            ending = Path(self.output).suffix.lower().removeprefix(".")
            chosen = next((kind for kind in possible if EXTENSIONS[kind] == ending), None)
            if chosen is None and ending and not Path(self.output).is_dir():
                known = ", ".join(f".{EXTENSIONS[kind]}" for kind in possible)
                raise UsageError(
                    f"{self.output}: {recipe.name} has no format .{ending} ({known}); name one with --format"
                )
        if chosen is not None and chosen not in possible:
            raise UsageError(f"{recipe.name} has no format {chosen!r}; there are {', '.join(possible)}")
        return chosen or possible[0]


@with_groups
def minutes(
    files: Files,
    as_json: Json = False,
    results: RecipeResults = RecipeResults(),
    max_tokens: Annotated[
        int | None, option("--max-tokens", min=1, help="Longest answer, in tokens; default: 1536.")
    ] = None,
    passes: Passes = Passes(),
    who: SpeakerChoices = SpeakerChoices(),
    part: Part = Part(),
    input: Input = Input(),
    speech: Speech = Speech(),
    threshold: Threshold = Threshold(),
    model: Model = Model(),
    notices: Notices = Notices(),
) -> None:
    """Write the minutes of recordings: summary, decisions, action items, open questions."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.decoding.options import DecodeOptions
        from gemma_audio_cli.pipeline.options import AskOptions
        from gemma_audio_cli.recipes.store import find

        recipe = find("minutes")
        job = Job(model, notices)
        options = AskOptions(
            input.options(part),
            speech.options(threshold, job.settings),
            passes=passes.options(job.settings),
            speakers=who.options(job.settings),
            decode=DecodeOptions(max_tokens=max_tokens or recipe.max_tokens),
        )
        write_answers(job, recipe, list(map(local_path, files)), options, results, as_json=as_json)


def write_answers(
    job: Job,
    recipe: Recipe,
    recordings: list[str],
    options: AskOptions,
    results: RecipeResults,
    *,
    as_json: bool = False,
) -> None:
    """Puts the recipe to the recordings and writes the answers. The job ends with it."""
    from gemma_audio_cli.output import OutputPlan
    from gemma_audio_cli.pipeline.events import RecordingDone, RecordingStarted
    from gemma_audio_cli.pipeline.recipes import RecipeDone, follow
    from gemma_audio_cli.recipes.render import EXTENSIONS

    kind = results.kind(recipe, as_json=as_json)
    job.about(recordings)
    plan = OutputPlan(
        recordings,
        results.output,
        [kind],
        in_use=job.recognizer.files,
        endings=EXTENSIONS,
        shared=("markdown", "json", "youtube"),
    )
    plan.prepare()
    shown, number = _Written(job, plan, kind, options.decode.max_tokens), -1
    bar = HeardBar(enabled=not job.quiet)
    try:
        for event in follow(job.recognizer, recipe, [item.input for item in plan.items], options):
            if isinstance(event, RecipeDone):
                shown.take(number, event)
                continue
            bar.take(event)
            if isinstance(event, RecordingStarted):
                number += 1
            elif isinstance(event, RecordingDone):
                job.asked(event, options)
    finally:
        bar.close()
        job.close()
    job.end()


class _Written:
    """Answers, on standard output or in their files."""

    def __init__(self, job: Job, plan: OutputPlan, kind: str, max_tokens: int) -> None:
        self._job, self._plan, self._kind, self._max_tokens = job, plan, kind, max_tokens
        self._printed = 0

    def take(self, number: int, done: RecipeDone) -> None:
        """The answer about the recording of that number."""
        from gemma_audio_cli.files import AtomicFile
        from gemma_audio_cli.formatting import json_text

        name = done.recording.file
        reason = unfinished(done.answer, self._max_tokens)
        if done.value is None and (reason is not None or done.answer.text):
            misfit = "it does not fit; try another model"
            say(f"error: {name}: no answer to the recipe: {reason or misfit}")
            self._job.failed()
            return
        if FLAG_NO_SPEECH in done.answer.flags:
            pass  # the end of the recording is told of
        elif done.value is None:
            self._job.notice(f"{name}: the model gave no answer")
        elif done.answer.flags:
            self._job.notice(f"{name}: unreliable ({', '.join(done.answer.flags)})")
        paths = self._plan.items[number].paths
        if paths:
            is_json = self._kind == "json"
            text = f"{json_text(done.as_dict(), indent=2)}\n" if is_json else done.text(self._kind)
            with AtomicFile(paths[0]) as file:
                file.write(text)
        elif self._kind == "json":
            put_json(done.as_dict())
        elif done.value is not None:
            several = len(self._plan.items) > 1
            # A list of chapters does not say whose it is.
            head = [f"{name}:"] if several and self._kind == "youtube" else []
            put(*[""] * bool(self._printed), *head, *done.text(self._kind).splitlines())
        self._printed += 1
        sys.stdout.flush()


# ---- gemma-audio recipes -------------------------------------------------------------------------

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List and show recipes: questions with the shape of their answer.",
    epilog="""Examples:

\b
  gemma-audio recipes list
  gemma-audio ask --recipe quotes talk.mp3
  mkdir -p "$(gemma-audio recipes path)"
  gemma-audio recipes show minutes > "$(gemma-audio recipes path)/standup.toml"

A file NAME.toml in your own folder is the recipe NAME, also where the package has one of that name.
""",
)
_Name = Annotated[
    str, typer.Argument(help="The recipe.", show_default=False, autocompletion=complete.recipes)
]


@app.command("list")
def list_(as_json: bool = typer.Option(False, "--json", help="Print one JSON object a recipe.")) -> None:
    """Print the recipes that there are."""
    with exit_codes():
        from gemma_audio_cli.recipes import store

        for known in store.known():
            try:
                recipe = store.read(known)
            except UsageError as error:
                say(f"warning: {error}")
                continue
            if as_json:
                put_json(
                    {"name": known.name, "about": recipe.about, "own": known.own, "path": str(known.path)}
                )
            else:
                put(f"{known.name:14} {recipe.about}{'  (your own)' if known.own else ''}")


@app.command("show")
def show(name: _Name) -> None:
    """Print the file of a recipe."""
    with exit_codes():
        from gemma_audio_cli.recipes import store

        put(*store.text(store.locate(name)).splitlines())


@app.command("path")
def path(
    name: Annotated[
        str | None,
        typer.Argument(help="The recipe.", show_default=False, autocompletion=complete.recipes),
    ] = None,
) -> None:
    """Print where your own recipes are, or would be; with a name, where that recipe is."""
    with exit_codes():
        from gemma_audio_cli.recipes import store

        put_path(store.own_folder() if name is None else store.locate(name).path)
