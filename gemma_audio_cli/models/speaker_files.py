"""The two networks that tell speakers apart: where they come from, and where they lie.

Both are fixed releases: the commit and the hash are known here, so that nothing but them is ever run. Sizes
and hashes are those that public projects pin (autumn 2026); no pull from the hub itself has been tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gemma_audio_cli.errors import ModelNotFoundError
from gemma_audio_cli.formatting import byte_size
from gemma_audio_cli.models import store
from gemma_audio_cli.models.hub import RemoteFile

NAME = "speakers"
"""What they are called after `models pull`."""
SEGMENTATION, EMBEDDING = "segmentation.onnx", "embedding.onnx"
"""Their names in a folder of a person's own."""

REMOTE = (
    RemoteFile(
        "csukuangfj/sherpa-onnx-pyannote-segmentation-3-0",
        "9403a6902bb58e3d5ae8c7e77c3422de279db2e0",
        "model.onnx",
        5_992_913,
        "220ad67ca923bef2fa91f2390c786097bf305bceb5e261d4af67b38e938e1079",
        None,
    ),
    RemoteFile(
        "csukuangfj/speaker-embedding-models",
        "0743f301363dec56491a490f6d6cbc9d67f9a3bf",
        "3dspeaker_speech_campplus_sv_zh_en_16k-common_advanced.onnx",
        28_281_164,
        "aa3cfc16963a10586a9393f5035d6d6b57e98d358b347f80c2a30bf4f00ceba2",
        None,
    ),
)
"""Segmentation, then embedding."""
LICENCES = "pyannote segmentation-3.0: MIT; CAM++ of 3D-Speaker: Apache-2.0"


@dataclass(frozen=True)
class Found:
    """Both files."""

    segmentation: Path
    embedding: Path


def speaker_files(folder: str | None = None) -> Found:
    """The files in a folder of a person's own, or else those pulled. Raises ModelNotFoundError."""
    if folder is not None:
        own = Found(Path(folder).expanduser() / SEGMENTATION, Path(folder).expanduser() / EMBEDDING)
        for path in (own.segmentation, own.embedding):
            if not path.is_file():
                raise ModelNotFoundError(f"{path}: no such file; the setting speaker_models names its folder")
        return own
    places = [path_of(file) for file in REMOTE]
    if not all(path.is_file() for path in places):
        size = byte_size(sum(file.size for file in REMOTE))
        raise ModelNotFoundError(
            f"what tells speakers apart is not here; get it ({size}): gemma-audio models pull {NAME}"
        )
    return Found(*places)


def path_of(file: RemoteFile) -> Path:
    """Where a pulled file lies."""
    return store.repository_folder(file.repository) / "snapshots" / file.commit / file.name
