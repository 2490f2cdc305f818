"""Keys of the two files, as llama.cpp's converter writes them and its loaders (and ours) read them."""

from __future__ import annotations

from gguf import GGUFWriter

from .shapes import AudioShape, ConformerShape, TextShape, VisionShape
from .storage import FILE_TYPES

TEXT_ARCH = "gemma4"
MMPROJ_ARCH = "clip"

_QUANTISATION_VERSION = 2
_UNUSED_MEL_BINS = 128
_TOP_K, _TOP_P, _TEMPERATURE = 64, 0.95, 1.0
"""What Google recommends for conversations; the converter copies it from the generation settings."""


def _general(writer: GGUFWriter, kind: str, name: str, file_type: str) -> None:
    writer.add_string("general.type", kind)
    writer.add_int32("general.sampling.top_k", _TOP_K)
    writer.add_float32("general.sampling.top_p", _TOP_P)
    writer.add_float32("general.sampling.temp", _TEMPERATURE)
    writer.add_string("general.name", name)
    writer.add_uint32("general.file_type", int(FILE_TYPES[file_type]))
    writer.add_uint32("general.quantization_version", _QUANTISATION_VERSION)


def write_text_keys(writer: GGUFWriter, shape: TextShape, name: str, file_type: str) -> None:
    """Hyper-parameters of the text model (`gemma4.*`)."""
    _general(writer, "model", name, file_type)
    u32, f32 = writer.add_uint32, writer.add_float32
    p = TEXT_ARCH + "."
    u32(p + "block_count", shape.layers)
    u32(p + "context_length", shape.context)
    u32(p + "embedding_length", shape.width)
    if shape.double_wide:
        writer.add_array(p + "feed_forward_length", [shape.layer_ffn(i) for i in range(shape.layers)])
    else:
        u32(p + "feed_forward_length", shape.ffn)
    u32(p + "attention.head_count", shape.heads)
    if shape.global_kv_heads is not None:
        writer.add_array(
            p + "attention.head_count_kv", [shape.layer_kv_heads(i) for i in range(shape.layers)]
        )
    else:
        u32(p + "attention.head_count_kv", shape.kv_heads)
    f32(p + "rope.freq_base", shape.theta)
    f32(p + "rope.freq_base_swa", shape.theta_sliding)
    # Whole heads "rotate"; `rope_freqs` slows the unrotated dimensions of global layers to a standstill.
    u32(p + "rope.dimension_count", shape.global_head_dim)
    u32(p + "rope.dimension_count_swa", shape.head_dim)
    f32(p + "attention.layer_norm_rms_epsilon", shape.eps)
    u32(p + "attention.key_length", shape.global_head_dim)
    u32(p + "attention.value_length", shape.global_head_dim)
    u32(p + "attention.key_length_swa", shape.head_dim)
    u32(p + "attention.value_length_swa", shape.head_dim)
    u32(p + "attention.sliding_window", shape.window)
    writer.add_array(p + "attention.sliding_window_pattern", list(shape.sliding))
    u32(p + "attention.shared_kv_layers", shape.shared)
    u32(p + "embedding_length_per_layer_input", shape.ple)
    # 0 = none; written anyway, because llama.cpp takes a missing key for 30.
    f32(p + "final_logit_softcapping", shape.softcap or 0.0)


def write_mmproj_keys(
    writer: GGUFWriter, audio: AudioShape, vision: VisionShape | None, name: str, file_type: str
) -> None:
    """Hyper-parameters of the multimodal file (`clip.*`): audio, and vision where there is any."""
    _general(writer, "mmproj", name, file_type)
    u32, f32 = writer.add_uint32, writer.add_float32
    if vision is not None:
        p = "clip.vision."
        writer.add_bool("clip.has_vision_encoder", True)
        writer.add_string(p + "projector_type", vision.projector)
        u32(p + "projection_dim", vision.text_width)
        u32(p + "image_size", 224)
        u32(p + "patch_size", vision.patch)
        u32(p + "embedding_length", vision.width)
        u32(p + "feed_forward_length", vision.ffn)
        u32(p + "block_count", vision.layers)
        u32(p + "attention.head_count", vision.heads)
        f32(p + "attention.layer_norm_epsilon", vision.eps)
        writer.add_array(p + "image_mean", [0.0, 0.0, 0.0])
        writer.add_array(p + "image_std", [1.0, 1.0, 1.0])
    p = "clip.audio."
    # Encoder-free audio has no layers: its files say 0 for what does not exist, and the frame for the width.
    width, ffn, layers, heads, mel_bins = (
        (audio.width, audio.ffn, audio.layers, audio.heads, audio.mel_bins)
        if isinstance(audio, ConformerShape)
        else (audio.frame, 0, 0, 0, _UNUSED_MEL_BINS)
    )
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string(p + "projector_type", audio.projector)
    u32(p + "projection_dim", audio.text_width)
    u32(p + "embedding_length", width)
    u32(p + "feed_forward_length", ffn)
    u32(p + "block_count", layers)
    u32(p + "attention.head_count", heads)
    u32(p + "num_mel_bins", mel_bins)
    f32(p + "attention.layer_norm_epsilon", audio.eps)
