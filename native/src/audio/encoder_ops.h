// The steps of which the conformer is made; encoder_graph.cpp puts them together.
//
//   CpuEncoderOps    nodes of our own, run by the loops of audio_kernels.h: each one pass over memory
//   GgmlEncoderOps   ggml's own operations, which every device has
//
// Both compute the same. N is the number of tokens of all parts together; shapes are in ggml's order.
#pragma once

#include "audio/encoder_layout.h"
#include "cpu/quant_ops.h"

#include <limits>
#include <memory>
#include <optional>

namespace ga {

constexpr float kKeyScale = 1.89463612f; // ln(1 + e) / ln 2
constexpr float kSoftCap = 50.0f;        // of attention logits

// What follows a product: bias, clamp, and perhaps SiLU and the clamp of the next product's input.
struct AfterProduct {
    ggml_tensor * bias = nullptr;
    float min = -std::numeric_limits<float>::infinity();
    float max = std::numeric_limits<float>::infinity();
    bool silu = false;
    float silu_min = -std::numeric_limits<float>::infinity();
    float silu_max = std::numeric_limits<float>::infinity();
};

// A layer's rows before each part's new ones, all parts one after the other.
struct PastRows {
    ggml_tensor * k;   // [width, 11 parts]
    ggml_tensor * v;   // [width, 11 parts]
    ggml_tensor * glu; // [width, 4 parts]
};

class EncoderOps {
  public:
    EncoderOps(const AudioModel & model, GraphRunner & runner);
    virtual ~EncoderOps() = default;
    EncoderOps(const EncoderOps &) = delete;
    EncoderOps & operator=(const EncoderOps &) = delete;

    // Both strided convolutions, each with LayerNorm over channels and ReLU, of all parts' frames: [32 channels 1, S]
    virtual ggml_tensor * subsample() = 0;
    // weight · x and what follows. Here: our products of quantised matrices, else ggml's.
    virtual ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x, const AfterProduct & after);
    // clamp(RMS(x) * weight); weight may be null
    virtual ggml_tensor * rms_norm(ggml_tensor * x, ggml_tensor * weight, float min, float max) = 0;
    // x + scale * RMS(h) * weight; without a weight, x + scale * h
    virtual ggml_tensor * add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale) = 0;
    // Each token looks at itself and 11 before, with the keys of distances; clamped for attn_out: [width, N]
    virtual ggml_tensor * attention(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v,
                                    const PastRows & past) = 0;
    // [2 width, N] -> [width, N]
    virtual ggml_tensor * glu(ggml_tensor * h) = 0;
    // Depthwise convolution over five tokens, RMSNorm, SiLU; clamped for conv_out: [width, N]
    virtual ggml_tensor * depthwise_conv(const AudioLayer & layer, ggml_tensor * x, ggml_tensor * past) = 0;
    // The last rows of (past, new) of each part, as many as past has: what the next tokens need
    virtual ggml_tensor * carry(ggml_tensor * x, ggml_tensor * past) = 0;

    ggml_tensor * clamp(ggml_tensor * x, float min, float max);

  protected:
    const AudioModel & model_;
    GraphRunner & runner_;
    ggml_context * ctx_;
    WorkNodes nodes_;

  private:
    QuantOps quants_;
};

// The better way for this machine and device. parts and layout must live until the graph has run. plain: ggml's operations.
std::unique_ptr<EncoderOps> make_encoder_ops(const AudioModel & model, GraphRunner & runner,
                                             const std::vector<EncoderPart> & parts, const EncoderLayout & layout,
                                             bool plain);

} // namespace ga
