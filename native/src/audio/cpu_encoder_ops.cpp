#include "audio/cpu_encoder_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ga {

namespace {

constexpr int64_t kRowsPerUnit = 16; // of the steps between products

// Row t of a clip, counted from its first new one: negative ones are the last of its n_past carried rows.
struct RowsOf {
    const float * now;
    const float * past;
    int64_t n_past;
    int64_t width;

    RowsOf(const ggml_tensor * x, const ggml_tensor * past_rows, int64_t n_clips, const RowRun & run, int64_t index)
        : now(floats(x) + run.first * x->ne[0]), n_past(past_rows->ne[1] / n_clips), width(x->ne[0]) {
        past = floats(past_rows) + index * n_past * width;
    }
    const float * operator()(int64_t t) const { return t < 0 ? past + (n_past + t) * width : now + t * width; }
};

} // namespace

const RowRun & CpuEncoderOps::run_of(int64_t row, int64_t & index) const {
    index = 0;
    while (row >= runs_[(size_t)index].first + runs_[(size_t)index].n) {
        index++;
    }
    return runs_[(size_t)index];
}

ggml_tensor * CpuEncoderOps::multiply(ggml_tensor * weight, ggml_tensor * x, const AfterProduct & after) {
    if (!FloatOps::takes(weight)) {
        return EncoderOps::multiply(weight, x, after);
    }
    MatmulArgs args;
    args.min = after.min;
    args.max = after.max;
    args.silu = after.silu;
    args.silu_min = after.silu_min;
    args.silu_max = after.silu_max;
    return floats_.multiply(weight, x, args, after.bias);
}

ggml_tensor * CpuEncoderOps::rms_norm(ggml_tensor * x, ggml_tensor * weight, float min, float max) {
    return nodes_.node(GGML_TYPE_F32, x->ne[0], x->ne[1], 1, {x, weight}, x->ne[1], kRowsPerUnit,
                       [this, x, weight, min, max](ggml_tensor * out, int64_t first, int64_t n) {
                           const int64_t width = x->ne[0];
                           for (int64_t row = first; row < first + n; row++) {
                               kernels_.rms_norm(floats(x) + row * width, floats(weight), AudioModel::norm_eps, min,
                                                 max, width, floats(out) + row * width);
                           }
                       });
}

ggml_tensor * CpuEncoderOps::add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale) {
    return nodes_.node(GGML_TYPE_F32, x->ne[0], x->ne[1], 1, {x, h, weight}, x->ne[1], kRowsPerUnit,
                       [this, x, h, weight, scale](ggml_tensor * out, int64_t first, int64_t n) {
                           const int64_t width = x->ne[0];
                           for (int64_t row = first; row < first + n; row++) {
                               kernels_.add_rms_norm(floats(x) + row * width, floats(h) + row * width, floats(weight),
                                                     AudioModel::norm_eps, scale, width, floats(out) + row * width);
                           }
                       });
}

ggml_tensor * CpuEncoderOps::attention(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v,
                                       const PastRows & past) {
    AttentionArgs args;
    args.n_head = model_.n_head();
    args.head_dim = model_.head_dim();
    args.k_scale = kKeyScale;
    args.soft_cap = kSoftCap;
    args.window = AudioModel::attn_window;
    args.min = layer.attn_out.in_min;
    args.max = layer.attn_out.in_max;
    ggml_tensor * q_scale = layer.q_scale;
    ggml_tensor * rel_keys = layer.rel_keys;
    ggml_tensor * past_k = past.k;
    ggml_tensor * past_v = past.v;
    return nodes_.node(GGML_TYPE_F32, q->ne[0], q->ne[1], 1, {q, k, past_k, v, past_v, q_scale, rel_keys}, q->ne[1],
                       kRowsPerUnit, [=](ggml_tensor * out, int64_t first, int64_t n) {
                           AttentionArgs mine = args;
                           mine.q_scale = floats(q_scale);
                           mine.rel_keys = floats(rel_keys);
                           const int64_t n_clips = static_cast<int64_t>(runs_.size());
                           for (int64_t row = first; row < first + n; row++) {
                               int64_t index;
                               const RowRun & run = run_of(row, index);
                               const RowsOf key_rows(k, past_k, n_clips, run, index),
                                   value_rows(v, past_v, n_clips, run, index);
                               const int64_t t = row - run.first;
                               const int n_keys =
                                   static_cast<int>(std::min<int64_t>(AudioModel::attn_window, run.age + t + 1));
                               const float * keys[AudioModel::attn_window];
                               const float * values[AudioModel::attn_window];
                               for (int j = 0; j < n_keys; j++) {
                                   keys[j] = key_rows(t - n_keys + 1 + j);
                                   values[j] = value_rows(t - n_keys + 1 + j);
                               }
                               const int64_t at = row * out->ne[0];
                               kernels_.attention(mine, floats(q) + at, keys, values, n_keys, floats(out) + at);
                           }
                       });
}

ggml_tensor * CpuEncoderOps::glu(ggml_tensor * h) {
    return nodes_.node(GGML_TYPE_F32, h->ne[0] / 2, h->ne[1], 1, {h}, h->ne[1], kRowsPerUnit,
                       [this, h](ggml_tensor * out, int64_t first, int64_t n) {
                           for (int64_t row = first; row < first + n; row++) {
                               kernels_.glu(floats(h) + row * h->ne[0], out->ne[0], floats(out) + row * out->ne[0]);
                           }
                       });
}

