"""What the files of a model say of themselves, what follows from it, and whether this engine runs them.

Widths are those of the tensors: keys about them are wrong in some public files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gemma_audio_cli.errors import EngineError, ModelError
from gemma_audio_cli.models.appraisal import Worth, appraise
from gemma_audio_cli.models.beside import PROJECTION as _PROJECTION
from gemma_audio_cli.models.gguf_header import Header, Tensor, read_header
from gemma_audio_cli.models.names import part_paths
from gemma_audio_cli.models.resolve import ModelPair

NOT_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")
"""Types that no file holds weights in: whole numbers, and what activations are rounded to."""


@dataclass(frozen=True)
class TypeShare:
    """How much of a file has one weight type."""

    type: str
    tensors: int
    bytes: int


@dataclass(frozen=True)
class TextFacts:
    """The text model. None: the file does not say."""

    architecture: str | None
    name: str | None
    licence: str | None
    parameters: int
    layers: int | None
    kv_layers: int | None
    """Those that write keys and values; the others read them there."""
    width: int | None
    heads: int | None
    kv_heads: int | None
    head_width: int | None
    """On global layers."""
    head_width_sliding: int | None
    feed_forward: int | None
    per_layer_width: int | None
    window: int | None
    """Positions that sliding layers see."""
    context: int | None
    vocabulary: int | None
    tokenizer: str | None
    template_characters: int | None
    types: tuple[TypeShare, ...]


@dataclass(frozen=True)
class AudioFacts:
    """The audio half of the projector file."""

    projector: str | None
    name: str | None
    layers: int
    width: int | None
    heads: int | None
    output_width: int | None
    """By the last matrix; it must be the text model's width."""
    clamps: int
    """Trained bounds of activations."""
    unused_bytes: int
    """Vision and others, which this program does not read."""
    types: tuple[TypeShare, ...]


@dataclass
class Report:
    """Facts, and what they mean."""

    files: list[tuple[Path, int]] = field(default_factory=list)
    """(path, bytes)."""
    text: TextFacts | None = None
    audio: AudioFacts | None = None
    worth: Worth | None = None
    """How well files of this kind hear, where both can be read."""
    problems: list[str] = field(default_factory=list)
    """Why this engine does not run it."""
    notes: list[str] = field(default_factory=list)


def inspect(pair: ModelPair) -> Report:
    """Reads both headers; damage becomes a problem in the report."""
    report = Report()
    parts = part_paths(pair.text)
    for path in (*parts, pair.mmproj):
        report.files.append((path, path.stat().st_size if path.exists() else 0))
    text = _headers(parts, report)
    audio = _headers([pair.mmproj], report)
    if text:
        report.text = _text_facts(text)
        _judge_text(report, report.text, text)
    if audio:
        report.audio = _audio_facts(audio[0])
        _judge_audio(report, report.audio, audio[0])
    if text and audio:
        report.worth = appraise(text, audio[0])
    takes = report.text.width if report.text else None
    gives = report.audio.output_width if report.audio else None
    if takes and gives and takes != gives:
        report.problems.append(
            f"{pair.mmproj} gives embeddings of width {gives}, {pair.text} takes {takes}: they do not belong "
            "together; get the projector of this model"
        )
    if not report.problems:
        _ask_the_engine(report, pair)
    return report


def _ask_the_engine(report: Report, pair: ModelPair) -> None:
    """What the engine says when it looks at the files as if to open them: numbers, shapes, tokens."""
    from gemma_audio_cli.engine._native import check_model

    try:
        check_model(pair.text, pair.mmproj)
    except ModelError as error:
        report.problems.append(f"{error}; get another file")
    except EngineError as error:
        report.notes.append(f"the engine could not look at the files: {error}")


def projector_problems(path: Path) -> list[str]:
    """Why this engine does not run a projector, whatever its text model; none: it may."""
    report = Report()
    audio = _headers([path], report)
    if audio:
        _judge_audio(report, _audio_facts(audio[0]), audio[0])
    return report.problems


def _headers(paths: Iterable[Path], report: Report) -> list[Header] | None:
    """The headers of a file set; None where one cannot be read."""
    try:
        return [read_header(path) for path in paths]
    except ModelError as error:
        report.problems.append(str(error))
        return None


def _tensors(headers: list[Header]) -> dict[str, Tensor]:
    return {name: tensor for header in headers for name, tensor in header.tensors.items()}


def _text_facts(headers: list[Header]) -> TextFacts:
    header, tensors = headers[0], _tensors(headers)
    arch = header.text("general.architecture")

    def number(key: str) -> int | None:
        return header.number(f"{arch}.{key}")

    layers = number("block_count")
    shared = number("attention.shared_kv_layers") or 0
    table = tensors.get("token_embd.weight")
    template = header.text("tokenizer.chat_template")
    per_layer = tensors.get("per_layer_proj_norm.weight")
    return TextFacts(
        architecture=arch,
        name=header.text("general.name"),
        licence=header.text("general.license"),
        parameters=sum(tensor.elements for tensor in tensors.values()),
        layers=layers,
        kv_layers=None if layers is None else layers - shared,
        width=table.shape[0] if table and table.shape else number("embedding_length"),
        heads=number("attention.head_count"),
        kv_heads=number("attention.head_count_kv"),
        head_width=number("attention.key_length"),
        head_width_sliding=number("attention.key_length_swa"),
        feed_forward=number("feed_forward_length"),
        per_layer_width=per_layer.shape[0] if per_layer and per_layer.shape else None,
        window=number("attention.sliding_window"),
        context=number("context_length"),
        vocabulary=header.lengths.get("tokenizer.ggml.tokens"),
        tokenizer=header.text("tokenizer.ggml.model"),
        template_characters=len(template) if template is not None else None,
        types=_shares(tensors.values()),
    )


