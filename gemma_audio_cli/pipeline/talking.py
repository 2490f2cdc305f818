"""One question of a conversation, on another engine where a device fails before its answer is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gemma_audio_cli.decoding.conversation import Conversation
from gemma_audio_cli.decoding.transcriber import Transcriber
from gemma_audio_cli.errors import DEVICE_FAILURES, EngineError
from gemma_audio_cli.transcript import Answer


def moved(transcriber: Transcriber, talk: Conversation, error: EngineError) -> bool:
    """Goes on with another engine after the device of this one failed. False: there is no other."""
    other = transcriber.replace_engine(error)
    if other is not None:
        talk.move(other)
    return other is not None


def answered(
    transcriber: Transcriber,
    talk: Conversation,
    hear: Callable[[], object],
    question: str,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[str | Answer]:
    """As `Conversation.ask`, of a conversation of this transcriber. `hear` takes the sound in where the
    conversation holds none: at first, and on another engine again.
    """
    shown = False
    while True:
        try:
            if not talk.hears_something:
                hear()
            for item in talk.ask(question, temperature=temperature, seed=seed):
                shown = True
                yield item
        except DEVICE_FAILURES as error:
            # What a person has seen of an answer cannot be taken back.
            if shown or not moved(transcriber, talk, error):
                raise
        else:
            return
