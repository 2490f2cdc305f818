// See audio_encoder.h. One graph over a group of parts, each a run of new tokens of one clip:
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
#include "audio_encoder.h"

#include "audio_ops.h"
#include "quant_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

namespace ga {

namespace {

constexpr int64_t kPast = AudioModel::attn_window - 1;   // tokens attention looks back: 11
constexpr int64_t kConvPast = AudioModel::conv_taps - 1; // tokens the depthwise convolution looks back: 4
constexpr int64_t kPastRows = 2 * kPast + kConvPast;     // rows of a layer in EncoderState: K, V, GLU
constexpr float kSoftCap = 50.0f;
constexpr float kKeyScale = 1.89463612f; // ln(1 + e) / ln 2
constexpr int64_t kMaxBlock = 24;        // queries of a block: it computes block + 11 keys for each, 12 of them used
// Tokens of a graph, over all parts. Compute memory grows with it (about 0.3 MB a token for E2B) and speed no longer does.
constexpr int64_t kMaxTokens = 768;
constexpr int64_t kMaxTokensGpu = 3072;

int64_t ceil_half(int64_t n) {
    return (n + 1) / 2;
}

} // namespace

// N tokens of one clip, from `first` on, with the frames they need.
struct AudioEncoder::Part {
    EncoderPiece * piece = nullptr;
    const float * frames = nullptr; // [n_frames][frame_width]
    int64_t first_frame = 0;        // number in the clip of the first of them
    int64_t n_frames = 0;
    bool end = false; // the clip ends after these frames
    int64_t first = 0;
    int64_t n = 0;
};

namespace {

using Part = AudioEncoder::Part;

// Where the rows of each part stand in the tensors of a graph.
struct Layout {
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

Layout make_layout(const std::vector<Part> & parts) {
    Layout layout;
    layout.n_parts = static_cast<int64_t>(parts.size());
    for (const Part & part : parts) {
        layout.n_rows += part.n;
        layout.n_slots += part.n + 1;
        layout.block = std::max(layout.block, part.n);
    }
    layout.n_slots -= 1;
    layout.block = std::min(layout.block, kMaxBlock);
    layout.n_keys = layout.block + kPast;

    const auto row32 = [](int64_t row) { return static_cast<int32_t>(row); };
    int64_t row = 0, slot = 0, conv = 0;
    for (int64_t p = 0; p < layout.n_parts; p++) {
        const int64_t n = parts[(size_t)p].n;
        // Row of token t of this part in (past of all parts, new rows); t < 0: in the past.
        const auto key_row = [&](int64_t t, int64_t past) {
            return row32(t < 0 ? p * past + past + t : layout.n_parts * past + row + t);
        };
        for (int64_t start = 0; start < n; start += layout.block) {
            const int64_t base = static_cast<int64_t>(layout.query_rows.size());
            for (int64_t i = 0; i < layout.block; i++) {
                const int64_t t = start + i;
                layout.query_rows.push_back(row32(t < n ? row + t : 0));
                if (t < n) {
                    layout.out_rows.push_back(row32(base + i));
                }
                for (int64_t k = 0; k < layout.n_keys; k++) {
                    const int64_t key = start - kPast + k;
                    const bool seen = key <= t && key >= t - kPast && key + parts[(size_t)p].first >= 0;
                    layout.mask.push_back(seen || (t >= n && k == 0) ? 0.0f : -INFINITY);
                }
            }
            for (int64_t k = 0; k < layout.n_keys; k++) {
                layout.key_rows.push_back(key_row(std::min(start - kPast + k, n - 1), kPast));
            }
            layout.n_blocks++;
        }
        for (int64_t t = -kConvPast; t < n; t++) {
            layout.conv_rows.push_back(key_row(t, kConvPast));
        }
        for (int64_t t = 0; t < n; t++) {
            layout.slot_rows.push_back(row32(slot + t));
            layout.conv_out.push_back(row32(conv + t));
        }
        for (int64_t t = n - kPast; t < n; t++) {
            layout.keep_kv.push_back(key_row(t, kPast));
        }
        for (int64_t t = n - kConvPast; t < n; t++) {
            layout.keep_conv.push_back(key_row(t, kConvPast));
        }
        row += n;
        slot += n + 1;
        conv += n + kConvPast;
    }
    return layout;
}

// The frames under each row of the first convolution, 2S+2 of them (2S+1 are used; one more because ggml measures overlapping
// views as if they did not). A part of n tokens has 2n+1, the first of them shared with the token before. Rows before the clip's
// start and after its end have none: convolution, LayerNorm and ReLU leave the zeros that the second convolution pads with.
FrameRows frame_rows(const std::vector<Part> & parts, const Layout & layout, int64_t n_mel) {
    FrameRows rows((size_t)(2 * layout.n_slots + 2), {nullptr, nullptr, nullptr});
    int64_t slot = 0;
    for (const Part & part : parts) {
        const int64_t n_total = part.first_frame + part.n_frames;
        for (int64_t r = 0; r < 2 * part.n + 1; r++) {
            const int64_t i = 2 * part.first - 1 + r; // number of the row in the clip
            if (i < 0 || (part.end && i >= ceil_half(n_total))) {
                continue;
            }
            for (int64_t time = 0; time < 3; time++) {
                const int64_t frame = 2 * i - 1 + time;
                if (frame >= 0 && frame < n_total) {
                    rows[(size_t)(2 * slot + r)][(size_t)time] = part.frames + (frame - part.first_frame) * n_mel;
                }
            }
        }
        slot += part.n + 1;
    }
    return rows;
}

// The same as 3x3 patches for a matrix product, [2S+2][65][9 (time, mel)]. Position 0 of each row is the zero padding of the
// second convolution.
std::vector<float> mel_patches(const FrameRows & rows, int64_t n_mel) {
    const int64_t n_out = n_mel / 2; // positions along mel
    const int64_t row_size = (n_out + 1) * 9;
    std::vector<float> patches(rows.size() * (size_t)row_size, 0.0f);
    for (size_t row = 0; row < rows.size(); row++) {
        for (int64_t time = 0; time < 3; time++) {
            const float * mel = rows[row][(size_t)time];
            for (int64_t j = 0; mel && j < n_out; j++) {
                float * patch = patches.data() + (int64_t)row * row_size + (j + 1) * 9 + time * 3;
                patch[0] = j > 0 ? mel[2 * j - 1] : 0.0f;
                patch[1] = mel[2 * j];
                patch[2] = mel[2 * j + 1];
            }
        }
    }
    return patches;
}

// Past rows of all layers and parts as one graph input: per layer K of each part, V of each part, GLU of each part.
std::vector<float> gather_past(const std::vector<Part> & parts, int64_t n_layer, int64_t width) {
    const int64_t n_parts = static_cast<int64_t>(parts.size());
    std::vector<float> past((size_t)(n_layer * n_parts * kPastRows * width), 0.0f);
    float * out = past.data();
    for (int64_t layer = 0; layer < n_layer; layer++) {
        int64_t first = 0; // row in the layer's part of a state
        for (const int64_t n : {kPast, kPast, kConvPast}) {
            for (const Part & part : parts) {
                const std::vector<float> & state = part.piece->state->layers;
                if (!state.empty()) {
                    std::memcpy(out, state.data() + (layer * kPastRows + first) * width,
                                (size_t)(n * width) * sizeof(float));
                }
                out += n * width;
            }
            first += n;
        }
    }
    return past;
}

std::vector<RowRun> row_runs(const std::vector<Part> & parts) {
    std::vector<RowRun> runs;
    int64_t row = 0;
    for (const Part & part : parts) {
        runs.push_back({row, part.n, part.first});
        row += part.n;
    }
    return runs;
}

// The graph's shapes are those at the head of this file; trailing comments give them in ggml order. Where ops_ is there, the
// steps between products are its nodes, else several of ggml's; both compute the same.
class Builder {
  public:
    Builder(const AudioModel & model, GraphRunner & runner, const std::vector<Part> & parts, bool plain)
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
        if (is_packed(weight)) {
            result = quants_->multiply(weight, x);
        } else {
            result = ggml_mul_mat(ctx_, weight, x);
            ggml_prec_set_acc(result, GGML_PREC_F32);
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
    const std::vector<Part> & parts_;
    const Layout layout_;
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

ggml_tensor * Builder::subsample() {
    const int64_t c0 = model_.n_channels(0), c1 = model_.n_channels(1);
    const int64_t n_mel = model_.frame_width() / 4; // positions after both convolutions
    const int64_t n_wide = 2 * n_mel + 1;           // after the first, with the padding
    const int64_t n_slots = layout_.n_slots;
    const size_t f32 = sizeof(float);
    FrameRows frames = frame_rows(parts_, layout_, model_.frame_width());

    ggml_tensor * x;
    if (ops_) {
        x = ops_->conv0(model_, std::move(frames)); // [c0, 65, 2S+2]
        x = ops_->conv1(model_, x, n_slots);        // [c1, 32, S]
    } else {
        x = runner_.input(GGML_TYPE_F32, mel_patches(frames, model_.frame_width()), 9, n_wide * (2 * n_slots + 2), 1, 1,
                          "mel_patches");
        x = layer_norm_relu(multiply(model_.conv0, x), model_.conv0_norm); // [c0, 65 (2S+2)]
        ggml_tensor * sum = nullptr;
        for (int64_t time = 0; time < 3; time++) {
            // Three neighbouring positions along mel are one run of 3 c0 values; the next output is two positions on.
            const size_t row = (size_t)(n_wide * c0) * f32;
            ggml_tensor * taps = ggml_view_3d(ctx_, x, 3 * c0, n_mel, n_slots, (size_t)(2 * c0) * f32, 2 * row,
                                              (size_t)time * row);                    // [3 c0, 32, S], overlapping
            ggml_tensor * part = multiply(model_.conv1[time], ggml_cont(ctx_, taps)); // [c1, 32, S]
            sum = sum ? ggml_add(ctx_, sum, part) : part;
        }
        x = layer_norm_relu(sum, model_.conv1_norm);
    }
    x = ggml_reshape_2d(ctx_, x, c1 * n_mel, n_slots);
    if (layout_.n_parts > 1) {
        x = ggml_get_rows(ctx_, x, rows(layout_.slot_rows, "slot_rows"));
    }
    return multiply(model_.conv_linear, x); // [width, N]
}

ggml_tensor * Builder::feed_forward(const AudioFeedForward & ffn, ggml_tensor * x) {
    ggml_tensor * h = rms_norm(x, ffn.pre_norm, ffn.up.in_min, ffn.up.in_max);
    h = linear(ffn.up, h, &ffn.down); // [n_ff, N]
    return add_rms_norm(x, linear(ffn.down, h), ffn.post_norm, 0.5f);
}

ggml_tensor * Builder::attention(const AudioLayer & layer, ggml_tensor * x, int64_t index) {
    // The three matrices share a norm, and its clamped result where their bounds are the same.
    const ClippableLinear * linears[3] = {&layer.q, &layer.k, &layer.v};
    ggml_tensor * normed[3];
    ggml_tensor * qkv[3];
    for (int i = 0; i < 3; i++) {
        normed[i] = nullptr;
        for (int j = 0; j < i; j++) {
            if (linears[j]->in_min == linears[i]->in_min && linears[j]->in_max == linears[i]->in_max) {
                normed[i] = normed[j];
            }
        }
        if (!normed[i]) {
            normed[i] = rms_norm(x, layer.attn_pre_norm, linears[i]->in_min, linears[i]->in_max);
        }
        qkv[i] = linear(*linears[i], normed[i]); // [width, N]
    }
    auto [q, k, v] = qkv;
    ggml_tensor * past_k = past_rows(index, 0, kPast);
    ggml_tensor * past_v = past_rows(index, kPast, kPast);
    ggml_tensor * out;
    if (ops_) {
        out = ops_->attention(layer, model_.n_head(), kKeyScale, kSoftCap, q, k, past_k, v, past_v);
        carried_.push_back({keep(ops_->carry(k, past_k)), keep(ops_->carry(v, past_v)), nullptr});
    } else {
        k = ggml_concat(ctx_, past_k, k, 1); // [width, 11 parts + N]
        v = ggml_concat(ctx_, past_v, v, 1);
        carried_.push_back({keep(ggml_get_rows(ctx_, k, keep_kv_)), keep(ggml_get_rows(ctx_, v, keep_kv_)), nullptr});
        out = clamp(attend_in_blocks(layer, q, k, v), layer.attn_out.in_min, layer.attn_out.in_max);
    }
    return add_rms_norm(x, linear(layer.attn_out, out), layer.attn_post_norm, 1.0f);
}

// Blocks of queries, each with its keys and 11 before: products of small matrices that every back end has.
ggml_tensor * Builder::attend_in_blocks(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v) {
    const int64_t dim = model_.head_dim(), n_head = model_.n_head();
    const int64_t block = layout_.block, n_keys = layout_.n_keys, n_blocks = layout_.n_blocks;
    const auto product = [&](ggml_tensor * a, ggml_tensor * b) {
        ggml_tensor * result = ggml_mul_mat(ctx_, a, b);
        ggml_prec_set_acc(result, GGML_PREC_F32);
        return result;
    };
    if (query_rows_) {
        q = ggml_get_rows(ctx_, q, query_rows_); // [width, block B]
    }
    q = ggml_mul(ctx_, ggml_reshape_3d(ctx_, q, dim, n_head, block * n_blocks), layer.q_scale);
    q = ggml_reshape_4d(ctx_, q, dim, n_head, block, n_blocks);
    q = ggml_cont(ctx_, ggml_permute(ctx_, q, 0, 2, 1, 3)); // [dim, block, n_head, B]
    k = ggml_reshape_4d(ctx_, ggml_get_rows(ctx_, k, key_rows_), dim, n_head, n_keys, n_blocks);
    k = ggml_permute(ctx_, k, 0, 2, 1, 3); // [dim, keys, n_head, B]
    v = ggml_reshape_4d(ctx_, ggml_get_rows(ctx_, v, key_rows_), dim, n_head, n_keys, n_blocks);
    v = ggml_cont(ctx_, ggml_permute(ctx_, v, 1, 2, 0, 3)); // [keys, dim, n_head, B]

    ggml_tensor * logits = ggml_scale(ctx_, product(k, q), kKeyScale); // [keys, block, n_head, B]
    if (layer.rel_keys) {
        // q times the key of each distance, [12, block, n_head, B]. Query c meets distance 11 - p at key c + p: a row of zeros
        // added to each query's 12 values up to keys + 1, and read with a stride of keys, moves row c by c places.
        ggml_tensor * rel = ggml_pad(ctx_, product(layer.rel_keys, q), static_cast<int>(block), 0, 0, 0);
        rel = ggml_view_4d(ctx_, rel, n_keys, block, n_head, n_blocks, (size_t)n_keys * rel->nb[0], rel->nb[2],
                           rel->nb[3], 0);
        logits = ggml_add(ctx_, logits, rel);
    }
    logits = ggml_tanh(ctx_, ggml_scale(ctx_, logits, 1.0f / kSoftCap));
    ggml_tensor * p = ggml_soft_max_ext(ctx_, logits, mask_, kSoftCap, 0.0f);
    ggml_tensor * out = product(v, p);                          // [dim, block, n_head, B]
    out = ggml_cont(ctx_, ggml_permute(ctx_, out, 0, 2, 1, 3)); // [dim, n_head, block, B]
    out = ggml_reshape_2d(ctx_, out, model_.width(), block * n_blocks);
    return out_rows_ ? ggml_get_rows(ctx_, out, out_rows_) : out; // [width, N]
}

ggml_tensor * Builder::light_conv(const AudioLayer & layer, ggml_tensor * x, int64_t index) {
    const int64_t width = model_.width();
    ggml_tensor * h =
        linear(layer.conv_in, rms_norm(x, layer.conv_pre_norm, layer.conv_in.in_min, layer.conv_in.in_max));
    ggml_tensor * past = past_rows(index, 2 * kPast, kConvPast);
    if (ops_) {
        h = ops_->glu(h); // [width, N]
        carried_.back().glu = keep(ops_->carry(h, past));
        h = ops_->conv(layer, h, past);
    } else {
        ggml_tensor * gate = ggml_view_2d(ctx_, h, width, h->ne[1], h->nb[1], (size_t)width * h->nb[0]);
        h = ggml_view_2d(ctx_, h, width, h->ne[1], h->nb[1], 0);
        h = ggml_mul(ctx_, ggml_sigmoid(ctx_, ggml_cont(ctx_, gate)), h); // [width, N]
        h = ggml_concat(ctx_, past, h, 1);                                // [width, 4 parts + N]
        carried_.back().glu = keep(ggml_get_rows(ctx_, h, keep_conv_));
        h = convolve(layer, h);
    }
    return ggml_add(ctx_, x, linear(layer.conv_out, h));
}

// Depthwise convolution as five shifted products: no back end lacks them.
ggml_tensor * Builder::convolve(const AudioLayer & layer, ggml_tensor * x) {
    const int64_t width = model_.width();
    if (conv_rows_) {
        x = ggml_get_rows(ctx_, x, conv_rows_);
    }
    ggml_tensor * sum = nullptr;
    for (int64_t tap = 0; tap < AudioModel::conv_taps; tap++) {
        ggml_tensor * kernel = ggml_view_1d(ctx_, layer.conv_kernel, width, (size_t)tap * layer.conv_kernel->nb[1]);
        ggml_tensor * shifted = ggml_view_2d(ctx_, x, width, x->ne[1] - kConvPast, x->nb[1], (size_t)tap * x->nb[1]);
        ggml_tensor * term = ggml_mul(ctx_, shifted, kernel);
        sum = sum ? ggml_add(ctx_, sum, term) : term;
    }
    x = conv_out_ ? ggml_get_rows(ctx_, sum, conv_out_) : sum; // [width, N]
    x = ggml_silu(ctx_, rms_norm(x, layer.conv_post_norm));
    return clamp(x, layer.conv_out.in_min, layer.conv_out.in_max);
}

ggml_tensor * Builder::encode() {
    const int64_t width = model_.width(), n_layer = model_.n_layer();
    past_ = runner_.input(GGML_TYPE_F32, gather_past(parts_, n_layer, width), width,
                          n_layer * layout_.n_parts * kPastRows, 1, 1, "past");
    if (!ops_) {
        mask_ = runner_.input_view(GGML_TYPE_F32, layout_.n_keys, layout_.block, 1, layout_.n_blocks,
                                   layout_.mask.data(), "attention_mask");
        key_rows_ = rows(layout_.key_rows, "key_rows");
        keep_kv_ = rows(layout_.keep_kv, "keep_kv");
        keep_conv_ = rows(layout_.keep_conv, "keep_conv");
        if (layout_.block * layout_.n_blocks != layout_.n_rows) {
            query_rows_ = rows(layout_.query_rows, "query_rows");
            out_rows_ = rows(layout_.out_rows, "out_rows");
        }
        if (layout_.n_parts > 1) {
            conv_rows_ = rows(layout_.conv_rows, "conv_rows");
            conv_out_ = rows(layout_.conv_out, "conv_out");
        }
    }

    ggml_tensor * x = subsample();
    for (int64_t i = 0; i < n_layer; i++) {
        const AudioLayer & layer = model_.layers[(size_t)i];
        x = feed_forward(layer.ffn_first, x);
        x = attention(layer, x, i);
        x = light_conv(layer, x, i);
        x = feed_forward(layer.ffn_second, x);
        x = rms_norm(x, layer.out_norm);
    }
    if (model_.out_weight) {
        AfterProduct after;
        after.bias = model_.out_bias;
        x = multiply(model_.out_weight, x, after); // [n_encoder_out, N]
    }
    return x;
}

ggml_tensor * Builder::project(ggml_tensor * x) {
    x = ops_ ? ops_->rms_norm(x, nullptr, -kInf, kInf) : ggml_rms_norm(ctx_, x, AudioModel::norm_eps);
    return multiply(model_.projection, x); // [n_embd_out, N]
}

// Appends rows [first, first + n) of a computed [width, N] tensor.
void append_rows(const GraphRunner & runner, const ggml_tensor * tensor, int64_t first, int64_t n,
                 std::vector<float> & out) {
    const size_t size = out.size();
    out.resize(size + (size_t)(n * tensor->ne[0]));
    runner.read(tensor, out.data() + size, (size_t)first * tensor->nb[1], (size_t)n * tensor->nb[1]);
}

} // namespace

AudioEncoder::AudioEncoder(const AudioModel & model, Backend & backend)
    : model_(model), backend_(backend),
      runner_(std::make_unique<GraphRunner>(backend, (size_t)(192 * model.n_layer() + 256))) {}

AudioEncoder::~AudioEncoder() = default;

int64_t AudioEncoder::n_tokens(int64_t n_frames, bool end) const {
    if (model_.projector() == GA_PROJECTOR_GEMMA4UA) {
        return n_frames;
    }
    // Token t stands on frames 4t - 3 ... 4t + 3.
    return end ? ceil_half(ceil_half(n_frames)) : n_frames / 4;
}

// Each piece is cut into parts; a round takes the next part of every piece, so that a part finds its state moved on.
void AudioEncoder::encode(std::vector<EncoderPiece> & pieces) {
    const bool conformer = model_.projector() == GA_PROJECTOR_GEMMA4A;
    const int64_t frame_width = model_.frame_width();
    const int64_t max_tokens = backend_.is_cpu() ? kMaxTokens : kMaxTokensGpu;

    // Frames carried and new, in one run each.
    struct Window {
        std::vector<float> frames;
        int64_t first_frame = 0;
        int64_t n_frames = 0;
        int64_t n_tokens = 0; // of the clip, when this call is done
    };
    std::vector<Window> windows(pieces.size());
    for (size_t i = 0; i < pieces.size(); i++) {
        EncoderPiece & piece = pieces[i];
        Window & window = windows[i];
        window.first_frame = conformer ? std::max<int64_t>(0, 4 * piece.state->n_tokens - 3) : piece.state->n_tokens;
        window.frames = std::move(piece.state->frames);
        window.frames.insert(window.frames.end(), piece.frames, piece.frames + piece.n_frames * (size_t)frame_width);
        window.n_frames = static_cast<int64_t>(window.frames.size()) / frame_width;
        window.n_tokens = n_tokens(window.first_frame + window.n_frames, piece.end);
    }

    for (bool more = true; more;) {
        more = false;
        std::vector<Part> group;
        int64_t n_group = 0;
        for (size_t i = 0; i < pieces.size(); i++) {
            const Window & window = windows[i];
            Part part;
            part.piece = &pieces[i];
            part.frames = window.frames.data();
            part.first_frame = window.first_frame;
            part.n_frames = window.n_frames;
            part.end = pieces[i].end;
            part.first = pieces[i].state->n_tokens;
            part.n = std::min(window.n_tokens - part.first, max_tokens);
            if (part.n <= 0) {
                continue;
            }
            more = true;
            if (n_group + part.n > max_tokens) {
                encode_group(group);
                group.clear();
                n_group = 0;
            }
            n_group += part.n;
            group.push_back(part);
        }
        if (!group.empty()) {
            encode_group(group);
        }
    }

    for (size_t i = 0; i < pieces.size(); i++) {
        const Window & window = windows[i];
        const int64_t keep = conformer ? std::max<int64_t>(0, 4 * pieces[i].state->n_tokens - 3) : window.n_tokens;
        const int64_t skip = std::min(keep - window.first_frame, window.n_frames);
        pieces[i].state->frames.assign(window.frames.begin() + (std::ptrdiff_t)(skip * frame_width),
                                       window.frames.end());
    }
}

void AudioEncoder::encode_group(std::vector<Part> & parts) {
    const int64_t width = model_.width();
    runner_->begin();
    Builder builder(model_, *runner_, parts, plain_ops_ || !backend_.is_cpu());
    ggml_tensor * encoded = nullptr;
    std::vector<float> raw; // gemma4ua: the parts' frames
    if (model_.projector() == GA_PROJECTOR_GEMMA4A) {
        encoded = builder.encode();
    } else {
        for (const Part & part : parts) {
            const float * frames = part.frames + (part.first - part.first_frame) * model_.frame_width();
            raw.insert(raw.end(), frames, frames + part.n * model_.frame_width());
        }
        encoded =
            runner_->input_view(GGML_TYPE_F32, model_.frame_width(), builder.n_rows(), 1, 1, raw.data(), "samples");
    }
    ggml_tensor * embeddings = builder.project(encoded);
    runner_->output(embeddings, true);
    if (raw.empty()) {
        // Whether anyone reads it or not: ggml keeps its memory plan from one graph to the next of the same shape, and a
        // plan made without this output would let later nodes write over it.
        runner_->output(encoded, true);
    }
    runner_->compute();

    int64_t row = 0;
    for (size_t p = 0; p < parts.size(); p++) {
        Part & part = parts[p];
        append_rows(*runner_, embeddings, row, part.n, *part.piece->embeddings);
        if (part.piece->encoder_out && raw.empty()) {
            append_rows(*runner_, encoded, row, part.n, *part.piece->encoder_out);
        } else if (part.piece->encoder_out) {
            const auto begin = raw.begin() + (std::ptrdiff_t)(row * model_.frame_width());
            const auto end = begin + (std::ptrdiff_t)(part.n * model_.frame_width());
            part.piece->encoder_out->insert(part.piece->encoder_out->end(), begin, end);
        }
        row += part.n;

        EncoderState & state = *part.piece->state;
        state.n_tokens += part.n;
        state.layers.resize((size_t)(static_cast<int64_t>(builder.carried().size()) * kPastRows * width));
        float * out = state.layers.data();
        for (const Builder::Carried & layer : builder.carried()) {
            for (const auto & [tensor, n] : {std::pair(layer.k, kPast), {layer.v, kPast}, {layer.glu, kConvPast}}) {
                const size_t n_bytes = (size_t)n * tensor->nb[1];
                runner_->read(tensor, out, p * n_bytes, n_bytes);
                out += n * width;
            }
        }
    }
}

} // namespace ga
