#include "audio/encoder_graph.h"

namespace ga {

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

} // namespace

ggml_tensor * EncoderGraph::encode() {
    const int64_t width = model_.width(), n_layer = model_.n_layer();
    ggml_tensor * past = runner_.input(GGML_TYPE_F32, gather_past(parts_, n_layer, width), width,
                                       n_layer * layout_.n_parts * kPastRows, 1, 1, "past");
    ggml_tensor * x = subsample();
    for (int64_t i = 0; i < n_layer; i++) {
        x = conformer_layer(model_.layers[(size_t)i], x, past_of(past, i));
    }
    if (model_.out_weight) {
        AfterProduct after;
        after.bias = model_.out_bias;
        x = ops_->multiply(model_.out_weight, x, after); // [n_encoder_out, N]
    }
    return x;
}

ggml_tensor * EncoderGraph::subsample() {
    ggml_tensor * x = ops_->subsample(); // [32 c1, S]
    if (layout_.n_parts > 1) {
        ggml_tensor * slots =
            runner_.input_view(GGML_TYPE_I32, layout_.n_rows, 1, 1, 1, layout_.slot_rows.data(), "slot_rows");
        x = ggml_get_rows(runner_.ctx(), x, slots);
    }
    return ops_->multiply(model_.conv_linear, x, {}); // [width, N]
}

ggml_tensor * EncoderGraph::conformer_layer(const AudioLayer & layer, ggml_tensor * x, const PastRows & past) {
    // Feed-forward, half a step
    const AudioFeedForward & first = layer.ffn_first;
    ggml_tensor * h = norm_for(first.up, x, first.pre_norm);
    h = linear(first.up, h, &first.down); // SiLU; [n_ff, N]
    h = linear(first.down, h);
    x = ops_->add_rms_norm(x, h, first.post_norm, 0.5f);

    // Attention: each token looks at itself and 11 before
    ggml_tensor * q = linear(layer.q, norm_for(layer.q, x, layer.attn_pre_norm));
    ggml_tensor * k = linear(layer.k, norm_for(layer.k, x, layer.attn_pre_norm));
    ggml_tensor * v = linear(layer.v, norm_for(layer.v, x, layer.attn_pre_norm));
    h = ops_->attention(layer, q, k, v, past);
    h = linear(layer.attn_out, h);
    PastRows next = {keep(k, past.k), keep(v, past.v), nullptr};
    x = ops_->add_rms_norm(x, h, layer.attn_post_norm, 1.0f);

    // Light convolution: each token and 4 before
    h = linear(layer.conv_in, norm_for(layer.conv_in, x, layer.conv_pre_norm)); // [2 width, N]
    h = ops_->glu(h);
    next.glu = keep(h, past.glu);
    h = ops_->depthwise_conv(layer, h, past.glu);
    x = ops_->add_rms_norm(x, linear(layer.conv_out, h), nullptr, 1.0f);

    // Feed-forward, half a step
    const AudioFeedForward & second = layer.ffn_second;
    h = norm_for(second.up, x, second.pre_norm);
    h = linear(second.up, h, &second.down);
    h = linear(second.down, h);
    x = ops_->add_rms_norm(x, h, second.post_norm, 0.5f);

    carried_.push_back(next);
    return layer.out_norm ? ops_->rms_norm(x, layer.out_norm, -kInf, kInf) : x;
}

ggml_tensor * EncoderGraph::project(ggml_tensor * x) {
    return ops_->multiply(model_.projection, ops_->rms_norm(x, nullptr, -kInf, kInf), {}); // [n_embd_out, N]
}

// ---- pieces --------------------------------------------------------------------------------------------------------

ggml_tensor * EncoderGraph::linear(const ClippableLinear & layer, ggml_tensor * x, const ClippableLinear * next) {
    AfterProduct after;
    after.min = layer.out_min;
    after.max = layer.out_max;
    if (next) {
        after.silu = true;
        after.silu_min = next->in_min;
        after.silu_max = next->in_max;
    }
    return ops_->multiply(layer.weight, x, after);
}

ggml_tensor * EncoderGraph::norm_for(const ClippableLinear & next, ggml_tensor * x, ggml_tensor * weight) {
    if (normed_.x != x || normed_.min != next.in_min || normed_.max != next.in_max) {
        ggml_tensor * result =
            weight ? ops_->rms_norm(x, weight, next.in_min, next.in_max) : ops_->clamp(x, next.in_min, next.in_max);
        normed_ = {x, next.in_min, next.in_max, result};
    }
    return normed_.result;
}

PastRows EncoderGraph::past_of(ggml_tensor * past, int64_t layer) const {
    const auto rows = [&](int64_t first, int64_t n) {
        return ggml_view_2d(runner_.ctx(), past, past->ne[0], n * layout_.n_parts, past->nb[1],
                            (size_t)((layer * kPastRows + first) * layout_.n_parts) * past->nb[1]);
    };
    return {rows(0, kPast), rows(kPast, kPast), rows(2 * kPast, kConvPast)};
}

ggml_tensor * EncoderGraph::keep(ggml_tensor * x, ggml_tensor * past) {
    ggml_tensor * kept = ops_->carry(x, past);
    runner_.output(kept, true);
    return kept;
}

} // namespace ga
