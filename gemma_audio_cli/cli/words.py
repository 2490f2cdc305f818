"""The options that say how words are shown, and whether it is found out when each was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.options import option
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.output import Style

_RESULTS = "Results"


@dataclass(frozen=True)
class Words:
    """Words in results."""

    max_line: Annotated[
        int, option("--max-line", panel=_RESULTS, help="Subtitles: columns of a line.", show_default=True)
    ] = 42
    max_words: Annotated[
        int | None,
        option("--max-words", metavar="N", panel=_RESULTS, help="Subtitles: words in a cue, at most."),
    ] = None
    word_times: Annotated[
        bool,
        option(
            "--word-times", panel=_RESULTS,
            help="When each word was said: in json and jsonl, and for the times of subtitles.",
        ),
    ] = False  # fmt: skip
    aligner: Annotated[
        str | None,
        option(
            "--aligner", metavar="NAME", panel=_RESULTS,
            help="What finds word times: model (default), or pocketsphinx, for English.",
        ),
    ] = None  # fmt: skip
    karaoke: Annotated[
        bool,
        option(
            "--karaoke", panel=_RESULTS,
            help="vtt, ass, lrc: show each word when it is said. Finds word times.",
        ),
    ] = False  # fmt: skip
    mark_unsure: Annotated[
        bool,
        option(
            "--mark-unsure", panel=_RESULTS,
            help="Text and subtitles: mark words the model is not sure of, as [?word].",
        ),
    ] = False  # fmt: skip
    unsure_below: Annotated[
        float | None,
        option(
            "--unsure-below", metavar="P", panel=_RESULTS,
            help="Mark words with a probability below this; default: 0.5.",
        ),
    ] = None  # fmt: skip

    def timed(self, formats: Sequence[str]) -> bool:
        """Are word times wanted, for these formats?"""
        from gemma_audio_cli.output.formats import WITH_WORD_TIMES

        wanted = self.word_times or self.karaoke or self.aligner is not None
        return wanted or not set(WITH_WORD_TIMES).isdisjoint(formats)

    @property
    def found_by(self) -> str:
        """What finds word times."""
        from gemma_audio_cli.decoding.options import MODEL_ALIGNER

        return self.aligner or MODEL_ALIGNER

    def style(
        self,
        *,
        timestamps: bool,
        translated: bool,
        bilingual: bool = False,
        live: bool = False,
    ) -> Style:
        """How results look. Raises UsageError."""
        from gemma_audio_cli.output import Style
        from gemma_audio_cli.output.unsure import BELOW, Unsure

        if self.karaoke and translated:
            raise UsageError(
                "--karaoke shows words as they are said, which a translation was not; "
                "leave out --translate-to"
            )
        unsure = None
        if self.mark_unsure or self.unsure_below is not None:
            unsure = Unsure(BELOW if self.unsure_below is None else self.unsure_below)
        return Style(
            timestamps=timestamps,
            max_line=self.max_line,
            live=live,
            bilingual=bilingual,
            translated=translated,
            max_words=self.max_words,
            karaoke=self.karaoke,
            unsure=unsure,
        )
