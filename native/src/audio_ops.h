// Steps of the audio encoder as graph nodes of our own, run by the loops of audio_kernels.h on the CPU.
// Each node stands for several ggml operations and one pass over memory.
#pragma once

#include "audio_kernels.h"
#include "audio_model.h"
#include "work_nodes.h"

#include <array>
#include <limits>
#include <vector>

namespace ga {

// What follows a product: bias, clamp, and perhaps SiLU and the clamp of the next product's input.
struct AfterProduct {
    ggml_tensor * bias = nullptr;
    float min = -std::numeric_limits<float>::infinity();
    float max = std::numeric_limits<float>::infinity();
    bool silu = false;
    float silu_min = -std::numeric_limits<float>::infinity();
    float silu_max = std::numeric_limits<float>::infinity();
};

// One clip's new tokens in tensors that hold those of several.
struct RowRun {
    int64_t first = 0; // row of the first
    int64_t n = 0;
    int64_t age = 0; // tokens of the clip before it
};

// Rows of the first convolution: the three frames each stands on, null where there is none.
using FrameRows = std::vector<std::array<const float *, 3>>;

class AudioOps {
  public:
    // The nodes' work is described here: the object must live until the graph has run.
    AudioOps(ggml_context * ctx, const AudioKernels & kernels, std::vector<RowRun> runs)
        : nodes_(ctx), kernels_(kernels), runs_(std::move(runs)) {}

    // F32, F16 or BF16 in plain memory.
    static bool multiplies(const ggml_tensor * weight);

    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x, const AfterProduct & after);
    // clamp(RMS(x) * weight); weight may be null
    ggml_tensor * rms_norm(ggml_tensor * x, ggml_tensor * weight, float min, float max);
    // x + scale * RMS(h) * weight; without a weight, x + scale * h
    ggml_tensor * add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale);
    // past: [width, n * clips], the rows before each clip's new ones
    ggml_tensor * attention(const AudioLayer & layer, int64_t n_head, float k_scale, float soft_cap, ggml_tensor * q,
                            ggml_tensor * k, ggml_tensor * past_k, ggml_tensor * v, ggml_tensor * past_v);
    // [2 width, N] -> [width, N]
    ggml_tensor * glu(ggml_tensor * h);
    // Depthwise convolution, RMS, SiLU, clamp for conv_out.
    ggml_tensor * conv(const AudioLayer & layer, ggml_tensor * x, ggml_tensor * past);
    // The last n rows of (past, new) of each clip: [width, n * clips]
    ggml_tensor * carry(ggml_tensor * x, ggml_tensor * past);
    // First convolution, LayerNorm, ReLU: [c0, 1 + n_mel / 2, rows]; position 0 is the next one's padding. frames: pointers that
    // are valid until the graph has run.
    ggml_tensor * conv0(const AudioModel & model, FrameRows frames);
    // Second convolution, LayerNorm, ReLU: [c1, n_mel / 4, slots]
    ggml_tensor * conv1(const AudioModel & model, ggml_tensor * x, int64_t n_slots);

  private:
    // Rows in BF16, zeros behind them up to a whole vector; the last one made is kept for products that share x.
    ggml_tensor * rounded(ggml_tensor * x);
    const RowRun & run_of(int64_t row, int64_t & index) const;

    WorkNodes nodes_;
    const AudioKernels & kernels_;
    std::vector<RowRun> runs_;
    ggml_tensor * rounded_of_ = nullptr;
    ggml_tensor * rounded_ = nullptr;
};

} // namespace ga
