"""What `gemma-audio models` prints: tables of models, facts about files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma_audio_cli.formatting import byte_size

if TYPE_CHECKING:
    from gemma_audio_cli.models.appraisal import Worth
    from gemma_audio_cli.models.inspect import AudioFacts, Report, TextFacts, TypeShare
    from gemma_audio_cli.models.plan import Plan


def pull_line(wanted: Plan) -> str:
    """What a pull is about to do."""
    from gemma_audio_cli.models.pull import missing_bytes

    parts = [f"{file.name} ({byte_size(file.size)})" for file in wanted.text]
    projector = f"{wanted.mmproj.name} ({byte_size(wanted.mmproj.size)})"
    if wanted.mmproj.repository != wanted.repository:
        projector += f" of {wanted.mmproj.repository}"
    left = missing_bytes(wanted.files)
    coming = f"{byte_size(left)} to come" if left else "all here, checking"
    return f"{wanted.repository}: {', '.join((projector, *parts))}; {coming}"


def list_values() -> dict[str, Any]:
    """Everything `models list` knows, as plain values."""
    from gemma_audio_cli import config
    from gemma_audio_cli.memory import memory
    from gemma_audio_cli.models import store, worth
    from gemma_audio_cli.models.catalogue import catalogue

    total = memory().total

    def fits(need: int) -> bool | None:
        return None if total is None else need <= total

    pulled = [
        {
            "model": str(model.spec),
            "repository": model.repository,
            "bytes": model.bytes,
            "memory": store.needed_memory(model),
            "fits": fits(store.needed_memory(model)),
            "text": str(model.text),
            "mmproj": str(model.mmproj),
        }
        for model in store.pulled_models()
    ]
    known = [
        {
            "alias": model.alias,
            "name": model.name,
            "about": model.about,
            "licence": model.licence,
            "repositories": list(model.repositories),
            "unfinished_bytes": sum(map(store.unfinished, model.repositories)),
            "types": [
                {
                    "type": file.quantisation,
                    "bytes": file.bytes + model.projector_bytes,
                    "memory": file.memory,
                    "fits": fits(file.memory),
                    "trouble": worth.trouble(file.quantisation),
                }
                for file in model.files
            ],
        }
        for model in catalogue()
    ]
    best = store.best()
    configured = config.load().model
    return {
        "memory": total,
        "default": configured or (str(best.spec) if best else "demo"),
        "configured": configured is not None,
        "pulled": pulled,
        "catalogue": known,
        "folder": str(store.cache_folder()),
    }


def list_lines(values: dict[str, Any]) -> list[str]:
    """`list_values` as tables."""

    def verdict(fits: bool | None) -> str:
        return "" if fits is None else "" if fits else "too large for this machine"

    lines = ["Installed:", ""]
    rows: list[tuple[str, ...]] = [("demo", "", "", "inside the package: digits and a few commands")]
    for model in values["pulled"]:
        where = "" if "/" in model["model"] else model["repository"]
        sizes = map(byte_size, (model["bytes"], model["memory"]))
        rows.append((model["model"], *sizes, where, verdict(model["fits"])))
    lines += _table([("model", "on disk", "memory", ""), *rows])
    lines += ["", "Available (gemma-audio models pull MODEL; sizes are approximate):", ""]
    rows = [("model", "to load", "memory", "", "")]
    for model in values["catalogue"]:
        for i, kind in enumerate(model["types"]):
            name = f"{model['alias']}:{kind['type']}"
            odd = "cut short in public tests" if kind["trouble"] else ""
            about = f"{model['name']}: {model['about']}" if i == 0 else odd
            sizes = map(byte_size, (kind["bytes"], kind["memory"]))
            rows.append((name, *sizes, about, verdict(kind["fits"])))
    lines += _table(rows)
    for model in values["catalogue"]:
        if model["unfinished_bytes"]:
            came = byte_size(model["unfinished_bytes"])
            lines += [
                "",
                f"{model['alias']}: {came} came before a pull was interrupted; the same pull goes on",
            ]
    memory = f"{byte_size(values['memory'])} of memory" if values["memory"] else "memory not known"
    how = "by the settings" if values["configured"] else "the best that is here"
    lines += ["", f"Without -m: {values['default']} ({how}). {memory}. Models lie in {values['folder']}."]
    return lines


def show_lines(report: Report) -> list[str]:
    """A report as a page."""
    lines = [f"{path}  {byte_size(count)}" for path, count in report.files]
    if report.text:
        lines += ["", *_pairs("text model", _text_pairs(report.text))]
    if report.audio:
        lines += ["", *_pairs("audio", _audio_pairs(report.audio))]
    if report.worth:
        lines += ["", *_pairs("worth", _worth_pairs(report.worth))]
    lines.append("")
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"problem: {problem}" for problem in report.problems]
    if not report.problems:
        lines.append("The two files fit together, and this program runs them.")
    return lines


def word_time_notes(files: Sequence[Path]) -> list[str]:
    """What is known of how well word times of this model are; nothing before they were first asked for."""
    from gemma_audio_cli.pipeline.head_cache import kept_heads

    known, heads = kept_heads(files)
    if not known:
        return []
    if heads is None:
        return ["word times are estimated from the text: no attention head of this model follows speech"]
    places = ", ".join(f"{layer}:{head}" for layer, head in heads.places)
    return [
        f"word times come from the attention heads (layer:head) {places}, {round(heads.error * 1000)} ms off "
        "on average in the speech that they were chosen on"
    ]


def _text_pairs(facts: TextFacts) -> Iterable[tuple[str, object]]:
    yield "name", facts.name
    yield "architecture", facts.architecture
    yield "licence", facts.licence
    yield (
        "parameters",
        f"{facts.parameters / 1e9:.2f} billion" if facts.parameters > 1e8 else f"{facts.parameters:,}",
    )
    yield "types", _shares(facts.types)
    layers = facts.layers
    if facts.kv_layers is not None and facts.kv_layers != layers:
        yield "layers", f"{layers}, of which {facts.kv_layers} write keys and values"
    else:
        yield "layers", layers
    yield "width", facts.width
    yield "heads", _join(facts.heads, (facts.kv_heads, "for keys and values"))
    yield "head width", _join(facts.head_width, (facts.head_width_sliding, "on sliding layers"))
    yield "feed forward", facts.feed_forward
    yield "per layer", facts.per_layer_width
    yield "window", facts.window
    yield "context", facts.context
    yield "vocabulary", _join(facts.vocabulary, (facts.tokenizer, ""))
    yield "template", f"{facts.template_characters} characters" if facts.template_characters else "none"


def _audio_pairs(facts: AudioFacts) -> Iterable[tuple[str, object]]:
    yield "name", facts.name
    yield "projector", facts.projector
    yield "types", _shares(facts.types)
    yield "layers", facts.layers or None
    yield "width", facts.width
    yield "heads", facts.heads
    yield "output width", facts.output_width
    yield "clamps", facts.clamps or None
    if facts.unused_bytes:
        yield "not read", f"{byte_size(facts.unused_bytes)} of other tensors (vision)"


def _worth_pairs(worth: Worth) -> Iterable[tuple[str, object]]:
    qat = {True: "trained for its weight type", False: "no sign of it"}
    yield "text type", worth.text_type or "not known"
    yield "QAT", qat[worth.qat]
    yield "output matrix", f"{worth.output_type} ({worth.output_tensor})"
    yield "projector", f"{worth.projector_type or 'not known'}: {worth.projector_verdict}"
    for i, trouble in enumerate(worth.trouble or ("none",)):
        yield "known trouble" if i == 0 else "", trouble


def _shares(shares: Iterable[TypeShare]) -> str:
    return ", ".join(f"{share.type} {byte_size(share.bytes)} in {share.tensors}" for share in shares)


def _join(value: object, more: tuple[object, str]) -> str | None:
    if value is None:
        return None
    return f"{value}, {more[0]} {more[1]}".rstrip() if more[0] is not None else str(value)


def _pairs(title: str, pairs: Iterable[tuple[str, object]]) -> list[str]:
    return [title, *(f"  {name:14}{value}" for name, value in pairs if value is not None)]


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Columns as wide as they must be; sizes to the right."""
    table = [(*row, *[""] * (5 - len(row))) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(5)]
    return [
        f"  {a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:{widths[3]}}  {e}".rstrip()
        for a, b, c, d, e in table
    ]
