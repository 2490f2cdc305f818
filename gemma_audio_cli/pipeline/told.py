"""Instructions with as much of their context as there is room for.

InstructionOptions ──► Instructions.of(engine) ──► Told: the text, and the hints in it
                             ▲
transcripts of the run ──────┘ saw
"""

from __future__ import annotations

from dataclasses import dataclass

from gemma_audio_cli.decoding.context import Hints, Terms, budget
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.errors import Notice
from gemma_audio_cli.formatting import counted
from gemma_audio_cli.glossary import terms_of
from gemma_audio_cli.pipeline.options import InstructionOptions


@dataclass(frozen=True)
class Told:
    """What the model is told of a clip."""

    text: str
    hints: Hints | None
    """None: it lists no terms."""
    whole: bool
    """All of the context is in it."""


class Instructions:
    """The instructions of one run. They remember which terms were heard."""

    def __init__(self, notice: Notice) -> None:
        self._notice, self._noticed = notice, False
        self._terms: dict[str, Terms] = {}

    def of(self, options: InstructionOptions, engine: Engine) -> Told:
        """What to tell this model. Where the context is too long, the terms that were not seen for longest
        are left out, and that is said once.
        """
        if not options.context:
            return Told(options.text(), None, True)
        known = self._terms.setdefault(options.context, Terms(terms_of(options.context)))
        room = budget(engine.info.n_ctx_train)

        def count(text: str) -> int:
            return len(engine.tokenize(text))

        # As it was written, where that is short enough.
        whole = count(options.context) <= room
        kept = known.all if whole else known.fit(count, room)
        if len(kept) < len(known.all) and not self._noticed:
            self._noticed = True
            out = len(known.all) - len(kept)
            self._notice(
                f"the context is too long: it may have {room} tokens; {counted(out, 'term')} of "
                f"{len(known.all)} are left out, those not heard for longest"
            )
        without = InstructionOptions(options.language, options.translate_to, None, options.replacement).text()
        text = options.text(None if whole else kept) if kept else without
        return Told(text, Hints(kept, without) if kept else None, len(kept) == len(known.all))

    def saw(self, options: InstructionOptions, text: str) -> None:
        """One more transcript, of a recording with this instruction."""
        known = self._terms.get(options.context or "")
        if known is not None:
            known.saw(text)