def _audio_facts(header: Header) -> AudioFacts:
    audio = [t for t in header.tensors.values() if t.name.startswith(("a.", "mm.a."))]
    last = header.tensors.get(_PROJECTION)
    linear = header.tensors.get("a.input_projection.weight")
    numbers = [re.match(r"a\.blk\.(\d{1,4})\.", tensor.name) for tensor in audio]
    return AudioFacts(
        projector=header.text("clip.audio.projector_type") or header.text("clip.projector_type"),
        name=header.text("general.name"),
        layers=len({match[1] for match in numbers if match}),
        width=linear.shape[1] if linear and len(linear.shape) > 1 else None,
        heads=header.number("clip.audio.attention.head_count"),
        output_width=last.shape[1] if last and len(last.shape) > 1 else None,
        clamps=sum(tensor.name.endswith(("put_min", "put_max")) for tensor in audio),
        unused_bytes=sum(t.n_bytes for t in header.tensors.values()) - sum(t.n_bytes for t in audio),
        types=_shares(audio),
    )


def _shares(tensors: Iterable[Tensor]) -> tuple[TypeShare, ...]:
    found: dict[str, tuple[int, int]] = {}
    for tensor in tensors:
        count, size = found.get(tensor.type, (0, 0))
        found[tensor.type] = (count + 1, size + tensor.n_bytes)
    shares = (TypeShare(kind, count, size) for kind, (count, size) in found.items())
    return tuple(sorted(shares, key=lambda share: -share.bytes))


def _judge_text(report: Report, facts: TextFacts, headers: list[Header]) -> None:
    path, tensors = headers[0].path, _tensors(headers)
    say = report.problems.append
    if headers[0].text("general.type") == "adapter":
        say(f"{path}: it is an adapter (LoRA), which changes a model and is none; choose another model")
        return
    if facts.architecture != "gemma4":
        say(
            f"{path}: the architecture is {facts.architecture}, this engine runs gemma4; choose another model"
        )
        return
    count = headers[0].number("split.count")
    if (count or 1) != len(headers):
        say(f"{path}: it is one of {count} files, {len(headers)} are here by their names; get the others")
    total = headers[0].number("split.tensors.count")
    if total is not None and total != sum(len(header.tensors) for header in headers):
        say(f"{path}: its parts do not hold the {total} tensors they should; get them again")
    if headers[0].number("gemma4.expert_count") or any(".ffn_gate_inp." in name for name in tensors):
        say(f"{path}: it has layers of experts, which this engine does not run; choose E2B, E4B or 12B")
    table = tensors.get("token_embd.weight")
    if table is None:
        say(f"{path}: the tensor token_embd.weight is missing; get the file again")
    elif len(table.shape) < 2 or (facts.vocabulary is not None and table.shape[1] != facts.vocabulary):
        say(f"{path}: the tensor token_embd.weight has not a row for each token; get the file again")
    if facts.tokenizer != "gemma4" or facts.vocabulary is None:
        say(f"{path}: its vocabulary is {facts.tokenizer}, expected gemma4; get a newer conversion")
    elif "tokenizer.ggml.merges" not in headers[0].lengths:
        say(f"{path}: tokenizer.ggml.merges is missing; get a newer conversion")
    _judge_types(report, path, tensors.values())
    scale = next((name for name in tensors if re.fullmatch(r"blk\..*\.scale", name)), None)
    if scale is not None:
        what = f"the tensor {scale} scales a matrix once more"
        say(f"{path}: {what}, which this engine does not do; get another file")
    if facts.template_characters is None:
        report.notes.append("the file has no chat template; Gemma 4's usual turns are used")


def _judge_audio(report: Report, facts: AudioFacts, header: Header) -> None:
    path, say = header.path, report.problems.append
    arch = header.text("general.architecture")
    if arch != "clip":
        say(f"{path}: the architecture is {arch}, a projector's is clip; name the projector with --mmproj")
        return
    if facts.projector not in ("gemma4a", "gemma4ua"):
        say(
            f"{path}: its projector is {facts.projector or 'not for sound'}, this engine runs gemma4a and "
            "gemma4ua; get the projector of a model that hears"
        )
        return
    if facts.output_width is None:
        say(f"{path}: the tensor {_PROJECTION} is missing or no matrix; get the file again")
    if facts.projector == "gemma4a" and not facts.layers:
        say(f"{path}: the audio encoder's layers are missing; get the file again")
    if facts.projector == "gemma4a" and facts.layers and not facts.clamps:
        report.notes.append("the encoder has no clamps: conversions without them hear badly")
    stated = header.number("clip.audio.projection_dim")
    if stated is not None and facts.output_width not in (None, stated):
        report.notes.append(
            f"clip.audio.projection_dim says {stated}, the tensors {facts.output_width}, which is right"
        )
    _judge_types(report, path, (t for t in header.tensors.values() if t.name.startswith(("a.", "mm.a."))))


def _judge_types(report: Report, path: Path, tensors: Iterable[Tensor]) -> None:
    wrong = next((tensor for tensor in tensors if tensor.type in NOT_WEIGHTS), None)
    if wrong is not None:
        report.problems.append(
            f"{path}: the tensor {wrong.name} has type {wrong.type}, which holds no weights; get another file"
        )
