"""The options of `ask` about long recordings, and the bar while they are heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.options import option
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.output import Progress
    from gemma_audio_cli.pipeline.events import AskEvent
    from gemma_audio_cli.pipeline.options import PassesOptions

_PASSES = "Long recordings"


@dataclass(frozen=True)
class Passes:
    """How recordings are asked that are longer than what a model recalls."""

    passes: Annotated[
        bool | None,
        option(
            "--passes/--whole", panel=_PASSES,
            help="Ask stretch by stretch and answer from the notes, or give all to the model at once; "
            "default: by length.",
        ),
    ] = None  # fmt: skip
    recall_seconds: Annotated[
        float | None,
        option(
            "--recall-seconds", metavar="SECONDS", panel=_PASSES,
            help="How much sound the model recalls; what is longer is answered in passes; default: 120.",
        ),
    ] = None  # fmt: skip
    evidence: Annotated[
        bool,
        option("--evidence", panel=_PASSES, help="List the stretches that the answer stands on."),
    ] = False
    cache: Annotated[
        bool | None,
        option(
            "--cache/--no-cache", panel=_PASSES,
            help="Keep on disk what was heard in passes, for the next question; default: --cache.",
        ),
    ] = None  # fmt: skip

    def options(self, settings: Settings, *, lines_of_json: bool = False) -> PassesOptions:
        """With the settings for what is not given. `lines_of_json`: nothing else may be printed."""
        from gemma_audio_cli.pipeline.options import PassesOptions

        if self.evidence and lines_of_json:
            raise UsageError("--evidence would stand beside the JSON of --schema; add --jsonl")
        given = self.recall_seconds
        return PassesOptions(
            wanted=self.passes,
            recall_seconds=settings.recall_seconds if given is None else given,
            evidence=self.evidence,
            cache=settings.cache if self.cache is None else self.cache,
            cache_bytes=settings.cache_mb * 1_000_000,
        )


class HeardBar:
    """Shows how much was heard of a recording, until the answer begins."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._bar: Progress | None = None

    def take(self, event: AskEvent) -> None:
        """Any event."""
        from gemma_audio_cli.output import Progress
        from gemma_audio_cli.pipeline.events import StretchHeard

        if not isinstance(event, StretchHeard):
            self.close()
        elif self._enabled:
            if self._bar is None:
                self._bar = Progress(1)
                self._bar.__enter__()
                if event.duration is not None:
                    self._bar.expect(event.recording.file, event.duration)
                self._bar.start(event.recording.file)
            self._bar.reach(event.seconds)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
