#include "audio/ggml_encoder_ops.h"

namespace ga {

GgmlEncoderOps::GgmlEncoderOps(const AudioModel & model, GraphRunner & runner, const std::vector<EncoderPart> & parts,
                               const EncoderLayout & layout)
    : EncoderOps(model, runner), parts_(parts), layout_(layout) {
    if (model.projector() != GA_PROJECTOR_GEMMA4A) {
        return; // no conformer
    }
    mask_ = runner_.input_view(GGML_TYPE_F32, layout_.n_keys, layout_.block, 1, layout_.n_blocks, layout_.mask.data(),
                               "attention_mask");
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

ggml_tensor * GgmlEncoderOps::rows(const std::vector<int32_t> & values, const char * name) {
    return runner_.input_view(GGML_TYPE_I32, static_cast<int64_t>(values.size()), 1, 1, 1, values.data(), name);
}

ggml_tensor * GgmlEncoderOps::layer_norm_relu(ggml_tensor * x, ggml_tensor * weight) {
    if (weight) {
        x = ggml_mul(ctx_, ggml_norm(ctx_, x, AudioModel::norm_eps), weight);
    }
    return ggml_relu(ctx_, x);
}

// Convolutions as matrix products: of 3x3 patches, then of three neighbouring rows.
ggml_tensor * GgmlEncoderOps::subsample() {
    const int64_t c0 = model_.n_channels(0), c1 = model_.n_channels(1);
    const int64_t n_mel = model_.frame_width() / 4; // positions after both convolutions
    const int64_t n_wide = 2 * n_mel + 1;           // after the first, with the padding
    const int64_t n_slots = layout_.n_slots;
    const size_t f32 = sizeof(float);
    const FrameRows frames = frame_rows(parts_, layout_, model_.frame_width());

    ggml_tensor * x = runner_.input(GGML_TYPE_F32, mel_patches(frames, model_.frame_width()), 9,
                                    n_wide * (2 * n_slots + 2), 1, 1, "mel_patches");
    x = layer_norm_relu(multiply(model_.conv0, x, {}), model_.conv0_norm); // [c0, 65 (2S+2)]
    ggml_tensor * sum = nullptr;
    for (int64_t time = 0; time < 3; time++) {
        // Three neighbouring positions along mel are one run of 3 c0 values; the next output is two positions on.
        const size_t row = (size_t)(n_wide * c0) * f32;
        ggml_tensor * taps = ggml_view_3d(ctx_, x, 3 * c0, n_mel, n_slots, (size_t)(2 * c0) * f32, 2 * row,
                                          (size_t)time * row);                        // [3 c0, 32, S], overlapping
        ggml_tensor * part = multiply(model_.conv1[time], ggml_cont(ctx_, taps), {}); // [c1, 32, S]
        sum = sum ? ggml_add(ctx_, sum, part) : part;
    }
    x = layer_norm_relu(sum, model_.conv1_norm);
    return ggml_reshape_2d(ctx_, x, c1 * n_mel, n_slots);
}

ggml_tensor * GgmlEncoderOps::rms_norm(ggml_tensor * x, ggml_tensor * weight, float min, float max) {
    x = ggml_rms_norm(ctx_, x, AudioModel::norm_eps);
    return clamp(weight ? ggml_mul(ctx_, x, weight) : x, min, max);
}

ggml_tensor * GgmlEncoderOps::add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale) {
    if (weight) {
        h = ggml_mul(ctx_, ggml_rms_norm(ctx_, h, AudioModel::norm_eps), weight);
    }
    return ggml_add(ctx_, x, scale == 1.0f ? h : ggml_scale(ctx_, h, scale));
}

// Blocks of queries, each with its keys and 11 before: products of small matrices that every backend has.
ggml_tensor * GgmlEncoderOps::attention(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v,
                                        const PastRows & past) {
    const int64_t dim = model_.head_dim(), n_head = model_.n_head();
    const int64_t block = layout_.block, n_keys = layout_.n_keys, n_blocks = layout_.n_blocks;
    const auto product = [&](ggml_tensor * a, ggml_tensor * b) {
        ggml_tensor * result = ggml_mul_mat(ctx_, a, b);
        ggml_prec_set_acc(result, GGML_PREC_F32);
        return result;
    };
    k = joined(past.k, k); // [width, 11 parts + N]
    v = joined(past.v, v);
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
    if (out_rows_) {
        out = ggml_get_rows(ctx_, out, out_rows_); // [width, N]
    }
    return clamp(out, layer.attn_out.in_min, layer.attn_out.in_max);
}

ggml_tensor * GgmlEncoderOps::glu(ggml_tensor * h) {
    const int64_t width = h->ne[0] / 2;
    ggml_tensor * gate = ggml_view_2d(ctx_, h, width, h->ne[1], h->nb[1], (size_t)width * h->nb[0]);
    h = ggml_view_2d(ctx_, h, width, h->ne[1], h->nb[1], 0);
    return ggml_mul(ctx_, ggml_sigmoid(ctx_, ggml_cont(ctx_, gate)), h);
}

// Five shifted products: no backend lacks them.
ggml_tensor * GgmlEncoderOps::depthwise_conv(const AudioLayer & layer, ggml_tensor * x, ggml_tensor * past) {
    const int64_t width = model_.width();
    x = joined(past, x); // [width, 4 parts + N]
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
    if (layer.conv_post_norm) {
        x = ggml_mul(ctx_, ggml_rms_norm(ctx_, x, AudioModel::norm_eps), layer.conv_post_norm);
    }
    return clamp(ggml_silu(ctx_, x), layer.conv_out.in_min, layer.conv_out.in_max);
}

ggml_tensor * GgmlEncoderOps::joined(ggml_tensor * past, ggml_tensor * x) {
    ggml_tensor *& made = joined_[{past, x}];
    if (!made) {
        made = ggml_concat(ctx_, past, x, 1);
    }
    return made;
}

ggml_tensor * GgmlEncoderOps::carry(ggml_tensor * x, ggml_tensor * past) {
    const bool conv = past->ne[1] == kConvPast * layout_.n_parts;
    return ggml_get_rows(ctx_, joined(past, x), conv ? keep_conv_ : keep_kv_);
}

} // namespace ga
