"""The demo model's vocabulary: a small `tokenizer.json` in the form of Gemma 4's, with every known word one
token.

Gemma's tokenizer is BPE over a whole line, spaces turned into "▁". Here each word is reached letter by
letter from its left end ("▁", "▁t", "▁ti", … "▁timer"), so a merge always has a single character on its
right and never crosses into the next word. Words without a leading "▁" (at the start of a line or after a
quote) rank after all of those, each adding the merges that its pieces still lack: what earlier words need
has a lower rank, so they never change. Any other text falls back to characters and bytes.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from . import prompts
from .grammar import WORDS

PAD, EOS, BOS, UNK = "<pad>", "<eos>", "<bos>", "<unk>"
TURN, END_OF_TURN = "<|turn>", "<turn|>"
AUDIO_BEGIN, AUDIO, AUDIO_END = "<|audio>", "<|audio|>", "<audio|>"
_SPECIAL = (
    PAD, EOS, BOS, UNK, TURN, END_OF_TURN, AUDIO_BEGIN, AUDIO, AUDIO_END,
    "<|image>", "<|image|>", "<image|>", "<|channel>", "<channel|>", "<|think|>",
)  # fmt: skip
_SPACE = "▁"
_MAX_NEWLINES = 16

#: Gemma 4's turns. One `<|audio|>` stands for a clip; audio goes where the message has it (before the text).
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- set turns = messages -%}
{%- set system = '' -%}
{%- if messages and messages[0]['role'] in ['system', 'developer'] -%}
  {%- set turns = messages[1:] -%}
  {%- if messages[0]['content'] is string -%}
    {%- set system = messages[0]['content'] | trim -%}
  {%- else -%}
    {%- set texts = messages[0]['content'] | selectattr('type', 'equalto', 'text') -%}
    {%- set system = texts | map(attribute='text') | join | trim -%}
  {%- endif -%}
{%- endif -%}
{%- if system or enable_thinking -%}
  {{- '<|turn>system\\n' -}}
  {%- if enable_thinking -%}{{- '<|think|>' -}}{%- endif -%}
  {{- system + '<turn|>\\n' -}}
{%- endif -%}
{%- for message in turns -%}
  {{- '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' -}}
  {%- if message['content'] is string -%}
    {{- message['content'] | trim -}}
  {%- else -%}
    {%- for part in message['content'] -%}
      {%- if part['type'] == 'audio' -%}{{- '<|audio|>' -}}
      {%- elif part['type'] == 'text' -%}{{- part['text'] | trim -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}
"""


def _prompt_words() -> tuple[list[str], list[str]]:
    """Words of all prompts and answers: those met after a space, and those met at a start or after a
    quote."""
    nouns = ["digit", "digits", "number", "numbers", "word", "words"]
    texts = [*prompts.TRANSCRIBE, *prompts.SUM, prompts.ASR_ENGLISH_OLD, prompts.ASR_ANY_OLD, *nouns]
    texts.append(prompts.TRANSLATION.format(source="English", target="German"))
    for wording in (*prompts.COUNT, *prompts.FIRST, *prompts.LAST, *prompts.SPOKEN):
        texts.append(re.sub(r"\{\w+\}", " ", wording))
    spaced: dict[str, None] = {}
    bare: dict[str, None] = {}
    for text in texts:
        for word in re.findall(r"[A-Za-z]+", text):
            spaced[word] = None
        for word in re.findall(r"(?:^|\n|['\"])([A-Za-z]+)", text):
            bare[word] = None
    spaced.update(
        dict.fromkeys(
            (
                *WORDS,
                *prompts.LANGUAGES,
                *map(str, range(100)),
                "yes",
                "no",
                "none",
                "text",
                "speech",
                "+",
                "=",
                '"',
                "'",
            )
        )
    )
    bare.update(
        dict.fromkeys(
            (
                *WORDS,
                *prompts.LANGUAGES,
                *map(str, range(100)),
                "user",
                "model",
                "system",
                "yes",
                "no",
                "none",
            )
        )
    )
    return list(spaced), list(bare)


def _apply_merges(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding: joins the pair of lowest rank, the leftmost of equals, until none is left."""
    while True:
        pairs = [(ranks.get(pair, len(ranks)), at) for at, pair in enumerate(pairwise(pieces))]
        rank, at = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return pieces
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]


def build_tokenizer_json() -> dict:
    """The content of `tokenizer.json`. Token ids: special tokens, bytes, newlines, characters, then the
    words' merges."""
    vocab: dict[str, int] = {}

    def add(token: str) -> None:
        vocab.setdefault(token, len(vocab))

    for token in _SPECIAL:
        add(token)
    for byte in range(256):
        add(f"<0x{byte:02X}>")
    for count in range(1, _MAX_NEWLINES + 1):
        add("\n" * count)
    add(_SPACE)
    for code in range(0x21, 0x7F):
        add(chr(code))

    # Runs of newlines: any two runs that stand side by side merge, so that a run ends as one token.
    merges = [["\n" * a, "\n" * b] for a in range(1, _MAX_NEWLINES) for b in range(1, _MAX_NEWLINES + 1 - a)]
    merges.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
    spaced, bare = _prompt_words()
    for length in range(1, 32):
        for word in spaced:
            token = _SPACE + word
            if length < len(token) and token[: length + 1] not in vocab:
                merges.append([token[:length], token[length]])
                add(token[: length + 1])
    ranks = {(left, right): rank for rank, (left, right) in enumerate(merges)}
    for word in bare:
        pieces = _apply_merges(list(word), ranks)
        while len(pieces) > 1:
            ranks[pieces[0], pieces[1]] = len(merges)
            merges.append(pieces[:2])
            pieces[:2] = [pieces[0] + pieces[1]]
            add(pieces[0])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": vocab[token], "content": token, **flags, "special": True} for token in _SPECIAL]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNK,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def write_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Writes `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` and reads them back."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(
        json.dumps(build_tokenizer_json(), ensure_ascii=False, indent=1), encoding="utf-8"
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": UNK,
        "audio_token": AUDIO,
        "boa_token": AUDIO_BEGIN,
        "eoa_token": AUDIO_END,
        "sot_token": TURN,
        "eot_token": END_OF_TURN,
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return PreTrainedTokenizerFast.from_pretrained(folder)
