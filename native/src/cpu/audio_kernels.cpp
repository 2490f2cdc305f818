// See audio_kernels.h. What surrounds the products, for AVX2.
#include "cpu/audio_kernels.h"

#include "cpu/audio_matmul.h"
#include "cpu/cpu_class.h"
#include "cpu/cpu_target.h"

#if GA_X86

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

GA_TARGET_BEGIN("avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/simd_256.h"

// ---- rows -------------------------------------------------------------------------------------------------------

// f(i, mask) over a row: whole vectors, then one partial one through a small buffer.
template <typename Function> inline void for_vectors(int64_t n, Function f) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        f(i, kLanes);
    }
    if (i < n) {
        f(i, static_cast<int>(n - i));
    }
}

inline Vec load_n(const float * p, int n) {
    if (n == kLanes) {
        return load(p);
    }
    float values[kLanes] = {};
    for (int i = 0; i < n; i++) {
        values[i] = p[i];
    }
    return load(values);
}

inline void store_n(float * p, Vec v, int n) {
    if (n == kLanes) {
        store(p, v);
        return;
    }
    float values[kLanes];
    store(values, v);
    for (int i = 0; i < n; i++) {
        p[i] = values[i];
    }
}

inline float rms_factor(const float * x, float eps, int64_t n) {
    Vec total = set1(0.0f);
    for_vectors(n, [&](int64_t i, int m) {
        const Vec v = load_n(x + i, m);
        total = fma(v, v, total);
    });
    return 1.0f / __builtin_sqrtf(sum(total) / static_cast<float>(n) + eps);
}

void rms_norm(const float * x, const float * weight, float eps, float min, float max, int64_t n, float * out) {
    const Vec factor = set1(rms_factor(x, eps, n));
    const Vec low = set1(min), high = set1(max);
    for_vectors(n, [&](int64_t i, int m) {
        Vec v = mul(load_n(x + i, m), factor);
        if (weight) {
            v = mul(v, load_n(weight + i, m));
        }
        store_n(out + i, clamp(v, low, high), m);
    });
}

void add_rms_norm(const float * x, const float * h, const float * weight, float eps, float scale, int64_t n,
                  float * out) {
    const Vec factor = set1(weight ? scale * rms_factor(h, eps, n) : scale);
    for_vectors(n, [&](int64_t i, int m) {
        Vec v = mul(load_n(h + i, m), factor);
        if (weight) {
            v = mul(v, load_n(weight + i, m));
        }
        store_n(out + i, add(load_n(x + i, m), v), m);
    });
}

void glu(const float * h, int64_t n, float * out) {
    for_vectors(n,
                [&](int64_t i, int m) { store_n(out + i, mul(load_n(h + i, m), vsigmoid(load_n(h + n + i, m))), m); });
}

void conv_norm_silu(const float * const * rows, int n_taps, const float * kernel, const float * weight, float eps,
                    float min, float max, int64_t n, float * out) {
    for_vectors(n, [&](int64_t i, int m) {
        Vec v = set1(0.0f);
        for (int tap = 0; tap < n_taps; tap++) {
            v = fma(load_n(rows[tap] + i, m), load_n(kernel + tap * n + i, m), v);
        }
        store_n(out + i, v, m);
    });
    const Vec factor = set1(weight ? rms_factor(out, eps, n) : 1.0f);
    const Vec low = set1(min), high = set1(max);
    for_vectors(n, [&](int64_t i, int m) {
        Vec v = mul(load_n(out + i, m), factor);
        if (weight) {
            v = mul(v, load_n(weight + i, m));
        }
        store_n(out + i, clamp(mul(v, vsigmoid(v)), low, high), m);
    });
}

void attention(const AttentionArgs & args, const float * q, const float * const * keys, const float * const * values,
               int n_keys, float * out) {
    constexpr int kMaxWindow = 16;
    const int64_t dim = args.head_dim;
    const Vec low = set1(args.min), high = set1(args.max);
    for (int64_t head = 0; head < args.n_head; head++) {
        const int64_t at = head * dim;
        // The key of the distance of keys[j] is rel[j].
        const float * rel = args.rel_keys ? args.rel_keys + (head * args.window + args.window - n_keys) * dim : nullptr;
        float logits[kMaxWindow];
        for (int j = 0; j < n_keys; j++) {
            Vec content = set1(0.0f), position = set1(0.0f);
            for_vectors(dim, [&](int64_t i, int m) {
                const Vec v = mul(load_n(q + at + i, m), load_n(args.q_scale + i, m));
                content = fma(v, load_n(keys[j] + at + i, m), content);
                if (rel) {
                    position = fma(v, load_n(rel + j * dim + i, m), position);
                }
            });
            logits[j] = sum(content) * args.k_scale + sum(position);
        }
        for (int j = n_keys; j < kMaxWindow; j++) {
            logits[j] = 0.0f;
        }
        // cap tanh(x / cap), less its upper bound: then no maximum is needed before e^x.
        for (int j = 0; j < n_keys; j += kLanes) {
            const Vec x = mul(load(logits + j), set1(2.0f / args.soft_cap));
            const Vec tanh = sub(set1(1.0f), div(set1(2.0f), add(vexp(x), set1(1.0f))));
            store(logits + j, mul(tanh, set1(args.soft_cap)));
        }
        float largest = logits[0];
        for (int j = 1; j < n_keys; j++) {
            largest = logits[j] > largest ? logits[j] : largest;
        }
        for (int j = 0; j < n_keys; j += kLanes) {
            store(logits + j, vexp(sub(load(logits + j), set1(largest))));
        }
        float total = 0.0f;
        for (int j = 0; j < n_keys; j++) {
            total += logits[j];
        }
        const float scale = 1.0f / total;
        for_vectors(dim, [&](int64_t i, int m) {
            Vec v = set1(0.0f);
            for (int j = 0; j < n_keys; j++) {
                v = fma(set1(logits[j] * scale), load_n(values[j] + at + i, m), v);
            }
            store_n(out + at + i, clamp(v, low, high), m);
        });
    }
}

