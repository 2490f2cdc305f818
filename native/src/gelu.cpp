#include "gelu.h"

#include <algorithm>
#include <cstring>

namespace ga {

namespace {

#if defined(__GNUC__)
#define GA_INLINE inline __attribute__((always_inline))
#else
#define GA_INLINE inline
#endif

// e^x for x in [-87, 87]: 2^n * e^r with |r| <= ln2/2 and a degree-6 Taylor polynomial; relative error below 2e-7.
// Straight-line arithmetic only, so that compilers turn the loop around it into vector code.
GA_INLINE float exp_f32(float x) {
    const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; // adding 1.5 * 2^23 rounds to the nearest whole
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;   // ln2 in two parts
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

// 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)   (Hendrycks & Gimpel 2016, eq. for tanh)
GA_INLINE void gelu_mul_row(const float * gate, const float * up, float * out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float x = gate[i];
        float z = -1.5957691216f * (x + 0.044715f * x * x * x);
        z = z > -87.0f ? z : -87.0f; // also where z is no number; x then carries that on
        z = z < 87.0f ? z : 87.0f;
        out[i] = x / (1.0f + exp_f32(z)) * up[i];
    }
}

using RowFunction = void (*)(const float *, const float *, float *, int64_t);

void gelu_mul_row_any(const float * gate, const float * up, float * out, int64_t n) {
    gelu_mul_row(gate, up, out, n);
}

#if defined(__GNUC__) && defined(__x86_64__)
__attribute__((target("avx2,fma"))) void gelu_mul_row_avx2(const float * gate, const float * up, float * out,
                                                           int64_t n) {
    gelu_mul_row(gate, up, out, n);
}
#endif

RowFunction best_row_function() {
#if defined(__GNUC__) && defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return gelu_mul_row_avx2;
    }
#endif
    return gelu_mul_row_any;
}

void compute(ggml_tensor * dst, const ggml_tensor * gate, const ggml_tensor * up, int ith, int nth, void *) {
    static const RowFunction row_function = best_row_function();
    const int64_t n = gate->ne[0];
    const int64_t rows = gate->ne[1];
    if (rows >= nth) {
        for (int64_t row = rows * ith / nth; row < rows * (ith + 1) / nth; row++) {
            row_function((const float *)((const char *)gate->data + row * gate->nb[1]),
                         (const float *)((const char *)up->data + row * up->nb[1]),
                         (float *)((char *)dst->data + row * dst->nb[1]), n);
        }
        return;
    }
    const int64_t first = n * ith / nth; // few rows (decode): threads split each row instead
    const int64_t last = n * (ith + 1) / nth;
    for (int64_t row = 0; row < rows; row++) {
        row_function((const float *)((const char *)gate->data + row * gate->nb[1]) + first,
                     (const float *)((const char *)up->data + row * up->nb[1]) + first,
                     (float *)((char *)dst->data + row * dst->nb[1]) + first, last - first);
    }
}

} // namespace

ggml_tensor * gelu_mul(ggml_context * ctx, const Backend & backend, ggml_tensor * gate, ggml_tensor * up) {
    if (backend.is_cpu()) {
        return ggml_map_custom2(ctx, gate, up, compute, GGML_N_TASKS_MAX, nullptr);
    }
    return ggml_geglu_split(ctx, gate, ggml_is_contiguous(up) ? up : ggml_cont(ctx, up));
}

} // namespace ga
