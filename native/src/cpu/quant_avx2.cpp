// Products of quantised matrices for AVX2; see quant_kernels.h.
#include "cpu/cpu_target.h"
#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"

#if GA_X86

GA_TARGET_BEGIN("avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/quant_avx2_blocks.h"

constexpr int kTileRows = 16; // rows that a block of weights meets once it is in registers
// So few rows wait for memory. It is asked early, beyond what the processor does by itself: a third faster on Zen 3.
constexpr int64_t kWaitingRows = 8, kBytesAhead = 4096;
constexpr int kAbreast = 4;
constexpr int kHalves = 2; // of a group: 8 outputs a register

inline __m256i broadcast(const void * p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
}

// Keeps a sum where it is: the compiler would add in another order that needs more registers than there are.
inline void settle(__m256i & sum) {
    __asm__("" : "+x"(sum));
}

// kRows rows times a block of all 16 outputs, added to their sums. A part of the weights meets all rows before the next one, and 4
// inputs of a row, once broadcast, both halves of the outputs.
template <ggml_type kType, int kRows>
inline void add_rows(const BlockRegisters (&block)[kHalves], const int8_t * q, int64_t stride, const QuantBlock * of_x,
                     int64_t n_blocks, __m256 (*sum)[kHalves]) {
    constexpr int kSums = kInHalves<kType> ? 2 : 1, kPartsOfSum = kParts / kSums;
    __m256i total[kRows][kHalves];
#pragma GCC unroll 2
    for (int which = 0; which < kSums; which++) {
        __m256i dot[kRows][kHalves];
#pragma GCC unroll 4
        for (int i = 0; i < kRows; i++) {
            // Q6_K's quants are 32 too large; wrapping around in 16 bits, sums that start at -32 sums of x end right.
            dot[i][0] = kType == GGML_TYPE_Q6_K ? broadcast(&of_x[i * n_blocks].pairs[which]) : _mm256_setzero_si256();
            dot[i][1] = dot[i][0];
        }
#pragma GCC unroll 8
        for (int part = which * kPartsOfSum; part < (which + 1) * kPartsOfSum; part++) {
#pragma GCC unroll 4
            for (int i = 0; i < kRows; i++) {
                const __m256i inputs = broadcast(q + i * stride + 4 * part);
#pragma GCC unroll 2
                for (int half = 0; half < kHalves; half++) {
                    const __m256i w = block[half].w[part];
                    if constexpr (kSigned<kType>) { // |w| * (x with the sign of w)
                        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(inputs, w));
                        dot[i][half] = _mm256_add_epi32(dot[i][half], _mm256_madd_epi16(pairs, block[half].factor[0]));
                    } else {
                        dot[i][half] = _mm256_add_epi16(dot[i][half], _mm256_maddubs_epi16(w, inputs));
                    }
                    settle(dot[i][half]);
                }
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 2
            for (int half = 0; half < kHalves; half++) {
                const __m256i scaled =
                    kSigned<kType> ? dot[i][half] : _mm256_madd_epi16(dot[i][half], block[half].factor[which]);
                total[i][half] = which == 0 ? scaled : _mm256_add_epi32(total[i][half], scaled);
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; i++) {
        const QuantBlock & x = of_x[i * n_blocks];
#pragma GCC unroll 2
        for (int half = 0; half < kHalves; half++) {
            if constexpr (kType == GGML_TYPE_Q4_0) {
                total[i][half] = _mm256_add_epi32(total[i][half], broadcast(&x.zero_point));
            }
            const __m256 scale = _mm256_mul_ps(block[half].scale, _mm256_broadcast_ss(&x.scale));
            __m256 & to = sum[i][half];
            to = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total[i][half]), scale, to);
            if constexpr (kHasMin<kType>) {
                to = _mm256_fnmadd_ps(block[half].min, _mm256_broadcast_ss(&x.sum), to);
            }
        }
    }
}

// kMost rows at most, [row, row + n_rows), times a group. An output is summed in the same order for any number of rows.
template <ggml_type kType, int kMost>
inline void tile(const QuantGroup & group, int64_t n_out, const QuantRows & x, int64_t row, int64_t n_rows,
                 float * out) {
    constexpr QuantLayout layout = quant_layout(kType);
    constexpr int64_t per_unit = layout.unit / kQuantBlock;
    const int64_t n_blocks = x.n_in / kQuantBlock;
    __m256 sum[kMost][kHalves];
    for (int64_t i = 0; i < n_rows; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        const uint8_t * quants = group.quants + b * layout.block_bytes;
        const uint8_t * scales = group.scales + b / per_unit * layout.scale_bytes;
        if (n_rows <= kWaitingRows) {
            for (int64_t i = 0; i < layout.block_bytes; i += 64) {
                _mm_prefetch(reinterpret_cast<const char *>(quants + kBytesAhead + i), _MM_HINT_T0);
            }
        }
        BlockRegisters block[kHalves];
#pragma GCC unroll 2
        for (int64_t half = 0; half < kHalves; half++) {
            load_quants<kType>(quants + 32 * half, block[half]);
            load_scales<kType>(scales, b % per_unit, 8 * half, block[half]);
        }
        const int8_t * q = x.quants + row * x.stride + b * kQuantBlock;
        const QuantBlock * of_x = x.blocks + row * n_blocks + b;
        if constexpr (kMost <= kAbreast) {
            add_rows<kType, kMost>(block, q, x.stride, of_x, n_blocks, sum);
        } else {
            int64_t i = 0;
            for (; i + kAbreast <= n_rows; i += kAbreast) {
                add_rows<kType, kAbreast>(block, q + i * x.stride, x.stride, of_x + i * n_blocks, n_blocks, sum + i);
            }
            for (; i < n_rows; i++) {
                add_rows<kType, 1>(block, q + i * x.stride, x.stride, of_x + i * n_blocks, n_blocks, sum + i);
            }
        }
    }
    for (int64_t i = 0; i < n_rows; i++) {
        _mm256_storeu_ps(out + (row + i) * n_out, sum[i][0]);
        _mm256_storeu_ps(out + (row + i) * n_out + 8, sum[i][1]);
    }
}

template <ggml_type kType>
void multiply_group(const QuantGroup & group, int64_t n_out, const QuantRows & x, int64_t row, int64_t n_rows,
                    float * out) {
    switch (n_rows) {
    case 1:
        return tile<kType, 1>(group, n_out, x, row, 1, out);
    case 2:
        return tile<kType, 2>(group, n_out, x, row, 2, out);
    case 4:
        return tile<kType, 4>(group, n_out, x, row, 4, out);
    default:
        return tile<kType, kTileRows>(group, n_out, x, row, n_rows, out);
    }
}

template <ggml_type kType>
void multiply_packed(const void * packed, int64_t n_out, const QuantRows & x, int64_t n_rows, int64_t first, int64_t n,
                     float * out) {
    for (int64_t row = 0; row < n_rows; row += kTileRows) {
        const int64_t rows = n_rows - row < kTileRows ? n_rows - row : kTileRows;
        for (int64_t group = first; group < first + n; group++) {
            multiply_group<kType>(quant_group(kType, packed, x.n_in, n_out, group), n_out, x, row, rows,
                                  out + group * kQuantOutputs);
        }
    }
}

// ---- rows of x ---------------------------------------------------------------------------------------------------

inline uint32_t largest_of(__m256i sizes) {
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(sizes), _mm256_extracti128_si256(sizes, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(m));
}

inline void quantise_block(const float * x, int8_t * quants, QuantBlock & block) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 v[4];
    __m256i sizes = _mm256_setzero_si256();
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        // As integers, magnitudes have the same order, and what is no number is the largest.
        sizes = _mm256_max_epu32(sizes, _mm256_castps_si256(_mm256_andnot_ps(sign, v[i])));
    }
    const uint32_t bits = largest_of(sizes);
    float largest;
    __builtin_memcpy(&largest, &bits, sizeof(largest));
    const __m256 inverse = _mm256_set1_ps(largest > kLeastLargest ? 127.0f / largest : 0.0f);
    __m256i n[4];
    for (int i = 0; i < 4; i++) {
        n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
    }
    const __m256i words = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
    const __m256i q = _mm256_permutevar8x32_epi32(words, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(quants), q);

    // Two sums in each 32 bits: of inputs 0 and 1 modulo 4, and of 2 and 3; first of 4 inputs, then of 16.
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    pairs = _mm256_add_epi16(pairs, _mm256_shuffle_epi32(pairs, 0x4e));
    pairs = _mm256_add_epi16(pairs, _mm256_shuffle_epi32(pairs, 0xb1));
    const __m256i halves = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    const __m256i less = _mm256_mullo_epi16(pairs, _mm256_set1_epi16(-32));
    const int sum = _mm256_extract_epi32(halves, 0) + _mm256_extract_epi32(halves, 4);

    const float scale = largest / 127.0f;
    const float half = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(scale), _MM_FROUND_TO_NEAREST_INT)));
    block.scale = is_whole_half(half) ? half : scale;
    block.sum = block.scale * static_cast<float>(sum);
    block.zero_point = -8 * sum;
    block.pairs[0] = _mm256_extract_epi32(less, 0);
    block.pairs[1] = _mm256_extract_epi32(less, 4);
}

void quantise(const float * x, int64_t n_in, int8_t * quants, QuantBlock * blocks) {
    for (int64_t b = 0; b < n_in / kQuantBlock; b++) {
        quantise_block(x + b * kQuantBlock, quants + b * kQuantBlock, blocks[b]);
    }
}

} // namespace

} // namespace ga

GA_TARGET_END

namespace ga {

// Outside of the region: what this instantiates of the standard library may be what the whole program uses.
const QuantClass & quant_avx2() {
    static const QuantClass avx2 = {"avx2",
                                    __builtin_cpu_supports("avx2") &&
                                        __builtin_cpu_supports("fma"), // all of them have F16C
                                    quantise, GA_QUANT_KERNELS(multiply_packed)};
    return avx2;
}

} // namespace ga

#else

namespace ga {

const QuantClass & quant_avx2() {
    static const QuantClass none = {"avx2", false, nullptr, {}};
    return none;
}

} // namespace ga

#endif
