#!/usr/bin/env python3
"""Export a `transformers` Gemma 4 checkpoint to a pair of GGUF files, as public Gemma 4 files are.

    python scripts/export_gguf.py runs/demo/checkpoint --out models --name demo --text-type q8_0

writes `models/demo.gguf` (text model and tokenizer) and `models/mmproj-demo.gguf` (audio encoder and
projector). The directory holds `config.json`, `model.safetensors` (or shards with an index), `tokenizer.json`
and, where there are, `tokenizer_config.json`, `chat_template.jinja` and `generation_config.json`. Vision
weights are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from gguf_format import (
    MMPROJ_ARCH,
    TEXT_ARCH,
    TYPES,
    PlannedTensor,
    TensorSpec,
    encode,
    encoded_blocks,
    storage_type,
    write_file,
    write_mmproj_keys,
    write_text_keys,
    write_vocab,
)
from gguf_format.checkpoint import Checkpoint, CheckpointError
from gguf_format.vocab import VocabError, from_checkpoint


def export_pair(directory: Path, out: Path, text_type: str, mmproj_type: str, name: str) -> tuple[Path, Path]:
    """Write both files into `out` and return their paths. Raises `CheckpointError` or `VocabError`."""
    checkpoint = Checkpoint(directory)
    vocab = from_checkpoint(directory)
    text = checkpoint.text_shape(len(vocab.tokens))
    if not text.llamacpp_runs:
        print(
            "export_gguf: warning: llama.cpp will abort on this model: the last two layers that own K/V "
            "must be sliding, then global",
            file=sys.stderr,
        )
    audio = checkpoint.audio_shape()

    text_tensors = list(_plan(checkpoint, text.tensors(), text_type, text.rope_freqs()))
    mmproj_tensors = list(_plan(checkpoint, audio.tensors(), mmproj_type, []))

    text_path, mmproj_path = out / f"{name}.gguf", out / f"mmproj-{name}.gguf"
    writer = GGUFWriter(None, TEXT_ARCH)
    write_text_keys(writer, text, name, text_type)
    write_vocab(writer, vocab)
    write_file(text_path, writer, text_tensors)

    writer = GGUFWriter(None, MMPROJ_ARCH)
    write_mmproj_keys(writer, audio, None, name, mmproj_type)
    write_file(mmproj_path, writer, mmproj_tensors)
    return text_path, mmproj_path


def _plan(
    checkpoint: Checkpoint, specs: Iterator[TensorSpec], file_type: str, freqs: list[float]
) -> Iterator[PlannedTensor]:
    """Look every tensor up, so that what is missing is known before a byte is written."""
    for spec in specs:
        qtype = storage_type(spec, file_type)
        if spec.kind == "freqs":
            factors = encode(np.asarray(freqs, dtype=np.float32), qtype)
            yield PlannedTensor(spec, qtype, partial(list, [factors]))
        else:
            values = checkpoint.tensor(spec)
            yield PlannedTensor(spec, qtype, partial(encoded_blocks, values, qtype))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint directory")
    parser.add_argument("--out", type=Path, required=True, help="directory for the two files")
    parser.add_argument("--text-type", choices=sorted(TYPES), default="q8_0")
    parser.add_argument("--mmproj-type", choices=sorted(TYPES), default="bf16")
    parser.add_argument("--name", help="stem of the file names (default: the directory's name)")
    args = parser.parse_args(argv)
    name = args.name or args.checkpoint.resolve().name
    try:
        paths = export_pair(args.checkpoint, args.out, args.text_type, args.mmproj_type, name)
    except (CheckpointError, VocabError, OSError) as error:
        print(f"export_gguf: {args.checkpoint}: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"export_gguf: {args.checkpoint}: config.json has no {error}", file=sys.stderr)
        return 1
    for path in paths:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