ggml_tensor * CpuEncoderOps::depthwise_conv(const AudioLayer & layer, ggml_tensor * x, ggml_tensor * past) {
    ggml_tensor * kernel = layer.conv_kernel;
    ggml_tensor * weight = layer.conv_post_norm;
    const float min = layer.conv_out.in_min, max = layer.conv_out.in_max;
    return nodes_.node(GGML_TYPE_F32, x->ne[0], x->ne[1], 1, {x, past, kernel, weight}, x->ne[1], kRowsPerUnit,
                       [=](ggml_tensor * out, int64_t first, int64_t n) {
                           for (int64_t row = first; row < first + n; row++) {
                               int64_t index;
                               const RowRun & run = run_of(row, index);
                               const RowsOf rows(x, past, static_cast<int64_t>(runs_.size()), run, index);
                               const float * taps[AudioModel::conv_taps];
                               for (int tap = 0; tap < AudioModel::conv_taps; tap++) {
                                   taps[tap] = rows(row - run.first - (AudioModel::conv_taps - 1) + tap);
                               }
                               kernels_.conv_norm_silu(taps, AudioModel::conv_taps, floats(kernel), floats(weight),
                                                       AudioModel::norm_eps, min, max, x->ne[0],
                                                       floats(out) + row * x->ne[0]);
                           }
                       });
}

ggml_tensor * CpuEncoderOps::carry(ggml_tensor * x, ggml_tensor * past) {
    const int64_t n_clips = static_cast<int64_t>(runs_.size()), n_past = past->ne[1] / n_clips;
    return nodes_.node(GGML_TYPE_F32, x->ne[0], past->ne[1], 1, {x, past}, n_clips, 1,
                       [=](ggml_tensor * out, int64_t first, int64_t) {
                           const RowRun & run = runs_[(size_t)first];
                           const RowsOf rows(x, past, n_clips, run, first);
                           for (int64_t i = 0; i < n_past; i++) {
                               std::memcpy(floats(out) + (first * n_past + i) * x->ne[0], rows(run.n - n_past + i),
                                           (size_t)x->ne[0] * sizeof(float));
                           }
                       });
}

ggml_tensor * CpuEncoderOps::subsample() {
    ggml_tensor * x = conv1(conv0(frame_rows(parts_, layout_, model_.frame_width()))); // [c1, 32, S]
    return ggml_reshape_2d(ctx_, x, x->ne[0] * x->ne[1], layout_.n_slots);
}

ggml_tensor * CpuEncoderOps::conv0(FrameRows frames) {
    const int64_t n_channels = model_.n_channels(0), n_positions = model_.frame_width() / 2;
    const int64_t n_rows = static_cast<int64_t>(frames.size());
    ggml_tensor * kernel = model_.conv0_taps;
    ggml_tensor * weight = model_.conv0_norm;
    return nodes_.node(GGML_TYPE_F32, n_channels, n_positions + 1, n_rows, {kernel, weight}, n_rows, kRowsPerUnit,
                       [=, frames = std::move(frames)](ggml_tensor * out, int64_t first, int64_t n) {
                           const int64_t size = (n_positions + 1) * n_channels;
                           for (int64_t row = first; row < first + n; row++) {
                               float * to = floats(out) + row * size;
                               const auto & three = frames[(size_t)row];
                               if (!three[1]) { // no such row: zeros, as LayerNorm and ReLU leave them
                                   std::fill_n(to, size, 0.0f);
                                   continue;
                               }
                               std::fill_n(to, n_channels, 0.0f);
                               kernels_.conv0(three.data(), n_positions, floats(kernel), floats(weight),
                                              AudioModel::norm_eps, n_channels, to + n_channels);
                           }
                       });
}

ggml_tensor * CpuEncoderOps::conv1(ggml_tensor * x) {
    const int64_t n_slots = layout_.n_slots;
    const int64_t c0 = model_.n_channels(0), c1 = model_.n_channels(1), n_positions = model_.frame_width() / 4;
    ggml_tensor * kernels[3] = {model_.conv1[0], model_.conv1[1], model_.conv1[2]};
    ggml_tensor * weight = model_.conv1_norm;
    MatmulArgs args;
    args.n_weights = 3;
    args.n_in = 3 * c0; // three neighbouring positions of all channels are one run of values
    args.n_out = c1;
    args.x.stride = 2 * c0;
    args.x.group = n_positions;
    args.x.group_stride = 2 * x->ne[1] * c0;
    for (int time = 0; time < 3; time++) {
        args.x_offset[time] = time * x->ne[1] * c0;
    }
    args.min = -INFINITY;
    args.max = INFINITY;
    return nodes_.node(
        GGML_TYPE_F32, c1, n_positions, n_slots, {x, kernels[0], kernels[1], kernels[2], weight}, n_slots, kRowsPerUnit,
        [=, k0 = kernels[0], k1 = kernels[1], k2 = kernels[2]](ggml_tensor * out, int64_t first, int64_t n) {
            MatmulArgs mine = args;
            mine.weight[0] = k0->data;
            mine.weight[1] = k1->data;
            mine.weight[2] = k2->data;
            mine.x.data = floats(x) + first * args.x.group_stride;
            mine.x.n = n * n_positions;
            mine.out = floats(out) + first * n_positions * c1;
            kernels_.matmul(mine, 0, (c1 + kernels_.panel - 1) / kernels_.panel);
            for (int64_t row = 0; row < mine.x.n; row++) {
                kernels_.layer_norm_relu(mine.out + row * c1, floats(weight), AudioModel::norm_eps, c1,
                                         mine.out + row * c1);
            }
        });
}

} // namespace ga
