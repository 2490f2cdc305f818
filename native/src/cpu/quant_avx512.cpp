// Products of Q4_0 and Q8_0 matrices for AVX-512 processors with the VNNI dot product; see quant_kernels.h.
#include "cpu/cpu_target.h"

GA_EXCUSE_AVX512_HEADERS

#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"

#if GA_X86

GA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/tile_rows.h"

constexpr int kTileRows = 12; // 12 rows' sums, 8 registers of weights and what is in the making
constexpr int64_t kScaleBytes = 2;
constexpr int kAbreast = 4; // rows that are worked on side by side
constexpr int kParts = 8;   // of a block: 4 inputs each

// The 8 parts of a block for 16 outputs, as unsigned bytes.
template <ggml_type kType> inline void load_block(const uint8_t * quants, __m512i * w) {
    if constexpr (kType == GGML_TYPE_Q4_0) {
        const __m512i low = _mm512_set1_epi8(15);
        for (int i = 0; i < kParts / 2; i++) {
            const __m512i both = _mm512_loadu_si512(quants + 64 * i);
            w[i] = _mm512_and_si512(both, low);
            w[i + kParts / 2] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        }
    } else {
        for (int i = 0; i < kParts; i++) {
            w[i] = _mm512_loadu_si512(quants + 64 * i);
        }
    }
}

// kRows rows times 16 outputs. An output is summed in the same order for any number of rows.
template <ggml_type kType, int kRows>
inline void tile(const uint8_t * quants, const uint8_t * scales, int64_t n_out, const QuantRows & x, int64_t row,
                 float * out) {
    constexpr int64_t n_bytes = kType == GGML_TYPE_Q4_0 ? 256 : 512; // of a block of 16 outputs
    const int64_t n_blocks = x.n_in / kQuantBlock;
    const int8_t * q = x.quants + row * x.stride;
    const QuantBlock * of_x = x.blocks + row * n_blocks;
    __m512 sum[kRows];
    for (int i = 0; i < kRows; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (int64_t block = 0; block < n_blocks; block++) {
        __m512i w[kParts];
        load_block<kType>(quants + block * n_bytes, w);
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(scales + block * 32));
        const __m512 scale = _mm512_cvtph_ps(halves);
        if (kRows <= 8) { // few rows wait for memory: ask early, beyond what the processor does by itself
            for (int64_t i = 0; i < n_bytes; i += 64) {
                _mm_prefetch(reinterpret_cast<const char *>(quants + (block + 12) * n_bytes + i), _MM_HINT_T0);
            }
        }
        // Four rows at a time: an instruction's sum is there after four cycles, and one can start every cycle.
#pragma GCC unroll 3
        for (int i = 0; i < kRows; i += kAbreast) {
            const int n = kRows - i < kAbreast ? kRows - i : kAbreast;
            __m512i dot[kAbreast];
#pragma GCC unroll 4
            for (int j = 0; j < n; j++) {
                const int32_t start = of_x[(i + j) * n_blocks + block].zero_point;
                dot[j] = _mm512_set1_epi32(kType == GGML_TYPE_Q4_0 ? start : 16 * start); // 8 or 128 too much
            }
#pragma GCC unroll 8
            for (int part = 0; part < kParts; part++) {
#pragma GCC unroll 4
                for (int j = 0; j < n; j++) {
                    int32_t inputs;
                    __builtin_memcpy(&inputs, q + (i + j) * x.stride + block * kQuantBlock + 4 * part, sizeof(inputs));
                    dot[j] = _mm512_dpbusd_epi32(dot[j], w[part], _mm512_set1_epi32(inputs));
                }
            }
#pragma GCC unroll 4
            for (int j = 0; j < n; j++) {
                const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(of_x[(i + j) * n_blocks + block].scale));
                sum[i + j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[j]), factor, sum[i + j]);
            }
        }
    }
    for (int i = 0; i < kRows; i++) {
        _mm512_storeu_ps(out + (row + i) * n_out, sum[i]);
    }
}

void multiply_q4(const void * packed, int64_t n_out, const QuantRows & x, int64_t n_rows, int64_t first, int64_t n,
                 float * out) {
    const int64_t n_blocks = x.n_in / kQuantBlock;
    const auto * quants = static_cast<const uint8_t *>(packed);
    const auto * scales = quants + n_out * n_blocks * kQuantBlock / 2;
    for (int64_t row = 0; row < n_rows; row += kTileRows) {
        const int rows = n_rows - row < kTileRows ? static_cast<int>(n_rows - row) : kTileRows;
        for (int64_t group = first; group < first + n; group++) {
            with_rows<kTileRows>(rows, [&](auto n_tile) {
                tile<GGML_TYPE_Q4_0, n_tile.count>(quants + group * n_blocks * 256, scales + group * n_blocks * 32,
                                                   n_out, x, row, out + group * kQuantOutputs);
            });
        }
    }
}

