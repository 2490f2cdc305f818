"""The options that say what to do with a clip: language, translation, context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.options import option

if TYPE_CHECKING:
    from gemma_audio_cli.config import Settings
    from gemma_audio_cli.pipeline.options import InstructionOptions

_INSTRUCTION = "What to write"


@dataclass(frozen=True)
class Instruction:
    """What the model is asked to do with a clip."""

    language: Annotated[
        str | None,
        option(
            "-l", "--language", panel=_INSTRUCTION,
            help="The language spoken (German or de); default: the model finds it.",
        ),
    ] = None  # fmt: skip
    translate_to: Annotated[
        str | None, option("--translate-to", metavar="LANGUAGE", panel=_INSTRUCTION, help="Also translate.")
    ] = None
    context: Annotated[
        str | None,
        option(
            "--context", metavar="TEXT|@FILE", panel=_INSTRUCTION,
            help="Names and terms that may occur, or a file with one a line.",
        ),
    ] = None  # fmt: skip

    def options(self, settings: Settings, replacement: str | None = None) -> InstructionOptions:
        """`replacement`: an instruction of the person's own; no settings are added to it. Raises UsageError
        where not both can be, and for a glossary that cannot be read.
        """
        from gemma_audio_cli.glossary import context_text
        from gemma_audio_cli.pipeline.options import InstructionOptions

        language = self.language or (None if replacement else settings.language)
        context = self.context or (None if replacement else settings.context)
        if context is not None:
            context = context_text(context)
        return InstructionOptions(language, self.translate_to, context, replacement)

    def each(
        self, settings: Mapping[str, Settings], replacement: str | None = None
    ) -> dict[str, InstructionOptions]:
        """For each recording with its settings. Raises what `options` raises."""
        made: dict[tuple[str | None, str | None], InstructionOptions] = {}
        chosen = {}
        for recording, own in settings.items():
            key = (own.language, own.context)
            if key not in made:
                made[key] = self.options(own, replacement)
            chosen[recording] = made[key]
        return chosen
