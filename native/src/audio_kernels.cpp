// See audio_kernels.h. Everything up to the end of `namespace avx2` is compiled for AVX2, FMA and F16C whatever the rest of the
// library is compiled for, and only runs where audio_kernels() finds a processor that has them. No standard library
// templates there: what they instantiate could be linked in elsewhere.
#include "audio_kernels.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace ga {
namespace avx2 {

namespace {

// ---- eight floats ------------------------------------------------------------------------------------------------

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 6; // 12 of 16 registers hold the tile

inline Vec load(const float * p) {
    return _mm256_loadu_ps(p);
}
inline void store(float * p, Vec v) {
    _mm256_storeu_ps(p, v);
}
inline Vec set1(float x) {
    return _mm256_set1_ps(x);
}
inline Vec add(Vec a, Vec b) {
    return _mm256_add_ps(a, b);
}
inline Vec sub(Vec a, Vec b) {
    return _mm256_sub_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return _mm256_mul_ps(a, b);
}
inline Vec div(Vec a, Vec b) {
    return _mm256_div_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
inline Vec vmin(Vec a, Vec b) {
    return _mm256_min_ps(a, b);
}
inline Vec vmax(Vec a, Vec b) {
    return _mm256_max_ps(a, b);
}
inline Vec round_nearest(Vec x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^n for whole n in [-126, 127]
inline Vec exp_scale(Vec x, Vec n) {
    const __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return mul(x, _mm256_castsi256_ps(bits));
}
inline float sum(Vec v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline Vec load_f16(const uint16_t * p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
inline Vec load_bf16(const uint16_t * p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline void transpose(Vec * r) {
    Vec pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
}

constexpr int kPanel = 2 * kLanes; // outputs of a register tile
constexpr int kDepth = 512;        // inputs of a packed panel: 32 KiB
constexpr int kMaxPanels = 4;      // panels packed together, 128 KiB of the second-level cache
constexpr int kBlockRows = 24;     // tokens that stay in the second-level cache while all packed panels pass over them

// e^x for all x, about 1 ulp: 2^n e^r with |r| <= ln 2 / 2.
inline Vec vexp(Vec x) {
    x = vmin(vmax(x, set1(-87.3f)), set1(88.3f));
    const Vec n = round_nearest(mul(x, set1(1.44269504f)));
    Vec r = fma(n, set1(-0.693145752f), x);
    r = fma(n, set1(-1.42860677e-6f), r);
    Vec p = set1(1.9875691500e-4f);
    p = fma(p, r, set1(1.3981999507e-3f));
    p = fma(p, r, set1(8.3334519073e-3f));
    p = fma(p, r, set1(4.1665795894e-2f));
    p = fma(p, r, set1(1.6666665459e-1f));
    p = fma(p, r, set1(5.0000001201e-1f));
    p = fma(p, mul(r, r), add(r, set1(1.0f)));
    return exp_scale(p, n);
}

inline Vec vsigmoid(Vec x) {
    return div(set1(1.0f), add(set1(1.0f), vexp(sub(set1(0.0f), x))));
}

inline Vec clamp(Vec x, Vec min, Vec max) {
    return vmin(vmax(x, min), max);
}

// ---- reading weights --------------------------------------------------------------------------------------------

inline float bf16_value(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &wide, sizeof(value));
    return value;
}

struct ReadF32 {
    using Type = float;
    static Vec vec(const Type * p) { return load(p); }
    static float one(const Type * p) { return *p; }
};
struct ReadF16 {
    using Type = uint16_t;
    static Vec vec(const Type * p) { return load_f16(p); }
    static float one(const Type * p) {
        uint16_t copy[kLanes] = {*p};
        float values[kLanes];
        store(values, load_f16(copy));
        return values[0];
    }
};
struct ReadBf16 {
    using Type = uint16_t;
    static Vec vec(const Type * p) { return load_bf16(p); }
    static float one(const Type * p) { return bf16_value(*p); }
};

// ---- products ---------------------------------------------------------------------------------------------------

inline const float * row_at(const RowsIn & x, int64_t r) {
    if (r < x.group) { // the usual case, without the division
        return x.data + r * x.stride;
    }
    return x.data + r / x.group * x.group_stride + r % x.group * x.stride;
}

// What follows a product, on kLanes outputs from `at` on.
inline Vec finish(const MatmulArgs & args, Vec v) {
    v = clamp(v, set1(args.min), set1(args.max));
    if (args.silu) {
        v = clamp(mul(v, vsigmoid(v)), set1(args.silu_min), set1(args.silu_max));
    }
    return v;
}

// packed[k][panel] = weight[first_out + i][first_in + k], zeros beyond the last output. The next weights to be packed are
// `ahead` of these.
template <typename Read>
void pack(const MatmulArgs & args, const void * weights, int64_t first_out, int64_t first_in, int depth, int64_t ahead,
          float * packed) {
    const typename Read::Type * weight = static_cast<const typename Read::Type *>(weights);
    for (int half = 0; half < 2; half++) {
        const int64_t out = first_out + half * kLanes;
        const int n = out >= args.n_out ? 0 : args.n_out - out < kLanes ? static_cast<int>(args.n_out - out) : kLanes;
        float * to = packed + half * kLanes;
        int k = 0;
        if (n == kLanes) {
            for (; k + kLanes <= depth; k += kLanes) {
                Vec square[kLanes];
                for (int i = 0; i < kLanes; i++) {
                    const typename Read::Type * from = weight + (out + i) * args.n_in + first_in + k;
                    square[i] = Read::vec(from);
                    if (k % (64 / static_cast<int>(sizeof(*from))) == 0) { // a cache line of what is packed next
                        __builtin_prefetch(from + ahead);
                    }
                }
                transpose(square);
                for (int i = 0; i < kLanes; i++) {
                    store(to + (k + i) * kPanel, square[i]);
                }
            }
        }
        for (; k < depth; k++) {
            for (int i = 0; i < kLanes; i++) {
                to[k * kPanel + i] = i < n ? Read::one(weight + (out + i) * args.n_in + first_in + k) : 0.0f;
            }
        }
    }
}

// A register tile: kRows tokens x one panel of outputs, over `depth` inputs. Each depth is summed by itself before it is added to
// what is there: less rounding than one long sum.
// Whatever the number of rows, an output is summed in the same order: so any slicing of a clip gives the same bits.
template <int kRows>
inline void tile(const float * const * x, const float * packed, int depth, const MatmulArgs & args, int64_t row,
                 int64_t out, bool first, bool last) {
    Vec c[kRows][2];
    const int64_t n_out = args.n_out;
    const bool whole = out + kPanel <= n_out;
    float edge[kRows * kPanel];
    float * to = args.out + row * n_out + out;
    int64_t stride = n_out;
    if (!whole) { // the last panel of outputs sticks out
        for (int i = 0; i < kRows; i++) {
            for (int64_t j = 0; j < kPanel; j++) {
                edge[i * kPanel + j] = !first && out + j < n_out ? to[i * n_out + j] : 0.0f;
            }
        }
        to = edge;
        stride = kPanel;
    }
    for (int i = 0; i < kRows; i++) {
        c[i][0] = set1(0.0f);
        c[i][1] = set1(0.0f);
    }
#pragma GCC unroll 4
    for (int k = 0; k < depth; k++) {
        const Vec w0 = load(packed + k * kPanel), w1 = load(packed + k * kPanel + kLanes);
        for (int i = 0; i < kRows; i++) {
            const Vec v = set1(x[i][k]);
            c[i][0] = fma(v, w0, c[i][0]);
            c[i][1] = fma(v, w1, c[i][1]);
        }
    }
    for (int i = 0; !first && i < kRows; i++) {
        c[i][0] = add(c[i][0], load(to + i * stride));
        c[i][1] = add(c[i][1], load(to + i * stride + kLanes));
    }
    if (last) {
        for (int half = 0; half < 2; half++) {
            Vec bias = set1(0.0f);
            if (args.bias) {
                float values[kLanes];
                for (int j = 0; j < kLanes; j++) {
                    const int64_t at = out + half * kLanes + j;
                    values[j] = at < n_out ? args.bias[at] : 0.0f;
                }
                bias = load(values);
            }
            for (int i = 0; i < kRows; i++) {
                c[i][half] = finish(args, add(c[i][half], bias));
            }
        }
    }
    for (int i = 0; i < kRows; i++) {
        store(to + i * stride, c[i][0]);
        store(to + i * stride + kLanes, c[i][1]);
    }
    if (!whole) {
        for (int i = 0; i < kRows; i++) {
            for (int64_t j = 0; out + j < n_out; j++) {
                args.out[(row + i) * n_out + out + j] = edge[i * kPanel + j];
            }
        }
    }
}

template <int kRows>
inline void tile_of(int n, const float * const * x, const float * packed, int depth, const MatmulArgs & args,
                    int64_t row, int64_t out, bool first, bool last) {
    if constexpr (kRows > 1) {
        if (n < kRows) {
            tile_of<kRows - 1>(n, x, packed, depth, args, row, out, first, last);
            return;
        }
    }
    tile<kRows>(x, packed, depth, args, row, out, first, last);
}

template <typename Read> void matmul_packed(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    alignas(64) static thread_local float packed[kMaxPanels * kPanel * kDepth];
    const int group = args.x.n <= kBlockRows ? 1 : kMaxPanels; // few tokens: rather read the weights in order
    for (int64_t start = first_panel; start < first_panel + n_panels; start += group) {
        const int64_t left = first_panel + n_panels - start;
        const int n = left < group ? static_cast<int>(left) : group;
        for (int w = 0; w < args.n_weights; w++) {
            for (int64_t in = 0; in < args.n_in; in += kDepth) {
                const int depth = args.n_in - in < kDepth ? static_cast<int>(args.n_in - in) : kDepth;
                const bool first = w == 0 && in == 0;
                const bool last = w == args.n_weights - 1 && in + depth == args.n_in;
                for (int p = 0; p < n; p++) {
                    const bool along = n == 1 && in + depth < args.n_in;
                    const int64_t ahead = along ? depth : n == 1 ? kPanel * args.n_in - in : kPanel * args.n_in;
                    pack<Read>(args, args.weight[w], (start + p) * kPanel, in, depth, ahead,
                               packed + p * kPanel * kDepth);
                }
                for (int64_t block = 0; block < args.x.n; block += kBlockRows) {
                    const int64_t block_end = block + kBlockRows < args.x.n ? block + kBlockRows : args.x.n;
                    for (int p = 0; p < n; p++) {
                        for (int64_t row = block; row < block_end; row += kTileRows) {
                            const int rows =
                                block_end - row < kTileRows ? static_cast<int>(block_end - row) : kTileRows;
                            const float * x[kTileRows];
                            for (int i = 0; i < rows; i++) {
                                x[i] = row_at(args.x, row + i) + args.x_offset[w] + in;
                            }
                            tile_of<kTileRows>(rows, x, packed + p * kPanel * kDepth, depth, args, row,
                                               (start + p) * kPanel, first, last);
                        }
                    }
                }
            }
        }
    }
}

// For very few tokens, a square of weights is used where it was transposed, in registers. Sums in the order of tile().
template <typename Read, int kRows> void matmul_few(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    const int64_t end = (first_panel + n_panels) * kPanel < args.n_out ? (first_panel + n_panels) * kPanel : args.n_out;
    for (int64_t out = first_panel * kPanel; out < end; out += kLanes) {
        Vec total[kRows];
        for (int i = 0; i < kRows; i++) {
            total[i] = set1(0.0f);
        }
        for (int w = 0; w < args.n_weights; w++) {
            const auto * weight = static_cast<const typename Read::Type *>(args.weight[w]) + out * args.n_in;
            const float * x[kRows];
            for (int i = 0; i < kRows; i++) {
                x[i] = row_at(args.x, i) + args.x_offset[w];
            }
            for (int64_t in = 0; in < args.n_in; in += kDepth) {
                const int64_t in_end = args.n_in - in < kDepth ? args.n_in : in + kDepth;
                Vec c[kRows];
                for (int i = 0; i < kRows; i++) {
                    c[i] = set1(0.0f);
                }
                for (int64_t k = in; k < in_end; k += kLanes) {
                    Vec square[kLanes];
                    for (int j = 0; j < kLanes; j++) {
                        square[j] = Read::vec(weight + j * args.n_in + k);
                        __builtin_prefetch(weight + j * args.n_in + k + kLanes * args.n_in);
                    }
                    transpose(square);
                    for (int j = 0; j < kLanes; j++) {
                        for (int i = 0; i < kRows; i++) {
                            c[i] = fma(set1(x[i][k + j]), square[j], c[i]);
                        }
                    }
                }
                for (int i = 0; i < kRows; i++) {
                    total[i] = add(c[i], total[i]);
                }
            }
        }
        const Vec bias = args.bias ? load(args.bias + out) : set1(0.0f);
        for (int i = 0; i < kRows; i++) {
            store(args.out + i * args.n_out + out, finish(args, add(total[i], bias)));
        }
    }
}

template <typename Read> void matmul_as(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    const bool whole = args.n_in % kLanes == 0 && args.n_out % kLanes == 0;
    if (whole && args.x.n == 1) {
        matmul_few<Read, 1>(args, first_panel, n_panels);
    } else if (whole && args.x.n == 2) {
        matmul_few<Read, 2>(args, first_panel, n_panels);
    } else {
        matmul_packed<Read>(args, first_panel, n_panels);
    }
}

void matmul(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    if (args.type == GGML_TYPE_BF16) {
        matmul_as<ReadBf16>(args, first_panel, n_panels);
    } else if (args.type == GGML_TYPE_F16) {
        matmul_as<ReadF16>(args, first_panel, n_panels);
    } else {
        matmul_as<ReadF32>(args, first_panel, n_panels);
    }
}

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

const AudioKernels kernels = {kPanel,         matmul,    rms_norm, add_rms_norm,   glu,
                              conv_norm_silu, attention, conv0,    layer_norm_relu};

} // namespace
} // namespace avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const AudioKernels * audio_kernels() {
    // Every processor with AVX2 and FMA converts F16 too.
    static const bool present = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return present ? &avx2::kernels : nullptr;
}

} // namespace ga

#else

namespace ga {

const AudioKernels * audio_kernels() {
    return nullptr;
}

} // namespace ga

#endif
