"""Groups of options, declared once for all commands that have them.

    @dataclass Model ──► with_groups(command) ──► typer's options -m, --mmproj, ... ──► Model(...) ──► command

A group is a frozen dataclass whose fields say, as annotations, which options they are. A command names the
group as one parameter. `--help` shows each group under its own heading, the common ones first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from gemma_audio_cli.cli import complete
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.audio.read.source import SourceOptions
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.decoding.shape import Shape
    from gemma_audio_cli.pipeline.options import CutOptions, ModelOptions

_OURS = (TyperArgument, TyperOption)
_RECORDING, _SPEECH = "Which part to hear", "Finding speech"
_RESULTS, _MODEL, _NOTICES, _SHAPE = "Results", "Model", "Notices", "Shape of the answer"


_ALONE: dict[str, str] = {}
"""Options whose value may be left out, and what that means."""


def with_values(arguments: list[str]) -> list[str]:
    """A command line in which every option of `_ALONE` has a value: `--speakers talk.wav` has none."""
    given: list[str] = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return given + arguments[i:]
        given.append(argument)
        if argument in _ALONE:
            following = arguments[i + 1] if i + 1 < len(arguments) else ""
            if following != _ALONE[argument] and not following.isdecimal():
                given[-1] = f"{argument}={_ALONE[argument]}"
    return given


def option(
    *names: str,
    help: str,
    panel: str | None = None,
    metavar: str | None = None,
    min: float | None = None,
    max: float | None = None,
    complete: Callable[[str], list[str]] | None = None,
    show_default: bool = False,
    hidden: bool = False,
    alone: str | None = None,
) -> Any:
    """An option, for an annotation. `alone`: what its name means without a value; a value is then a number,
    or that word, and anything else that follows is no part of it.
    """
    if alone is not None:
        _ALONE.update(dict.fromkeys(names, alone))
    return typer.Option(
        *names, help=help, rich_help_panel=panel, metavar=metavar, min=min, max=max,
        autocompletion=complete, show_default=show_default, hidden=hidden,
    )  # fmt: skip


Files = Annotated[
    list[str], typer.Argument(metavar="FILE", help="Recordings; - is standard input.", show_default=False)
]


_MMPROJ = option(
    "--mmproj", metavar="FILE", panel=_MODEL, complete=complete.projectors,
    help="The audio projector, if not found beside the model.",
)  # fmt: skip
_BACKEND = option(
    "--backend", metavar="NAME", panel=_MODEL, complete=complete.backends,
    help="auto, cpu, or one of `gemma-audio backends`.",
)  # fmt: skip
_QUIET = option("-q", "--quiet", panel=_NOTICES, help="No notices on stderr; errors only.")
Mmproj = Annotated[str | None, _MMPROJ]
Backend = Annotated[str | None, _BACKEND]
Quiet = Annotated[bool, _QUIET]


@dataclass(frozen=True)
class Model:
    """Which model, and where it runs."""

    model: Annotated[
        str | None,
        option(
            "-m", "--model", metavar="MODEL", panel=_MODEL, complete=complete.models,
            help="e2b, e4b, 12b, demo, OWNER/REPOSITORY[:TYPE], a text GGUF, or a folder with a pair.",
        ),
    ] = None  # fmt: skip
    mmproj: Mmproj = None
    threads: Annotated[
        int | None,
        option("-t", "--threads", min=1, panel=_MODEL, help="CPU threads; default: one per physical core."),
    ] = None
    backend: Backend = None
    device: Annotated[
        str | None,
        option(
            "--device", metavar="NAME", panel=_MODEL, complete=complete.devices,
            help="ggml's name of a device: CPU, CUDA1.",
        ),
    ] = None  # fmt: skip
    gpu_layers: Annotated[
        str | None,
        option(
            "--gpu-layers", metavar="N", panel=_MODEL,
            help="Layers of the text model on the device; default: auto, all that fit into its memory.",
        ),
    ] = None  # fmt: skip
    audio_first: Annotated[
        bool | None,
        option(
            "--audio-first/--text-first", panel=_MODEL,
            help="Order of the prompt: the recording or the instruction first; default: --text-first.",
        ),
    ] = None  # fmt: skip

    def options(self, settings: Settings) -> ModelOptions:
        """With the settings for what is not given. A projector in the settings belongs to their model."""
        from gemma_audio_cli.pipeline.options import ModelOptions

        return ModelOptions(
            model=self.model or settings.model,
            mmproj=self.mmproj or (settings.mmproj if self.model is None else None),
            backend=self.backend or settings.backend,
            device=self.device or settings.device,
            threads=self.threads or settings.threads,
            gpu_layers=self.gpu_layers or settings.gpu_layers,
            audio_first=settings.audio_first if self.audio_first is None else self.audio_first,
        )


@dataclass(frozen=True)
class Part:
    """Which part of a recording is heard."""

    start: Annotated[
        str | None,
        option("--start", metavar="TIME", panel=_RECORDING, help="Begin there: seconds, 1:30 or 1:02:03."),
    ] = None
    end: Annotated[str | None, option("--end", metavar="TIME", panel=_RECORDING, help="End there.")] = None


@dataclass(frozen=True)
class Input:
    """How a recording is read."""

    channel: Annotated[
        int | None, option("--channel", min=1, panel=_RECORDING, help="Hear only this channel, from 1.")
    ] = None
    track: Annotated[
        str | None,
        option(
            "--track", metavar="N|LANG", panel=_RECORDING,
            help="Of a file with several audio tracks: this one (2, or deu).",
        ),
    ] = None  # fmt: skip
    raw: Annotated[
        str | None,
        option(
            "--raw", metavar="TYPE:RATE:CHANNELS", panel=_RECORDING, help="Headerless input: s16le:16000:1."
        ),
    ] = None

    def options(self, part: Part | None = None, *, split: bool = False) -> SourceOptions:
        """Raises UsageError."""
        from gemma_audio_cli.audio.read.pcm import parse_raw
        from gemma_audio_cli.audio.read.source import SourceOptions
        from gemma_audio_cli.audio.read.timecode import parse_time

        part = part or Part()
        return SourceOptions(
            start=parse_time(part.start, "--start") if part.start else 0.0,
            end=parse_time(part.end, "--end") if part.end else None,
            channel=self.channel,
            split_channels=split,
            raw=parse_raw(self.raw) if self.raw else None,
            track=self.track,
        )


@dataclass(frozen=True)
class Threshold:
    """From when on sound is speech."""

    vad_threshold: Annotated[
        float | None,
        option(
            "--vad-threshold", metavar="NUMBER", panel=_SPEECH,
            help="The probability from which on sound is speech, 0.05 to 0.95; default: 0.5.",
        ),
    ] = None  # fmt: skip

    def value(self, settings: Settings) -> float | None:
        """The threshold that the option or else the settings name. Raises UsageError."""
        from gemma_audio_cli import config

        if self.vad_threshold is None:
            return settings.vad_threshold
        return config.threshold(self.vad_threshold, "--vad-threshold")


@dataclass(frozen=True)
class Speech:
    """Is speech found first?"""

    vad: Annotated[
        bool | None,
        option(
            "--vad/--no-vad", panel=_SPEECH, help="Find speech first and leave out silence; default: --vad."
        ),
    ] = None  # fmt: skip

    def options(
        self,
        threshold: Threshold,
        settings: Settings,
        *,
        window: float | None = None,
        min_pause: float | None = None,
    ) -> CutOptions:
        """How recordings are cut. Raises UsageError."""
        from gemma_audio_cli.pipeline.options import CutOptions

        vad = settings.vad if self.vad is None else self.vad
        cut = CutOptions(vad=vad, window=window, threshold=threshold.value(settings))
        return cut if min_pause is None else replace(cut, min_pause=min_pause)


@dataclass(frozen=True)
class Results:
    """Where results go, and as what."""

    formats: Annotated[
        list[str] | None,
        option(
            "-f", "--format", metavar="FORMAT", panel=_RESULTS, complete=complete.formats,
            help="One, several (srt,vtt) or all.",
        ),
    ] = None  # fmt: skip
    output: Annotated[
        str | None,
        option(
            "-o", "--output", metavar="FILE|FOLDER", panel=_RESULTS,
            help="Where results go; default: standard output.",
        ),
    ] = None  # fmt: skip
    timestamps: Annotated[
        bool, option("--timestamps", panel=_RESULTS, help="Text: begin each line with its times.")
    ] = False
    jsonl: Annotated[bool, option("--jsonl", panel=_RESULTS, help="Short for -f jsonl: events.")] = False

    @property
    def kinds(self) -> list[str]:
        """The formats by name."""
        return [*(self.formats or ()), *(["jsonl"] if self.jsonl else ())]


@dataclass(frozen=True)
class AnswerShape:
    """What an answer must look like."""

    schema: Annotated[
        str | None,
        option(
            "--schema", metavar="FILE|JSON", panel=_SHAPE, help="Answer in JSON that fits this JSON schema."
        ),
    ] = None
    choices: Annotated[
        str | None,
        option("--choices", metavar="A,B,...", panel=_SHAPE, help="Answer with one of these."),
    ] = None
    grammar: Annotated[
        str | None,
        option("--grammar", metavar="FILE", panel=_SHAPE, help="Answer in this GBNF grammar, from its root."),
    ] = None

    def made(self) -> Shape | None:
        """The shape; None: free text. Raises UsageError."""
        from gemma_audio_cli.decoding import shape
        from gemma_audio_cli.textfiles import text_of

        given = [name for name in ("schema", "choices", "grammar") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"--{given[0]} and --{given[1]} do not go together")
        if self.schema is not None:
            is_text = self.schema.lstrip().startswith("{")
            return shape.from_schema(self.schema if is_text else text_of(self.schema, "the schema"))
        if self.choices is not None:
            return shape.from_choices(self.choices.split(","))
        if self.grammar is not None:
            return shape.from_grammar(text_of(self.grammar, "the grammar"))
        return None


@dataclass(frozen=True)
class Notices:
    """What stderr says."""

    quiet: Quiet = False
    verbose: Annotated[
        bool, option("-v", "--verbose", panel=_NOTICES, help="Print a timing table on stderr.")
    ] = False


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of its groups in place of the groups."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []

    def add(name: str, annotation: Any, default: Any) -> None:
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )

    for name, parameter in inspect.signature(command).parameters.items():
        group = hints[name]
        if not is_dataclass(group):
            add(name, group, parameter.default)
            continue
        groups[name] = group
        inner = get_type_hints(group, include_extras=True)
        for field in fields(group):
            add(
                field.name,
                inner[field.name],
                inspect.Parameter.empty if field.default is MISSING else field.default,
            )

    @wraps(command)
    def with_options(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    # What it wraps has other parameters.
    del with_options.__wrapped__
    return with_options


class GroupedCommand(TyperCommand):
    """A command whose `--help` shows its options group by group."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """With the values that may be left out."""
        return super().parse_args(ctx, with_values(args))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the command's own options, then the groups in the order of the command's parameters."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
            own = parameter.rich_help_panel if isinstance(parameter, _OURS) else None
            panels.setdefault(own or plain, []).append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


def check_positive(name: str, value: float | None) -> None:
    """Raises UsageError for a time that is none."""
    if value is not None and not 0 < value < 1e9:
        raise UsageError(f"{name} must be more than 0 seconds, not {value:g}")
