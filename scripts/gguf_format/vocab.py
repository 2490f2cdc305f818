"""The tokenizer of a Gemma 4 model file: tokens, byte-pair merges, special ids, chat template.

Gemma 4 uses byte-pair encoding over text whose spaces became U+2581 "▁", without splitting into words,
with byte tokens `<0xXX>` as the fallback. `synthetic_vocab` makes a valid vocabulary of any size for random
models; `from_checkpoint` reads a `tokenizer.json`; `to_tokenizer_json` writes one for test checkpoints.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

# Shown even when special tokens are hidden, because readers of the answer look for them (llama.cpp's list).
VISIBLE_TOKENS = frozenset(
    {
        "<|channel>",
        "<channel|>",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_response>",
        "<tool_response|>",
        '<|"|>',
    }
)

# Ids that real Gemma 4 vocabularies give these tokens. Those beyond a small vocabulary move to free low ids.
REAL_IDS = {
    "<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4,
    "<|think|>": 98, "<|channel>": 100, "<channel|>": 101, "<|turn>": 105, "<turn|>": 106,
    "<|image>": 255999, "<|audio>": 256000, "<|image|>": 258880, "<|audio|>": 258881,
    "<image|>": 258882, "<audio|>": 258883, "<|video|>": 258884,
}  # fmt: skip

SPACE = "\u2581"
_NEWLINE_RUNS = 31
_FIRST_BYTE_ID = 238

# As Google's: clips and texts in the order of the message, one `<|audio|>` a clip.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
  {{- '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' -}}
  {%- if message.content is string -%}
    {{- message.content | trim -}}
  {%- else -%}
    {%- for part in message.content -%}
      {%- if part.type == 'audio' -%}{{- '<|audio|>' -}}
      {%- elif part.type == 'text' -%}{{- part.text | trim -}}{%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}
"""


class VocabError(ValueError):
    """The tokenizer files cannot be turned into a vocabulary."""


@dataclass(frozen=True)
class Vocab:
    """Tokens by id, with their types; merges in rank order as (left, right)."""

    tokens: list[str]
    types: list[int]
    merges: list[tuple[str, str]]
    special: dict[str, int] = field(default_factory=dict)
    """`bos`, `eos`, `unk`, `pad`, `mask` (where present) to token id."""
    chat_template: str | None = None
    suppress: list[int] = field(default_factory=list)

    def id_of(self, token: str) -> int:
        return self.tokens.index(token)


def write_vocab(writer: GGUFWriter, vocab: Vocab) -> None:
    """Write `tokenizer.*` keys."""
    t = "tokenizer.ggml."
    writer.add_string(t + "model", "gemma4")
    writer.add_array(t + "tokens", [token.encode() for token in vocab.tokens])
    writer.add_array(t + "scores", [-1000.0] * len(vocab.tokens))  # unused by byte-pair encoding
    writer.add_array(t + "token_type", [int(kind) for kind in vocab.types])
    writer.add_array(t + "merges", [f"{left} {right}".encode() for left, right in vocab.merges])
    names = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id",
             "pad": "padding_token_id", "mask": "mask_token_id"}  # fmt: skip
    for role, key in names.items():
        if role in vocab.special:
            writer.add_uint32(t + key, vocab.special[role])
    if vocab.chat_template:
        writer.add_string("tokenizer.chat_template", vocab.chat_template)
    writer.add_bool(t + "add_space_prefix", False)
    writer.add_bool(t + "add_bos_token", True)
    if vocab.suppress:
        writer.add_array(t + "suppress_tokens", vocab.suppress)


def synthetic_vocab(size: int) -> Vocab:
    """A valid vocabulary of `size` tokens whose special tokens have Gemma 4's ids where they fit."""
    if size < 400:
        raise VocabError(f"a vocabulary needs at least 400 tokens, not {size}")
    tokens: list[str | None] = [None] * size
    types = [int(TokenType.NORMAL)] * size
    low: list[str] = []
    for name, index in REAL_IDS.items():
        if index < size:
            tokens[index] = name
        else:
            low.append(name)
    free = _free_ids(tokens, full=size > 10_000)

    def place(token: str, kind: TokenType = TokenType.NORMAL) -> None:
        index = next(free)
        tokens[index] = token
        types[index] = int(kind)

    for name in low:
        place(name)
    for name, index in ((t, i) for i, t in enumerate(tokens) if t in REAL_IDS):
        special = TokenType.UNKNOWN if name == "<unk>" else TokenType.CONTROL
        types[index] = int(TokenType.USER_DEFINED if name in VISIBLE_TOKENS else special)
    merges: list[tuple[str, str]] = []
    for run in range(1, (_NEWLINE_RUNS if size > 10_000 else 3) + 1):
        place("\n" * run)
        merges += [("\n" * (run - 1), "\n")] if run > 1 else []
    for byte in range(256):
        place(f"<0x{byte:02X}>", TokenType.BYTE)
    letters = SPACE + string.ascii_lowercase
    alphabet = letters + "".join(c for c in string.printable[:94] if c not in letters)
    for char in alphabet:
        place(char)
    for left, right in _merge_plan(letters, alphabet, full=size > 10_000):
        try:
            place(left + right)
        except StopIteration:
            break
        merges.append((left, right))
    special_ids = {role: tokens.index(f"<{role}>") for role in ("bos", "eos", "unk", "pad", "mask")}
    return Vocab([t or "" for t in tokens], types, merges, special_ids, CHAT_TEMPLATE)


