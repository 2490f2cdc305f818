"""The options about who speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.options import option
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.pipeline.options import SpeakerOptions

_PANEL = "Who speaks"
_AUTO = "auto"


@dataclass(frozen=True)
class SpeakerChoices:
    """Who speaks is found out, or not."""

    speakers: Annotated[
        str | None,
        option(
            "--speakers", metavar="[N]", panel=_PANEL, alone=_AUTO,
            help="Say who speaks; N: so many speakers there are.",
        ),
    ] = None  # fmt: skip
    max_speakers: Annotated[
        int | None,
        option("--max-speakers", metavar="N", panel=_PANEL, help="Find no more speakers than that."),
    ] = None
    speaker_names: Annotated[
        str | None,
        option(
            "--speaker-names", metavar="A,B,...", panel=_PANEL,
            help="What to call them, in order of appearance.",
        ),
    ] = None  # fmt: skip
    enroll: Annotated[
        list[str] | None,
        option(
            "--enroll", metavar="[NAME=]FILE", panel=_PANEL,
            help="A recording of one person, to know that voice by; repeat for more.",
        ),
    ] = None  # fmt: skip

    def options(self, settings: Settings) -> SpeakerOptions | None:
        """None: not wanted. Raises UsageError."""
        from gemma_audio_cli.pipeline.options import SpeakerOptions

        chosen = (self.speakers, self.max_speakers, self.speaker_names, self.enroll or None)
        if all(choice is None for choice in chosen):
            return None
        return SpeakerOptions(
            count=self._count(),
            **({} if self.max_speakers is None else {"most": self.max_speakers}),
            names=() if self.speaker_names is None else tuple(map(str.strip, self.speaker_names.split(","))),
            enrolled=tuple(self.enroll or ()),
            folder=settings.speaker_models,
        )

    def _count(self) -> int | None:
        if self.speakers in (None, _AUTO):
            return None
        if not str(self.speakers).isdecimal():
            raise UsageError(f"--speakers must be {_AUTO} or a number, not {self.speakers!r}")
        return int(str(self.speakers))
