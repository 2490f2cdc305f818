"""Prompts: what to ask a model, and the pieces of tokens and clips that ask it.

    instruction, labels ──► the model's chat template (or the built-in layout) ──► tokens | clip | tokens

The instruction stands before the clips, as in Google's notebook for E2B and, since June 2026, on the cards
of E4B and 12B ("audio after the text"); the 12B answers hard clips instead of transcribing them when it
stands behind. What comes before the first clip is then the same for every clip, and computed once. Audio
first is an option: many questions to one recording then share the work on the recording.

User text is spelled out and never becomes a control token, whatever it says; only what the layout itself
writes is read for control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gemma_audio_cli.decoding.template import TemplateError, render
from gemma_audio_cli.engine.structs import Input
from gemma_audio_cli.languages import language_name
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from gemma_audio_cli.engine.audio_stream import AudioStream

# Google's wordings, from the model cards of Gemma 4 (ai.google.dev, google/gemma-4-E2B-it), read in November
# 2026. One space before "Follow these", as on the present card; its older section on templates has "\n\n".
_FORMATTING = (
    " Follow these specific instructions for formatting the answer:\n"
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
_SLOT = "\ue000GEMMA-AUDIO-TEXT-{}\ue001"
"""Stands for the user's n-th text while a template runs: private-use characters no template has."""
_SLOTS = re.compile("\ue000GEMMA-AUDIO-TEXT-([0-9]{1,6})\ue001")
_EMPTY_THOUGHT = "<|channel>thought\n<channel|>"


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


@dataclass(frozen=True)
class Layout:
    """What a prompt looks like, whatever the user's words: the order of texts and clips, and how the model's
    turn begins.
    """

    audio_first: bool = False
    """The clips stand before the instruction."""
    empty_thought: bool = False
    """Without a template: the model's turn begins with an empty thought, as Google's template of the 12B has
    it while thinking is off (those of E2B and E4B don't).
    """

    def order(self, clips: int) -> tuple[int | None, ...]:
        """The user's turn: the number of a text, or None for a clip.

        Of one clip and the instruction one follows the other. Several clips each have a text before them.
        With text first, the first text is the instruction and the first clip's label.
        """
        if clips < 2:
            return (None,) * clips + (0,) if self.audio_first else (0,) + (None,) * clips
        labelled: list[int | None] = []
        for text in range(clips):
            labelled += [text, None]
        return (*labelled, clips) if self.audio_first else tuple(labelled)

    def texts(self, instruction: str, labels: Sequence[str]) -> list[str]:
        """The user's texts, in the order of their numbers. A clip's label is a recording's name or a time."""
        instruction, labels = instruction.strip(), [f"{label.strip()}:" for label in labels]
        if len(labels) < 2:
            return [instruction]
        if self.audio_first:
            return [*labels, instruction]
        return [f"{instruction}\n{labels[0]}", *labels[1:]]


def layout_of(projector: str, *, audio_first: bool = False) -> Layout:
    """The layout for a model with this kind of projector: only the 12B's, gemma4ua, has an empty thought."""
    return Layout(audio_first, empty_thought=projector == "gemma4ua")


def builtin_layout(order: Sequence[int | None], *, empty_thought: bool = False) -> str:
    """Gemma 4's layout of one user turn of these texts and clips."""
    turn = "".join(_AUDIO_MARK if item is None else _SLOT.format(item) for item in order)
    return f"<bos><|turn>user\n{turn}<turn|>\n<|turn>model\n" + _EMPTY_THOUGHT * empty_thought


@lru_cache(maxsize=8)
def laid_out(template: str | None, layout: Layout, clips: int) -> tuple[str, str | None]:
    """The turn with audio marks and text slots, and a notice where the template had to be set aside."""
    order = layout.order(clips)
    builtin = builtin_layout(order, empty_thought=layout.empty_thought)
    if not template:
        return builtin, None
    content = [
        {"type": "audio"} if item is None else {"type": "text", "text": _SLOT.format(item)} for item in order
    ]
    try:
        text = render(template, [{"role": "user", "content": content}], bos="<bos>", eos="<eos>")
        _check_layout(text, order)
    except TemplateError as error:
        return builtin, f"{error}; the built-in Gemma 4 layout is used"
    return text if text.startswith("<bos>") else "<bos>" + text, None


def _parts(text: str) -> list[str]:
    """A laid-out turn in its audio marks, text slots and what is between them."""
    return re.split(f"({re.escape(_AUDIO_MARK)}|{_SLOTS.pattern.replace('(', '(?:')})", text)


