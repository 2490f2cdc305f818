"""The public GGUF format of Gemma 4 audio models: names, keys, types, vocabulary and checkpoint mapping.

Everything that writes model files imports from here, so that the format is stated once:
`shapes` (which tensors), `keys` (which hyper-parameters), `storage` (which types, and streaming to
disk), `q6_k` (the type of tables), `vocab` (tokens, merges, chat template), `reader` (what a GGUF file
holds), `checkpoint` (from a `transformers` directory).
"""

from . import q6_k
from .keys import MMPROJ_ARCH, TEXT_ARCH, write_mmproj_keys, write_text_keys
from .reader import from_gguf
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
    "from_gguf",
    "q6_k",
    "storage_type",
    "synthetic_vocab",
    "write_file",
    "write_mmproj_keys",
    "write_text_keys",
    "write_vocab",
]
