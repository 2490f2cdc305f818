"""Prompts: what to ask a model, and the pieces of tokens and clips that ask it.

    instruction, clips ──► the model's chat template (or the built-in layout) ──► tokens | clip | tokens

Audio stands before the text. User text is spelled out and never becomes a control token, whatever it says;
only what the layout itself writes is read for control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from gemma_audio_cli.decoding.template import TemplateError, render
from gemma_audio_cli.engine.structs import Input
from gemma_audio_cli.languages import language_name

if TYPE_CHECKING:
    from gemma_audio_cli.engine.audio_stream import AudioStream

_FORMATTING = (
    "\n\nFollow these specific instructions for formatting the answer:\n"
    "* Only output the transcription, with no newlines.\n"
    "* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 "
    "instead of three."
)
ASR = "Transcribe the following speech segment in {language} into {language} text." + _FORMATTING
ASR_ANY = "Transcribe the following speech segment in its original language." + _FORMATTING
TRANSLATION = (
    "Transcribe the following speech segment in {source}, then translate it into {target}.\n"
    "When formatting the answer, first output the transcription in {source}, then one newline, then output "
    "the string '{target}: ', then the translation in {target}."
)
TEMPLATE_KEY = "tokenizer.chat_template"

_AUDIO_MARK = "<|audio|>"
_CLIP_OPEN, _CLIP_CLOSE = "<|audio>", "<audio|>"
_SLOT = "\ue000GEMMA-AUDIO-TEXT\ue001"
"""Stands for the user's text while a template runs: private-use characters no template has."""


class Vocabulary(Protocol):
    """What prompts need of an engine."""

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Text to tokens."""

    def metadata(self, key: str) -> str | None:
        """A string of the model file."""


@dataclass(frozen=True)
class Clip:
    """The place of the `index`-th clip in a prompt."""

    index: int


@dataclass(frozen=True)
class Tokens:
    """A run of tokens in a prompt."""

    ids: tuple[int, ...]


Piece = Clip | Tokens


def transcription(language: str | None = None) -> str:
    """The instruction to transcribe; without a language the model finds it itself."""
    return ASR.format(language=language_name(language)) if language else ASR_ANY


def translation(source: str, target: str) -> str:
    """The instruction to transcribe and then translate."""
    return TRANSLATION.format(source=language_name(source), target=language_name(target))


def instruction(
    language: str | None = None,
    *,
    translate_to: str | None = None,
    context: str | None = None,
    replacement: str | None = None,
) -> str:
    """What to tell the model about a clip. `context` are names and terms it may hear; `replacement` stands
    for the whole instruction.
    """
    if replacement:
        text = replacement
    elif translate_to:
        text = translation(language or "its original language", translate_to)
    else:
        text = transcription(language)
    return f"{text}\n\nThese names and terms may occur: {context.strip()}" if context else text


def split_translation(text: str, target: str) -> tuple[str, str | None]:
    """What was said, and its translation, of an answer to the instruction to do both. None: it has no
    translation.
    """
    mark = f"{language_name(target)}:"
    said, found, translated = text.partition(mark)
    return (said.strip(), translated.strip()) if found else (text, None)


def builtin_layout(clips: int) -> str:
    """Gemma 4's layout of one user turn with that many clips and the slot for its text."""
    return f"<bos><|turn>user\n{_AUDIO_MARK * clips}{_SLOT}<turn|>\n<|turn>model\n"


@lru_cache(maxsize=8)
def layout(template: str | None, clips: int) -> tuple[str, str | None]:
    """The turn laid out with audio marks and the text slot, and a notice where the template had to be set
    aside.
    """
    if not template:
        return builtin_layout(clips), None
    content = [{"type": "audio"}] * clips + [{"type": "text", "text": _SLOT}]
    try:
        text = render(template, [{"role": "user", "content": content}], bos="<bos>", eos="<eos>")
        _check_layout(text, clips)
    except TemplateError as error:
        return builtin_layout(clips), f"{error}; the built-in Gemma 4 layout is used"
    return text if text.startswith("<bos>") else "<bos>" + text, None


def _check_layout(text: str, clips: int) -> None:
    """Every clip once, then the text once."""
    slots, marks = text.count(_SLOT), text.count(_AUDIO_MARK)
    if slots != 1 or marks != clips:
        raise TemplateError(
            f"the model's chat template places {marks} clips and {slots} texts where {clips} and 1 were given"
        )
    if text.rfind(_AUDIO_MARK) > text.index(_SLOT):
        raise TemplateError("the model's chat template places audio behind the text")


@dataclass(frozen=True)
class Prompt:
    """A prompt with the places of its clips: tokens before the first one, what lies between, tokens behind
    the last one.
    """

    head: tuple[int, ...]
    middle: tuple[Piece, ...]
    tail: tuple[int, ...]
    notice: str | None = None
    """Why the model's own template could not be used; None: it was, or there is none."""

    def sound(self, clips: Sequence[AudioStream], seq: int = 0) -> list[Input]:
        """The clips, and the tokens between them, as inputs of a forward."""
        return [
            Input(seq, tokens=piece.ids)
            if isinstance(piece, Tokens)
            else Input(seq, audio=clips[piece.index])
            for piece in self.middle
        ]

    def positions(self, audio_tokens: int, budget: int) -> int:
        """What a sequence needs for the prompt with so many tokens of sound, and the answer."""
        between = sum(len(piece.ids) for piece in self.middle if isinstance(piece, Tokens))
        return len(self.head) + between + audio_tokens + len(self.tail) + budget


def build(vocabulary: Vocabulary, instruction: str, clips: int = 1) -> Prompt:
    """The prompt that gives `clips` clips and then the instruction."""
    text, notice = layout(vocabulary.metadata(TEMPLATE_KEY), clips)
    pieces: list[Piece] = []
    pending: list[int] = []
    index = 0
    # The layout's own text is read for control tokens, the user's is not.
    for part in re.split(f"({re.escape(_AUDIO_MARK)}|{_SLOT})", text):
        if part == _AUDIO_MARK:
            pending += vocabulary.tokenize(_CLIP_OPEN, special=True)
            pieces += [Tokens(tuple(pending)), Clip(index)]
            pending = vocabulary.tokenize(_CLIP_CLOSE, special=True)
            index += 1
        elif part == _SLOT:
            pending += vocabulary.tokenize(instruction.strip())
        elif part:
            pending += vocabulary.tokenize(part, special=True)
    if not pieces:
        return Prompt((), (), tuple(pending), notice)
    first = pieces[0]
    assert isinstance(first, Tokens)
    return Prompt(first.ids, tuple(pieces[1:]), tuple(pending), notice)
