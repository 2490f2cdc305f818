#include "encoder_graph.h"

#include <cmath>

namespace ga {

namespace {

constexpr float kSoftCap = 50.0f;
constexpr float kKeyScale = 1.89463612f; // ln(1 + e) / ln 2

} // namespace

ggml_tensor * EncoderGraph::subsample() {
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

ggml_tensor * EncoderGraph::feed_forward(const AudioFeedForward & ffn, ggml_tensor * x) {
    ggml_tensor * h = rms_norm(x, ffn.pre_norm, ffn.up.in_min, ffn.up.in_max);
    h = linear(ffn.up, h, &ffn.down); // [n_ff, N]
    return add_rms_norm(x, linear(ffn.down, h), ffn.post_norm, 0.5f);
}

ggml_tensor * EncoderGraph::attention(const AudioLayer & layer, ggml_tensor * x, int64_t index) {
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
ggml_tensor * EncoderGraph::attend_in_blocks(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k,
                                             ggml_tensor * v) {
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

ggml_tensor * EncoderGraph::light_conv(const AudioLayer & layer, ggml_tensor * x, int64_t index) {
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
ggml_tensor * EncoderGraph::convolve(const AudioLayer & layer, ggml_tensor * x) {
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

ggml_tensor * EncoderGraph::encode() {
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

ggml_tensor * EncoderGraph::project(ggml_tensor * x) {
    x = ops_ ? ops_->rms_norm(x, nullptr, -kInf, kInf) : ggml_rms_norm(ctx_, x, AudioModel::norm_eps);
    return multiply(model_.projection, x); // [n_embd_out, N]
}

} // namespace ga