def _check_layout(text: str, order: Sequence[int | None]) -> None:
    """Every text and every clip once, in the order they were given."""
    slots = [slot for part in _parts(text) if (slot := _slot(part)) is not None or part == _AUDIO_MARK]
    texts, clips = sum(slot is not None for slot in slots), slots.count(None)
    if (texts, clips) != (len(order) - order.count(None), order.count(None)):
        raise TemplateError(
            f"the model's chat template places {clips} clips and {texts} texts where {order.count(None)} and "
            f"{len(order) - order.count(None)} were given"
        )
    if slots != list(order):
        raise TemplateError("the model's chat template changes the order of text and audio")


def _slot(part: str) -> int | None:
    found = _SLOTS.fullmatch(part)
    return int(found[1]) if found else None


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

    def sound(self, clips: Sequence[AudioStream] | Sequence[Floats], seq: int = 0) -> list[Input]:
        """The clips, or their rows of embeddings, and the tokens between them, as inputs of a forward."""
        return [
            Input(seq, tokens=piece.ids) if isinstance(piece, Tokens) else _heard(seq, clips[piece.index])
            for piece in self.middle
        ]

    def positions(self, audio_tokens: int, budget: int) -> int:
        """What a sequence needs for the prompt with so many tokens of sound, and the answer."""
        between = sum(len(piece.ids) for piece in self.middle if isinstance(piece, Tokens))
        return len(self.head) + between + audio_tokens + len(self.tail) + budget


def _heard(seq: int, clip: AudioStream | Floats) -> Input:
    return Input(seq, embeddings=clip) if isinstance(clip, np.ndarray) else Input(seq, audio=clip)


def build(
    vocabulary: Vocabulary,
    instruction: str,
    labels: Sequence[str] = ("",),
    layout: Layout = Layout(),
) -> Prompt:
    """The prompt with the instruction and a clip for each label; of a single clip its label is left out."""
    text, notice = laid_out(vocabulary.metadata(TEMPLATE_KEY), layout, len(labels))
    texts = layout.texts(instruction, labels)
    pieces: list[Piece] = []
    pending: list[int] = []
    # The layout's own text is read for control tokens, the user's is not.
    for part in _parts(text):
        slot = _slot(part)
        if part == _AUDIO_MARK:
            pending += vocabulary.tokenize(_CLIP_OPEN, special=True)
            pieces += [Tokens(tuple(pending)), Clip(len(pieces) // 2)]
            pending = vocabulary.tokenize(_CLIP_CLOSE, special=True)
        elif slot is not None:
            pending += vocabulary.tokenize(texts[slot])
        elif part:
            pending += vocabulary.tokenize(part, special=True)
    if not pieces:
        return Prompt((), (), tuple(pending), notice)
    first = pieces[0]
    assert isinstance(first, Tokens)
    return Prompt(first.ids, tuple(pieces[1:]), tuple(pending), notice)


def follow_up(vocabulary: Vocabulary, question: str, layout: Layout = Layout()) -> tuple[int, ...]:
    """What follows an answer to ask the next question: the end of the model's turn, and the user's turn."""
    before, after = _next_turn(vocabulary.metadata(TEMPLATE_KEY), layout)
    return (
        *vocabulary.tokenize(before, special=True),
        *vocabulary.tokenize(question.strip()),
        *vocabulary.tokenize(after, special=True),
    )


@lru_cache(maxsize=8)
def _next_turn(template: str | None, layout: Layout) -> tuple[str, str]:
    """What stands before and behind the second question of a conversation. A template that cannot lay one out
    gives the built-in layout: that it is odd was said when the first turn was laid out.
    """
    end = "<turn|>\n<|turn>model\n" + _EMPTY_THOUGHT * layout.empty_thought
    if template:
        roles = ("user", "assistant", "user")
        messages = [
            {"role": role, "content": [{"type": "text", "text": _SLOT.format(number)}]}
            for number, role in enumerate(roles)
        ]
        try:
            text = render(template, messages, bos="<bos>", eos="<eos>")
        except TemplateError:
            text = ""
        parts = _parts(text)
        places = {slot: place for place, part in enumerate(parts) if (slot := _slot(part)) is not None}
        if list(places) == [0, 1, 2] and len(parts) == 7:
            return parts[places[1] + 1], parts[places[2] + 1]
    return "<turn|>\n<|turn>user\n", end
