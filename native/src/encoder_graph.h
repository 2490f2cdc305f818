// One graph over a group of parts, each a run of new tokens of one clip:
//
//   frames        [9, 65, 2S+2]     3x3 patches of the mel frames, one a position of the first convolution (host)
//   conv 0        [128, 65, 2S+2]   channels first in memory; LayerNorm over channels, ReLU
//   conv 1        [32, 32, S]       three matrices on strided rows; LayerNorm, ReLU
//   linear        [width, N]        N: tokens of all parts, one after the other
//   per layer     FFN/2, attention, light convolution, FFN/2, RMSNorm; K, V and GLU rows of the past in front
//   linear        [encoder_out, N]
//   RMS, linear   [n_embd_out, N]
//
// All matrices run on the N rows together; only attention and the two convolutions know where a clip begins and ends,
// through row indices and masks made on the host. So clips of any lengths and ages share one graph.
#pragma once

#include "encoder_layout.h"
#include "quant_ops.h"

#include <cmath>
#include <limits>
#include <optional>

namespace ga {

// The graph's shapes are those at the head of this file; trailing comments give them in ggml order. Where ops_ is there, the
// steps between products are its nodes, else several of ggml's; both compute the same.
class EncoderGraph {
  public:
    EncoderGraph(const AudioModel & model, GraphRunner & runner, const std::vector<EncoderPart> & parts, bool plain)
        : model_(model), runner_(runner), ctx_(runner.ctx()), nodes_(runner.ctx()), parts_(parts),
          layout_(make_layout(parts)) {
        if (const AudioKernels * kernels = plain ? nullptr : audio_kernels()) {
            ops_.emplace(ctx_, *kernels, row_runs(parts));
        }
        if (const QuantKernels * kernels = quant_kernels()) {
            quants_.emplace(nodes_, *kernels);
        }
    }

    struct Carried { // of one layer, to be read after the run
        ggml_tensor * k;
        ggml_tensor * v;
        ggml_tensor * glu;
    };

    ggml_tensor * encode();
    ggml_tensor * project(ggml_tensor * x);
    const std::vector<Carried> & carried() const { return carried_; }
    int64_t n_rows() const { return layout_.n_rows; }

  private:
    static constexpr float kInf = std::numeric_limits<float>::infinity();

    ggml_tensor * clamp(ggml_tensor * x, float min, float max) {
        return std::isinf(min) && std::isinf(max) ? x : ggml_clamp(ctx_, x, min, max);
    }

    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x, const AfterProduct & after = {}) {
        if (ops_ && AudioOps::multiplies(weight)) {
            return ops_->multiply(weight, x, after);
        }
        if (weight->type == GGML_TYPE_F16) {
            x = ggml_clamp(ctx_, x, -65504.0f, 65504.0f); // ggml rounds it to F16, where larger values are infinite
        }
        ggml_tensor * result;
        if (for_quant_ops(weight)) {
            result = quants_->multiply(weight, x);
        } else {
            result = runner_.multiply(weight, x, GGML_PREC_F32);
        }
        if (after.bias) {
            result = ggml_add(ctx_, result, after.bias);
        }
        result = clamp(result, after.min, after.max);
        return after.silu ? clamp(ggml_silu(ctx_, result), after.silu_min, after.silu_max) : result;
    }

    // x has been clamped to the layer's input bounds. With `next`, SiLU and that layer's input bounds follow.
    ggml_tensor * linear(const ClippableLinear & layer, ggml_tensor * x, const ClippableLinear * next = nullptr) {
        AfterProduct after;
        after.min = layer.out_min;
        after.max = layer.out_max;
        if (next) {
            after.silu = true;
            after.silu_min = next->in_min;
            after.silu_max = next->in_max;
        }
        return multiply(layer.weight, x, after);
    }

    // RMSNorm with a weight (none: no norm), then the input bounds of what comes next.
    ggml_tensor * rms_norm(ggml_tensor * x, ggml_tensor * weight, float min = -kInf, float max = kInf) {
        if (!weight) {
            return clamp(x, min, max);
        }
        if (ops_) {
            return ops_->rms_norm(x, weight, min, max);
        }
        return clamp(ggml_mul(ctx_, ggml_rms_norm(ctx_, x, AudioModel::norm_eps), weight), min, max);
    }

    // x + scale RMSNorm(h)
    ggml_tensor * add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale) {
        if (ops_) {
            return ops_->add_rms_norm(x, h, weight, scale);
        }
        h = rms_norm(h, weight);
        return ggml_add(ctx_, x, scale == 1.0f ? h : ggml_scale(ctx_, h, scale));
    }

    ggml_tensor * layer_norm_relu(ggml_tensor * x, ggml_tensor * weight) {
        if (weight) {
            x = ggml_mul(ctx_, ggml_norm(ctx_, x, AudioModel::norm_eps), weight);
        }
        return ggml_relu(ctx_, x);
    }

    ggml_tensor * rows(const std::vector<int32_t> & values, const char * name) {
        return runner_.input_view(GGML_TYPE_I32, static_cast<int64_t>(values.size()), 1, 1, 1, values.data(), name);
    }

    ggml_tensor * subsample();
    ggml_tensor * feed_forward(const AudioFeedForward & ffn, ggml_tensor * x);
    ggml_tensor * attention(const AudioLayer & layer, ggml_tensor * x, int64_t index);
    ggml_tensor * attend_in_blocks(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v);
    ggml_tensor * light_conv(const AudioLayer & layer, ggml_tensor * x, int64_t index);
    ggml_tensor * convolve(const AudioLayer & layer, ggml_tensor * x);

    // A layer's past rows of all parts: [width, n parts]
    ggml_tensor * past_rows(int64_t layer, int64_t first, int64_t n) {
        return ggml_view_2d(ctx_, past_, past_->ne[0], n * layout_.n_parts, past_->nb[1],
                            (size_t)((layer * kPastRows + first) * layout_.n_parts) * past_->nb[1]);
    }

    ggml_tensor * keep(ggml_tensor * kept) {
        runner_.output(kept, true);
        return kept;
    }

    const AudioModel & model_;
    GraphRunner & runner_;
    ggml_context * ctx_;
    WorkNodes nodes_;
    const std::vector<EncoderPart> & parts_;
    const EncoderLayout layout_;
    std::optional<AudioOps> ops_;
    std::optional<QuantOps> quants_;
    std::vector<Carried> carried_;

    ggml_tensor * past_ = nullptr; // [width, 26 parts layers]
    ggml_tensor * mask_ = nullptr;
    ggml_tensor * query_rows_ = nullptr; // null: the tokens are the queries, in order
    ggml_tensor * key_rows_ = nullptr;
    ggml_tensor * out_rows_ = nullptr;
    ggml_tensor * conv_rows_ = nullptr; // null: one part
    ggml_tensor * conv_out_ = nullptr;
    ggml_tensor * keep_kv_ = nullptr;
    ggml_tensor * keep_conv_ = nullptr;
};

} // namespace ga
