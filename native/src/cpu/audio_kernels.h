// Loops of the audio encoder for x86 CPUs with AVX2, chosen at run time.
//
// Why not ggml's: each step of the conformer (norm, clamp, product, clamp, SiLU, add) is a pass over memory of its own
// there, and its F16 products round the activations. Here weights are packed as they are read, in blocks that all tokens
// share, so that products run near the machine's peak, and what surrounds a product is done on the values while they are
// at hand. Products are f32 throughout, but for BF16 weights on processors that multiply BF16: those take activations in
// BF16 too, which is how the models were trained and twice as fast.
//
// Every function works on a range of its rows or panels, so that threads can share one call.
#pragma once

#include "ggml.h"

#include <cstddef>
#include <cstdint>
#include <limits>

namespace ga {

// Rows of f32 in memory: row r starts at data + (r / group) * group_stride + (r % group) * stride (in floats).
struct RowsIn {
    const float * data = nullptr;
    int64_t n = 0;
    int64_t stride = 0;
    int64_t group = INT64_MAX;
    int64_t group_stride = 0;
};

// out = after(clamp(x weight + bias)), where after is nothing or a second clamp of SiLU.
struct MatmulArgs {
    static constexpr int max_weights = 3;

    // x times several weights side by side is summed: row r of weight i meets x.data + x_offset[i].
    int n_weights = 1;
    const void * weight[max_weights] = {}; // [n_in, n_out] each
    int64_t x_offset[max_weights] = {};    // in floats
    ggml_type type = GGML_TYPE_F32;        // F32, F16 or BF16
    int64_t n_in = 0;
    int64_t n_out = 0;
    RowsIn x;
    const void * x_bf16 = nullptr; // of matmul_bf16, instead of x.data; rows of an even stride, zeros beyond n_in
    float * out = nullptr;         // [x.n][n_out]
    const float * bias = nullptr;
    float min = -std::numeric_limits<float>::infinity(), max = std::numeric_limits<float>::infinity();
    bool silu = false;
    float silu_min = -std::numeric_limits<float>::infinity(), silu_max = std::numeric_limits<float>::infinity();
};

// A row of queries with the (up to 12) keys and values it sees.
struct AttentionArgs {
    int64_t n_head = 0;
    int64_t head_dim = 0;
    const float * q_scale = nullptr;  // [head_dim]
    const float * rel_keys = nullptr; // [n_head][window][head_dim], distances window - 1 ... 0; may be null
    float k_scale = 1.0f;
    float soft_cap = 1.0f;
    int window = 0;
    float min = 0.0f, max = 0.0f; // clamp of the result
};

struct AudioKernels {
    // Ranges are in panels: outputs that are computed together.
    int panel;
    void (*matmul)(const MatmulArgs & args, int64_t first_panel, int64_t n_panels);
    // Of one BF16 matrix and rows in BF16; null where the processor has no such product.
    int panel_bf16;
    void (*matmul_bf16)(const MatmulArgs & args, int64_t first_panel, int64_t n_panels);
    void (*round_bf16)(const float * x, int64_t n, uint16_t * out);
    // out = clamp(RMS(x) * weight); weight may be null.
    void (*rms_norm)(const float * x, const float * weight, float eps, float min, float max, int64_t n, float * out);
    // out = x + scale * RMS(h) * weight; without a weight, x + scale * h.
    void (*add_rms_norm)(const float * x, const float * h, const float * weight, float eps, float scale, int64_t n,
                         float * out);
    // out = first half * sigmoid(second half); n: of out
    void (*glu)(const float * h, int64_t n, float * out);
    // out = clamp(SiLU(RMS(sum of rows[tap] * kernel[tap]) * weight)); without a weight no RMS. kernel: [n_taps][n]
    void (*conv_norm_silu)(const float * const * rows, int n_taps, const float * kernel, const float * weight,
                           float eps, float min, float max, int64_t n, float * out);
    // keys, values: the last n_keys of the window, oldest first; each [n_head * head_dim]
    void (*attention)(const AttentionArgs & args, const float * q, const float * const * keys,
                      const float * const * values, int n_keys, float * out);
    // One row of the first convolution: n_positions outputs of n_channels from patches of 9; LayerNorm over channels with a
    // weight (null: none), ReLU. kernel: [9][n_channels]. Patch p, tap (time t, mel m) is frames[t][2 p - 1 + m], frames null: 0.
    void (*conv0)(const float * const * frames, int64_t n_positions, const float * kernel, const float * weight,
                  float eps, int64_t n_channels, float * out);
    // out = ReLU(LayerNorm(x) * weight); without a weight ReLU alone. May be in place.
    void (*layer_norm_relu)(const float * x, const float * weight, float eps, int64_t n, float * out);
};

// The best for this machine, or null where there is none: then ggml's own operations are used.
const AudioKernels * audio_kernels();

} // namespace ga