def _free_ids(tokens: list[str | None], full: bool) -> Iterator[int]:
    """Ids still without a token; in a full vocabulary the first hundred are named or unused."""
    for index in range(len(tokens)):
        if tokens[index] is None:
            if full and index < 105:
                tokens[index] = f"<unused{index}>"
                continue
            yield index


def _merge_plan(letters: str, alphabet: str, full: bool) -> Iterator[tuple[str, str]]:
    """Pairs, then triples built on them, then (large vocabularies only) quadruples."""
    pairs = [(a, b) for a in letters for b in letters if b != SPACE]
    yield from pairs
    if full:
        seen = set(pairs)
        extra = [(a, b) for a in alphabet for b in alphabet if b != SPACE and (a, b) not in seen]
        yield from extra
        pairs += extra
    triples = [(a + b, c) for a, b in pairs for c in alphabet if c != SPACE]
    yield from triples
    for left, right in triples:
        for char in letters[1:]:
            yield left + right, char


def to_tokenizer_json(vocab: Vocab) -> dict[str, Any]:
    """The same vocabulary as a Hugging Face `tokenizer.json`."""
    named = {int(TokenType.CONTROL), int(TokenType.UNKNOWN), int(TokenType.USER_DEFINED)}
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != int(TokenType.USER_DEFINED),
        }
        for i, (token, kind) in enumerate(zip(vocab.tokens, vocab.types, strict=True))
        if kind in named
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(vocab.tokens)},
            "merges": [[left, right] for left, right in vocab.merges],
        },
    }


def from_checkpoint(directory: Path) -> Vocab:
    """Read `tokenizer.json`, `tokenizer_config.json` and the chat template of a checkpoint directory."""
    data = _read_json(directory / "tokenizer.json")
    settings = _read_json(directory / "tokenizer_config.json", optional=True)
    model = data.get("model", {})
    if model.get("type") != "BPE":
        raise VocabError(f"tokenizer.json: a byte-pair (BPE) model is needed, found {model.get('type')!r}")
    by_id: dict[int, str] = {index: token for token, index in model["vocab"].items()}
    added = {entry["id"]: entry for entry in data.get("added_tokens", [])}
    by_id.update({index: entry["content"] for index, entry in added.items()})
    if sorted(by_id) != list(range(len(by_id))):
        raise VocabError("tokenizer.json: token ids are not contiguous from 0")
    tokens = [by_id[i] for i in range(len(by_id))]
    special = _special_ids(tokens, settings)
    types = [_token_type(i, token, added.get(i), special) for i, token in enumerate(tokens)]
    generation = _read_json(directory / "generation_config.json", optional=True)
    return Vocab(
        tokens,
        types,
        merges=[_merge(entry) for entry in model.get("merges", [])],
        special=special,
        chat_template=_chat_template(directory, settings),
        suppress=generation.get("suppress_tokens") or [],
    )


def _token_type(index: int, token: str, added: dict[str, Any] | None, special: dict[str, int]) -> int:
    if token in VISIBLE_TOKENS:
        return int(TokenType.USER_DEFINED)
    if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
        return int(TokenType.BYTE)
    if index in special.values() or (added is not None and added.get("special")):
        return int(TokenType.CONTROL)
    return int(TokenType.NORMAL if added is None else TokenType.USER_DEFINED)


def _special_ids(tokens: list[str], settings: dict[str, Any]) -> dict[str, int]:
    """Roles from `tokenizer_config.json`, else the token with the usual name."""
    index = {token: i for i, token in enumerate(tokens)}
    found: dict[str, int] = {}
    for role in ("bos", "eos", "unk", "pad", "mask"):
        value = settings.get(f"{role}_token") or f"<{role}>"
        text = value["content"] if isinstance(value, dict) else value
        if text in index:
            found[role] = index[text]
    return found


def _merge(entry: str | list[str]) -> tuple[str, str]:
    parts = entry.split(" ") if isinstance(entry, str) else entry
    if len(parts) != 2 or any(" " in part for part in parts):
        raise VocabError(f"tokenizer.json: merge {entry!r} is not a pair of tokens without spaces")
    return parts[0], parts[1]


def _chat_template(directory: Path, settings: dict[str, Any]) -> str | None:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    legacy = _read_json(directory / "chat_template.json", optional=True).get("chat_template")
    template = legacy or settings.get("chat_template")
    return template if isinstance(template, str) else None


def _read_json(path: Path, optional: bool = False) -> dict[str, Any]:
    if not path.is_file():
        if optional:
            return {}
        raise VocabError(f"{path.name} is missing")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VocabError(f"{path.name}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise VocabError(f"{path.name}: an object is expected at the top")
    return value
