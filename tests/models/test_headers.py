"""Our reader of GGUF headers: as the gguf package's, and never anything but one line about a damaged file."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from gguf import GGUFReader, GGUFValueType

from gemma_audio_cli.errors import ModelError
from gemma_audio_cli.models.gguf_header import architecture, read_header

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *sorted((ROOT / "tests" / "goldens").glob("*.gguf")),
    *sorted((ROOT / "gemma_audio_cli" / "demo").glob("*.gguf")),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_reads_what_the_gguf_package_reads(path):
    ours, theirs = read_header(path), GGUFReader(path)
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        mine = ours.tensors[tensor.name]
        assert mine.shape == tuple(int(n) for n in tensor.shape)
        assert (mine.type, mine.offset, mine.n_bytes) == (
            tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes,
        )  # fmt: skip
        assert mine.elements == tensor.n_elements
    for name, field in theirs.fields.items():
        if name.startswith("GGUF."):
            continue
        if field.types[0] == GGUFValueType.ARRAY:
            assert ours.lengths[name] == len(field.data)
            if name in ours.values:
                assert list(ours.values[name]) == field.contents()
        else:
            assert ours.values[name] == field.contents()
    assert architecture(path) == ours.text("general.architecture")


def refused(path: Path) -> str | None:
    """What is said about a file; None where it reads."""
    said = None
    try:
        read_header(path)
    except ModelError as error:
        said = str(error)
    assert said is None or (said.startswith(str(path)) and "\n" not in said)
    return said


def test_every_truncation_is_reported(tiny_model, tmp_path):
    data, path = tiny_model.mmproj.read_bytes(), tmp_path / "cut.gguf"
    header = min(tensor.offset for tensor in read_header(tiny_model.mmproj).tensors.values())
    for n in [*range(0, header, 211), *range(header, len(data) - 32, 40_009)]:
        path.write_bytes(data[:n])
        said = refused(path)
        assert said, n
        assert "GGUF" in said or "truncated" in said


def test_damage_is_reported_or_harmless(tiny_model, tmp_path):
    """Bytes of the header turned over: an error of ours, or values that still lie within the file."""
    data, path = tiny_model.text.read_bytes(), tmp_path / "damaged.gguf"
    end = min(tensor.offset for tensor in read_header(tiny_model.text).tensors.values())
    dice = random.Random(5)
    reported = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 1, 4))):
            damaged[dice.randrange(end)] = dice.randrange(256)
        path.write_bytes(damaged)
        if refused(path):
            reported += 1
        else:
            for tensor in read_header(path).tensors.values():
                assert 0 <= tensor.offset <= tensor.offset + tensor.n_bytes <= len(data)
    assert reported > 20


def key(name: str) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode()


@pytest.mark.parametrize(
    "body",
    [
        key("a") + struct.pack("<I", 99),
        key("a") + struct.pack("<IIQ", 9, 8, 2**62),
        key("a") + struct.pack("<IIQ", 9, 10, 2**62),
        key("a") + struct.pack("<IIQ", 9, 9, 1),
        struct.pack("<Q", 2**63),
        key("general.alignment") + struct.pack("<II", 4, 24),
        key("general.alignment") + struct.pack("<II", 4, 0),
        b"",
    ],
)
def test_lies_are_reported_at_once(tmp_path, body):
    path = tmp_path / "lies.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + body)
    assert refused(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + body)
    assert refused(path)


def test_no_file_and_a_folder(tmp_path):
    assert "No such file" in (refused(tmp_path / "none.gguf") or "")
    assert refused(tmp_path)


def test_names_in_files_are_hostile(tmp_path):
    name = "a\x1b[31m\nb"
    body = struct.pack("<Q", len(name)) + name.encode() + struct.pack("<IQIQ", 1, 10**12, 0, 0)
    path = tmp_path / "evil.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + body)
    said = refused(path)
    assert said
    assert said.isprintable()
