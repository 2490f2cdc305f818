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
from typing import Protocol

from gemma_audio_cli.engine.template import TemplateError, render
from gemma_audio_cli.errors import UsageError

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

LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "ta": "Tamil", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


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


def language_name(language: str) -> str:
    """A language as the prompts name it: "de" and "German" are both "German"; others stay as they are.

    Raises UsageError where it cannot be a language.
    """
    cleaned = " ".join(language.split())
    if not cleaned.isprintable() or not any(map(str.isalpha, cleaned)) or len(cleaned) > 60:
        raise UsageError(f"{language!r} is no language; give a name (German) or an ISO code (de)")
    return LANGUAGES.get(cleaned.lower(), cleaned[:1].upper() + cleaned[1:])


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


def build(vocabulary: Vocabulary, instruction: str, clips: int = 1) -> tuple[list[Piece], str | None]:
    """The pieces of a prompt that gives the clips and then the instruction, and a notice or None."""
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
    pieces.append(Tokens(tuple(pending)))
    return pieces, notice


def around_clip(pieces: Sequence[Piece]) -> tuple[list[int], list[int]]:
    """The tokens before and behind the clip, in the prompt of a single one."""
    split = next(i for i, piece in enumerate(pieces) if isinstance(piece, Clip))
    head, tail = (
        [token for piece in part if isinstance(piece, Tokens) for token in piece.ids]
        for part in (pieces[:split], pieces[split + 1 :])
    )
    return head, tail