// kRows rows times an output of a Q8_0 matrix as in a file: one stream of memory. The inputs of a block lie in the lanes of a
// register, and what the lanes hold is added up at the end; two blocks at a time, so that sums need not wait for each other.
template <int kRows>
inline void dot_q8(const uint8_t * weights, const QuantRows & x, int64_t row, int64_t n_out, float * out) {
    constexpr int64_t stride = kQuantBlock + kScaleBytes, ahead = 2048;
    const int64_t n_blocks = x.n_in / kQuantBlock;
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80)); // signed to unsigned, 128 more
    __m256 sum[kRows][2];
    for (int i = 0; i < kRows; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    }
    const auto add = [&](int64_t block, int which) __attribute__((always_inline)) {
        const uint8_t * at = weights + block * stride;
        uint16_t half;
        __builtin_memcpy(&half, at, sizeof(half));
        const float scale = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
        const __m256i file = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at + kScaleBytes));
        const __m256i w = _mm256_xor_si256(file, flip);
        _mm_prefetch(reinterpret_cast<const char *>(at + ahead), _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; i++) {
            const QuantBlock & of_x = x.blocks[(row + i) * n_blocks + block];
            const int8_t * from = x.quants + (row + i) * x.stride + block * kQuantBlock;
            const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
            const __m256i start =
                _mm256_zextsi128_si256(_mm_cvtsi32_si128(16 * of_x.zero_point)); // the 128, in one lane
            const __m256 dot = _mm256_cvtepi32_ps(_mm256_dpbusd_epi32(start, w, q));
            sum[i][which] = _mm256_fmadd_ps(dot, _mm256_set1_ps(scale * of_x.scale), sum[i][which]);
        }
    };
    int64_t block = 0;
    for (; block + 2 <= n_blocks; block += 2) {
        add(block, 0);
        add(block + 1, 1);
    }
    if (block < n_blocks) {
        add(block, 0);
    }
    for (int i = 0; i < kRows; i++) {
        const __m256 both = _mm256_add_ps(sum[i][0], sum[i][1]);
        __m128 s = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
        s = _mm_add_ps(s, _mm_movehl_ps(s, s));
        out[(row + i) * n_out] = _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
    }
}

// 16 rows of a file's matrix, n_blocks blocks each: quants side by side, 4 inputs of each row after the other, and scales.
// As pack_quant_group, but quicker, and quants are unsigned: 128 more.
inline void pack_group_q8(const uint8_t * from, int64_t n_blocks, uint8_t * quants, uint8_t * scales) {
    constexpr int64_t n_bytes = kQuantBlock, stride = n_bytes + kScaleBytes;
    const __m512i row = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i offset = _mm512_mullo_epi32(row, _mm512_set1_epi32(static_cast<int>(n_blocks * stride)));
    const __m512i flip = _mm512_set1_epi32(static_cast<int>(0x80808080));
    for (int64_t block = 0; block < n_blocks; block++, from += stride) {
        uint8_t * to = quants + block * n_bytes * kQuantOutputs;
        for (int64_t i = 0; i < n_bytes; i += 4) { // 4 inputs of 16 outputs
            const __m512i four = _mm512_i32gather_epi32(offset, from + kScaleBytes + i, 1);
            _mm512_storeu_si512(to + i * kQuantOutputs, _mm512_xor_si512(four, flip));
        }
        const __m256i halves = _mm512_cvtepi32_epi16(_mm512_i32gather_epi32(offset, from, 1));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(scales + block * kQuantOutputs * kScaleBytes), halves);
    }
}

void multiply_q8(const void * matrix, int64_t n_out, const QuantRows & x, int64_t n_rows, int64_t first, int64_t n,
                 float * out) {
    alignas(64) static thread_local uint8_t quants[kMaxQuantInputs * kQuantOutputs];
    alignas(64) static thread_local uint8_t scales[kMaxQuantInputs / kQuantBlock * kQuantOutputs * kScaleBytes];
    const int64_t n_blocks = x.n_in / kQuantBlock, stride = n_blocks * (kQuantBlock + kScaleBytes);
    for (int64_t group = first; group < first + n; group++) {
        const uint8_t * weights = static_cast<const uint8_t *>(matrix) + group * kQuantOutputs * stride;
        float * to = out + group * kQuantOutputs;
        if (n_rows <= kFewQuantRows) {
            for (int64_t o = 0; o < kQuantOutputs; o++) {
                for (int64_t row = 0; row < n_rows; row += kAbreast) {
                    const int rows = n_rows - row < kAbreast ? static_cast<int>(n_rows - row) : kAbreast;
                    with_rows<kAbreast>(
                        rows, [&](auto n_tile) { dot_q8<n_tile.count>(weights + o * stride, x, row, n_out, to + o); });
                }
            }
            continue;
        }
        pack_group_q8(weights, n_blocks, quants, scales);
        for (int64_t row = 0; row < n_rows; row += kTileRows) {
            const int rows = n_rows - row < kTileRows ? static_cast<int>(n_rows - row) : kTileRows;
            with_rows<kTileRows>(
                rows, [&](auto n_tile) { tile<GGML_TYPE_Q8_0, n_tile.count>(quants, scales, n_out, x, row, to); });
        }
    }
}

} // namespace

} // namespace ga

GA_TARGET_END

namespace ga {

// Outside of the region: what this instantiates of the standard library may be what the whole program uses.
const QuantClass & quant_avx512() {
    static const QuantClass avx512 = {"avx512",
                                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                                          __builtin_cpu_supports("avx2"),
                                      nullptr, // AVX2's does as well
                                      {{GGML_TYPE_Q4_0, true, multiply_q4}, {GGML_TYPE_Q8_0, false, multiply_q8}}};
    return avx512;
}

} // namespace ga

#else

namespace ga {

const QuantClass & quant_avx512() {
    static const QuantClass none = {"avx512", false, nullptr, {}};
    return none;
}

} // namespace ga

#endif
