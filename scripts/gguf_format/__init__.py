"""The public GGUF format of Gemma 4 audio models: names, keys, types, vocabulary and checkpoint mapping.

Everything that writes model files imports from here, so that the format is stated once:
`shapes` (which tensors), `keys` (which hyper-parameters), `storage` (which types, and streaming to
disk), `vocab` (tokens, merges, chat template), `checkpoint` (from a `transformers` directory).
"""

from .keys import MMPROJ_ARCH, TEXT_ARCH, write_mmproj_keys, write_text_keys
from .shapes import (
    CLAMP_FIELDS,
    CLAMPED_LINEARS,
    AudioShape,
    ConformerShape,
    RawAudioShape,
    TensorSpec,
    TextShape,
    VisionShape,
)
from .storage import TYPES, PlannedTensor, encode, encoded_blocks, storage_type, write_file
from .vocab import CHAT_TEMPLATE, Vocab, synthetic_vocab, write_vocab

__all__ = [
    "CHAT_TEMPLATE",
    "CLAMPED_LINEARS",
    "CLAMP_FIELDS",
    "MMPROJ_ARCH",
    "TEXT_ARCH",
    "TYPES",
    "AudioShape",
    "ConformerShape",
    "PlannedTensor",
    "RawAudioShape",
    "TensorSpec",
    "TextShape",
    "VisionShape",
    "Vocab",
    "encode",
    "encoded_blocks",
    "storage_type",
    "synthetic_vocab",
    "write_file",
    "write_mmproj_keys",
    "write_text_keys",
    "write_vocab",
]
