#include "text/text_ops.h"

#include "cpu/row_math.h"

#include <cmath>

namespace ga {

namespace {

// 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)   (Hendrycks & Gimpel 2016, eq. for tanh)
GA_INLINE void gelu_mul_floats_row(const float * gate, const float * up, float * out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float x = gate[i];
        const float z = exp_range(-1.5957691216f * (x + 0.044715f * x * x * x)); // no number: x carries that on
        out[i] = x / (1.0f + exp_f32(z)) * up[i];
    }
}

// tanh(u) = (1 - e^(-2|u|)) / (1 + e^(-2|u|)) with the sign of u; near 0, where the difference cancels, u - u^3/3 + 2u^5/15.
GA_INLINE void soft_cap_floats_row(float * x, float cap, int64_t n) {
    const float scale = 1.0f / cap;
    for (int64_t i = 0; i < n; i++) {
        const float u = x[i] * scale, size = std::fabs(u), square = u * u;
        const float e = exp_f32(exp_range(-2.0f * size));
        const float far = std::copysign((1.0f - e) / (1.0f + e), u);
        const float near = u * (1.0f + square * (-1.0f / 3.0f + square * (2.0f / 15.0f - square * (17.0f / 315.0f))));
        const float tanh = size < 0.125f ? near : far;
        x[i] = u == u ? cap * tanh : u;
    }
}

GA_ROW_FUNCTION(gelu_mul_floats, (const float * gate, const float * up, float * out, int64_t n), (gate, up, out, n))
GA_ROW_FUNCTION(soft_cap_floats, (float * x, float cap, int64_t n), (x, cap, n))

// Calls f(row, first, n) for the share of thread ith of nth: whole rows, or where there are fewer (decode), parts of each row.
template <typename Function> void share_rows(int64_t n, int64_t rows, int ith, int nth, Function f) {
    if (rows >= nth) {
        for (int64_t row = rows * ith / nth; row < rows * (ith + 1) / nth; row++) {
            f(row, 0, n);
        }
        return;
    }
    const int64_t first = n * ith / nth;
    for (int64_t row = 0; row < rows; row++) {
        f(row, first, n * (ith + 1) / nth - first);
    }
}

float * floats(const ggml_tensor * x, int64_t row, int64_t first) {
    return (float *)((char *)x->data + (size_t)row * x->nb[1]) + first;
}

void compute_gelu_mul(ggml_tensor * dst, const ggml_tensor * gate, const ggml_tensor * up, int ith, int nth, void *) {
    share_rows(gate->ne[0], gate->ne[1], ith, nth, [&](int64_t row, int64_t first, int64_t n) {
        gelu_mul_floats(floats(gate, row, first), floats(up, row, first), floats(dst, row, first), n);
    });
}

void compute_soft_cap(ggml_tensor * dst, const ggml_tensor *, int ith, int nth, void * user_data) {
    float cap;
    std::memcpy(&cap, &user_data, sizeof(cap));
    share_rows(dst->ne[0], dst->ne[1], ith, nth,
               [&](int64_t row, int64_t first, int64_t n) { soft_cap_floats(floats(dst, row, first), cap, n); });
}

} // namespace

ggml_tensor * gelu_mul(ggml_context * ctx, bool on_cpu, ggml_tensor * gate, ggml_tensor * up) {
    if (on_cpu) { // ggml's own GELU on the CPU looks F16 values up: errors of 1e-2 in the logits
        return ggml_map_custom2(ctx, gate, up, compute_gelu_mul, GGML_N_TASKS_MAX, nullptr);
    }
    return ggml_geglu_split(ctx, gate, ggml_is_contiguous(up) ? up : ggml_cont(ctx, up));
}

ggml_tensor * soft_cap(ggml_context * ctx, bool on_cpu, ggml_tensor * x, float cap) {
    if (on_cpu) {
        void * user_data = nullptr; // carries the number itself: the node outlives this call
        std::memcpy(&user_data, &cap, sizeof(cap));
        return ggml_map_custom1_inplace(ctx, x, compute_soft_cap, GGML_N_TASKS_MAX, user_data);
    }
    x = ggml_scale(ctx, x, 1.0f / cap);
    return ggml_scale(ctx, ggml_tanh(ctx, x), cap);
}

} // namespace ga
