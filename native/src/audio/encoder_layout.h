// Where each clip's rows stand in the tensors of an encoder graph; see encoder_graph.h.
#pragma once

#include "audio/audio_encoder.h"

#include <array>
#include <vector>

namespace ga {

constexpr int64_t kPast = AudioModel::attn_window - 1;   // tokens attention looks back: 11
constexpr int64_t kConvPast = AudioModel::conv_taps - 1; // tokens the depthwise convolution looks back: 4
constexpr int64_t kPastRows = 2 * kPast + kConvPast;     // rows of a layer in EncoderState: K, V, GLU

inline int64_t ceil_half(int64_t n) {
    return (n + 1) / 2;
}

// One clip's new tokens in tensors that hold those of several.
struct RowRun {
    int64_t first = 0; // row of the first
    int64_t n = 0;
    int64_t age = 0; // tokens of the clip before it
};

// Rows of the first convolution: the three frames each stands on, null where there is none.
using FrameRows = std::vector<std::array<const float *, 3>>;

// N tokens of one clip, from `first` on, with the frames they need.
struct EncoderPart {
    EncoderPiece * piece = nullptr;
    const float * frames = nullptr; // [n_frames][frame_width]
    int64_t first_frame = 0;        // number in the clip of the first of them
    int64_t n_frames = 0;
    bool end = false; // the clip ends after these frames
    int64_t first = 0;
    int64_t n = 0;
};

// Where the rows of each part stand in the tensors of a graph.
struct EncoderLayout {
    int64_t n_parts = 0;
    int64_t n_rows = 0;   // N
    int64_t n_slots = 0;  // S: outputs of the second convolution; between two parts stands one that belongs to none
    int64_t block = 0;    // queries of an attention block
    int64_t n_keys = 0;   // its keys: block + 11
    int64_t n_blocks = 0; // B, of all parts

    std::vector<int32_t> slot_rows;  // [N]: slot of each token
    std::vector<int32_t> query_rows; // [B block]: row of each query (0 where a block is not full)
    std::vector<int32_t> key_rows;   // [B n_keys]: row in (past K or V of all parts, new rows)
    std::vector<int32_t> out_rows;   // [N]: place of each token among the queries of all blocks
    std::vector<float> mask;         // [B][block][n_keys]: 0 or -infinity
    std::vector<int32_t>
        conv_rows;                 // [N + 4 parts]: (past, new) rows of each part, in (past GLU of all parts, new rows)
    std::vector<int32_t> conv_out; // [N]: place of each token among the outputs of the depthwise convolution
    std::vector<int32_t> keep_kv;  // [11 parts]: rows to carry on
    std::vector<int32_t> keep_conv; // [4 parts]
};

EncoderLayout make_layout(const std::vector<EncoderPart> & parts);

// The frames under each row of the first convolution, 2S+2 of them (2S+1 are used; one more because ggml measures overlapping
// views as if they did not). A part of n tokens has 2n+1, the first of them shared with the token before. Rows before the clip's
// start and after its end have none: convolution, LayerNorm and ReLU leave the zeros that the second convolution pads with.
FrameRows frame_rows(const std::vector<EncoderPart> & parts, const EncoderLayout & layout, int64_t n_mel);

// The same as 3x3 patches for a matrix product, [2S+2][65][9 (time, mel)]. Position 0 of each row is the zero padding of the
// second convolution.
std::vector<float> mel_patches(const FrameRows & rows, int64_t n_mel);

// Past rows of all layers and parts as one graph input: per layer K of each part, V of each part, GLU of each part.
std::vector<float> gather_past(const std::vector<EncoderPart> & parts, int64_t n_layer, int64_t width);

std::vector<RowRun> row_runs(const std::vector<EncoderPart> & parts);

} // namespace ga
