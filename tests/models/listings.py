"""The public repositories of Gemma 4 with sound, as they were in autumn 2026: names of files and their sizes.

Sizes are bytes; those that end in 000 are rounded, from sources that gave them in GB. Names that no source
gave in full are made as their uploader makes names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from gemma_audio_cli.models.hub import Listing, RemoteFile

GOOGLE_E2B, GOOGLE_E4B, GOOGLE_12B = (
    f"google/gemma-4-{size}-it-qat-q4_0-gguf" for size in ("E2B", "E4B", "12B")
)
GGML_E2B, GGML_E4B, GGML_12B = (f"ggml-org/gemma-4-{size}-it-GGUF" for size in ("E2B", "E4B", "12B"))
UNSLOTH_E2B, UNSLOTH_E4B, UNSLOTH_12B = (f"unsloth/gemma-4-{size}-it-GGUF" for size in ("E2B", "E4B", "12b"))
QAT_E2B, QAT_E4B, QAT_12B = (f"unsloth/gemma-4-{size}-it-qat-GGUF" for size in ("E2B", "E4B", "12B"))
BARTOWSKI_E2B = "bartowski/google_gemma-4-E2B-it-GGUF"
LMSTUDIO_E4B = "lmstudio-community/gemma-4-E4B-it-GGUF"

PUBLIC: dict[str, dict[str, int]] = {
    GOOGLE_E2B: {
        "README.md": 20_000,
        "gemma-4-E2B_q4_0-it.gguf": 3_349_516_256,
        "gemma-4-E2B-it-mmproj.gguf": 986_833_664,
    },
    GOOGLE_E4B: {
        "gemma-4-E4B_q4_0-it.gguf": 5_154_941_280,
        "gemma-4-E4B-it-mmproj.gguf": 991_552_256,
    },
    GOOGLE_12B: {
        "gemma-4-12b-it-qat-q4_0.gguf": 6_975_877_728,
        "mmproj-gemma-4-12b-it-qat-q4_0.gguf": 175_000_000,
    },
    GGML_E2B: {
        "gemma-4-E2B-it-Q4_0.gguf": 2_841_481_184,
        "gemma-4-E2B-it-Q8_0.gguf": 4_967_497_152,
        "mmproj-gemma-4-E2B-it-Q8_0.gguf": 557_368_064,
        "mtp-gemma-4-E2B-it-Q4_0.gguf": 59_235_872,
    },
    GGML_E4B: {
        "gemma-4-E4B-it-Q4_0.gguf": 4_590_807_392,
        "gemma-4-E4B-it-Q8_0.gguf": 8_031_240_160,
        "mmproj-gemma-4-E4B-it-Q8_0.gguf": 559_833_000,
        "mtp-gemma-4-E4B-it-Q4_0.gguf": 70_000_000,
    },
    GGML_12B: {
        "gemma-4-12B-it-Q4_0.gguf": 6_975_878_176,
        "mmproj-gemma-4-12B-it-Q8_0.gguf": 151_000_000,
        "mtp-gemma-4-12B-it-Q4_0.gguf": 253_708_960,
        "dflash-gemma-4-12B-it-Q8_0.gguf": 500_000_000,
    },
    UNSLOTH_E2B: {
        "BF16/gemma-4-E2B-it-BF16-00001-of-00002.gguf": 5_000_000_000,
        "BF16/gemma-4-E2B-it-BF16-00002-of-00002.gguf": 4_300_000_000,
        "gemma-4-E2B-it-IQ4_XS.gguf": 2_900_000_000,
        "gemma-4-E2B-it-Q4_K_M.gguf": 3_106_736_256,
        "gemma-4-E2B-it-UD-Q4_K_XL.gguf": 3_180_000_000,
        "imatrix_unsloth.gguf": 5_000_000,
        "mmproj-BF16.gguf": 986_833_856,
        "mmproj-F16.gguf": 986_833_856,
        "mmproj-F32.gguf": 1_970_000_000,
        "mtp-gemma-4-E2B-it.gguf": 97_817_664,
    },
    UNSLOTH_E4B: {
        "gemma-4-E4B-it-Q4_K_M.gguf": 4_977_169_568,
        "gemma-4-E4B-it-UD-Q4_K_XL.gguf": 5_100_000_000,
        "mmproj-BF16.gguf": 991_552_448,
    },
    QAT_E2B: {
        "gemma-4-E2B-it-qat-UD-Q4_K_XL.gguf": 2_620_000_000,
        "mmproj-BF16.gguf": 986_833_856,
        "MTP/mtp-gemma-4-E2B-it-Q8_0.gguf": 97_000_000,
    },
    QAT_E4B: {
        "gemma-4-E4B-it-qat-UD-Q4_K_XL.gguf": 4_220_000_000,
        "mmproj-BF16.gguf": 991_552_448,
        "MTP/mtp-gemma-4-E4B-it-Q8_0.gguf": 97_000_000,
    },
    QAT_12B: {
        "gemma-4-12B-it-qat-UD-Q4_K_XL.gguf": 6_720_000_000,
        "mmproj-BF16.gguf": 175_000_000,
        "MTP/mtp-gemma-4-12B-it-Q8_0.gguf": 430_000_000,
    },
    BARTOWSKI_E2B: {"google_gemma-4-E2B-it-Q4_K_M.gguf": 3_462_680_032},
    LMSTUDIO_E4B: {
        "gemma-4-E4B-it-Q4_K_M.gguf": 5_335_289_824,
        "mmproj-gemma-4-E4B-it-BF16.gguf": 991_552_448,
    },
}
"""By repository. unsloth's 12B is in no source, so it is not here."""

DRAFTERS = (
    "mtp-{}.gguf", "MTP/mtp-{}.gguf", "MTP/{}.gguf", "{}-mtp.gguf", "dflash-{}.gguf", "DFlash-{}.gguf",
    "eagle3-{}.gguf", "EAGLE3-{}.gguf", "dspark-{}.gguf", "{}-assistant.gguf", "assistant/{}.gguf",
    "{}-it-assistant-q8_0.gguf", "{}-lora.gguf", "lora-{}.gguf", "{}-LoRA-F16.GGUF", "imatrix.gguf",
    "{}.imatrix.gguf", "imatrix_{}.gguf", "draft-{}.gguf",
)  # fmt: skip
"""How those who upload drafters, adapters and statistics name them; {} is the name of the model."""


def listing(repository: str, files: Mapping[str, int], order: Sequence[str] | None = None) -> Listing:
    """As the hub would answer; `order`: its files in another order."""
    commit = hashlib.sha1(repository.encode()).hexdigest()
    return Listing(
        repository,
        commit,
        tuple(
            RemoteFile(repository, commit, name, files[name], hashlib.sha256(name.encode()).hexdigest(), None)
            for name in order or files
        ),
    )