// ---- subsampling ------------------------------------------------------------------------------------------------

void layer_norm_relu(const float * x, const float * weight, float eps, int64_t n, float * out) {
    if (!weight) {
        for_vectors(n, [&](int64_t i, int m) { store_n(out + i, vmax(load_n(x + i, m), set1(0.0f)), m); });
        return;
    }
    Vec total = set1(0.0f);
    for_vectors(n, [&](int64_t i, int m) { total = add(total, load_n(x + i, m)); });
    const float mean = sum(total) / static_cast<float>(n);
    float squares = 0.0f;
    Vec square = set1(0.0f);
    for_vectors(n, [&](int64_t i, int m) {
        const Vec v = sub(load_n(x + i, m), set1(mean));
        if (m == kLanes) {
            square = fma(v, v, square);
        } else {
            float values[kLanes];
            store(values, mul(v, v));
            for (int j = 0; j < m; j++) {
                squares += values[j];
            }
        }
    });
    const Vec factor = set1(1.0f / __builtin_sqrtf((sum(square) + squares) / static_cast<float>(n) + eps));
    for_vectors(n, [&](int64_t i, int m) {
        const Vec v = mul(mul(sub(load_n(x + i, m), set1(mean)), factor), load_n(weight + i, m));
        store_n(out + i, vmax(v, set1(0.0f)), m);
    });
}

void conv0(const float * const * frames, int64_t n_positions, const float * kernel, const float * weight, float eps,
           int64_t n_channels, float * out) {
    for (int64_t p = 0; p < n_positions; p++) {
        float patch[9];
        for (int t = 0; t < 3; t++) {
            for (int m = 0; m < 3; m++) {
                const int64_t mel = 2 * p - 1 + m;
                patch[3 * t + m] = frames[t] && mel >= 0 && mel < 2 * n_positions ? frames[t][mel] : 0.0f;
            }
        }
        float * to = out + p * n_channels;
        for_vectors(n_channels, [&](int64_t i, int m) {
            Vec v = set1(0.0f);
            for (int tap = 0; tap < 9; tap++) {
                v = fma(set1(patch[tap]), load_n(kernel + tap * n_channels + i, m), v);
            }
            store_n(to + i, v, m);
        });
        layer_norm_relu(to, weight, eps, n_channels, to);
    }
}

} // namespace

GA_TARGET_END

namespace {

// Seconds that a product of a few tokens takes, the best of some runs.
double seconds_of(void (*matmul)(const MatmulArgs &, int64_t, int64_t), const MatmulArgs & args, int64_t n_panels) {
    using Clock = std::chrono::steady_clock;
    double best = 1.0;
    for (int i = 0; i < 5; i++) {
        const auto start = Clock::now();
        matmul(args, 0, n_panels);
        best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
}

// Whether BF16 dot products gain on this processor. There are some that do them at half the speed of f32 products, which are more exact.
// Takes a fraction of a millisecond.
bool bf16_gains() {
    constexpr int64_t n_in = 512, n_out = 64, n_rows = 96;
    constexpr double least_gain = 1.25;
    const std::vector<uint16_t> weights(n_in * n_out, 0x3f80), rounded(n_in * n_rows, 0x3f80); // ones
    const std::vector<float> x(n_in * n_rows, 1.0f);
    std::vector<float> out(n_out * n_rows);
    MatmulArgs args;
    args.weight[0] = weights.data();
    args.type = GGML_TYPE_BF16;
    args.n_in = n_in;
    args.n_out = n_out;
    args.x.n = n_rows;
    args.x.stride = n_in;
    args.x.data = x.data();
    args.x_bf16 = rounded.data();
    args.out = out.data();
    args.min = -INFINITY;
    args.max = INFINITY;
    return seconds_of(matmul_avx512, args, n_out / kPanelAvx512) >
           least_gain * seconds_of(matmul_bf16, args, n_out / kPanelBf16);
}

} // namespace

const AudioKernels * audio_kernels() {
    static const bool present = may_use_avx2(), wide = may_use_avx512(), bf16 = may_use_avx512bf16() && bf16_gains();
    static const AudioKernels kernels = {wide ? kPanelAvx512 : kPanelAvx2,
                                         wide ? matmul_avx512 : matmul_avx2,
                                         kPanelBf16,
                                         bf16 ? matmul_bf16 : nullptr,
                                         round_bf16,
                                         rms_norm,
                                         add_rms_norm,
                                         glu,
                                         conv_norm_silu,
                                         attention,
                                         conv0,
                                         layer_norm_relu};
    return present ? &kernels : nullptr;
}

} // namespace ga

#else

namespace ga {

const AudioKernels * audio_kernels() {
    return nullptr;
}

} // namespace ga

#endif
