// Products in BF16 for AVX-512 processors that have its dot product; see audio_kernels.h.
//
// VDPBF16PS takes two neighbouring inputs of each of 16 outputs, multiplies them with two of x and adds both to f32 sums: twice
// the work of an f32 multiplication and addition, at half the memory.
#include "cpu/audio_matmul.h"

#include "cpu/cpu_target.h"

GA_EXCUSE_AVX512_HEADERS

#if GA_X86

GA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/simd_512.h"

#include "cpu/audio_finish.h"
#include "cpu/tile_rows.h"

constexpr int kTileRows = 12;  // 24 of 32 registers hold the tile, 12 tokens x 32 outputs
constexpr int kDepth = 512;    // inputs of a packed panel: 16 KiB
constexpr int kMaxPanels = 2;  // panels packed together, 64 KiB of the second-level cache
constexpr int kBlockRows = 96; // tokens that stay in the second-level cache while the packed panels pass over them
static_assert(kPanelBf16 == 2 * kLanes);

// packed[pair][output] = the weights of inputs first_in + 2 pair and the next one; zeros beyond the last output or input. The next
// weights to be packed are `ahead` of these.
void pack(const MatmulArgs & args, int64_t first_out, int64_t first_in, int depth, int64_t ahead, uint32_t * packed) {
    const uint16_t * weight = static_cast<const uint16_t *>(args.weight[0]) + first_in;
    for (int half = 0; half < 2; half++) {
        for (int k = 0; k < depth; k += 2 * kLanes) {
            const int n = depth - k < 2 * kLanes ? depth - k : 2 * kLanes;
            const __mmask32 mask = n == 2 * kLanes ? ~0u : (1u << n) - 1;
            __m512i square[kLanes];
            for (int i = 0; i < kLanes; i++) {
                const int64_t out = first_out + half * kLanes + i;
                if (out < args.n_out) {
                    const uint16_t * from = weight + out * args.n_in + k;
                    square[i] = _mm512_maskz_loadu_epi16(mask, from);
                    __builtin_prefetch(from + ahead);
                } else {
                    square[i] = _mm512_setzero_si512();
                }
            }
            transpose(square);
            for (int i = 0; i < kLanes; i++) {
                _mm512_storeu_si512(packed + (k / 2 + i) * kPanelBf16 + half * kLanes, square[i]);
            }
        }
    }
}

// A register tile: kRows tokens x one panel of outputs, over `pairs` pairs of inputs. As in the f32 product, each depth is summed by
// itself, and an output is summed in the same order for any number of rows.
template <int kRows>
inline void tile(const uint16_t * const * x, const uint32_t * packed, int pairs, const MatmulArgs & args, int64_t row,
                 int64_t out, bool first, bool last) {
    __m512 c[kRows][2];
    for (int i = 0; i < kRows; i++) {
        c[i][0] = _mm512_setzero_ps();
        c[i][1] = _mm512_setzero_ps();
    }
    for (int k = 0; k < pairs; k++) {
        const auto w0 = (__m512bh)_mm512_loadu_si512(packed + k * kPanelBf16);
        const auto w1 = (__m512bh)_mm512_loadu_si512(packed + k * kPanelBf16 + kLanes);
#pragma GCC unroll 12
        for (int i = 0; i < kRows; i++) {
            int32_t two;
            __builtin_memcpy(&two, x[i] + 2 * k, sizeof(two));
            const auto v = (__m512bh)_mm512_set1_epi32(two);
            c[i][0] = _mm512_dpbf16_ps(c[i][0], v, w0);
            c[i][1] = _mm512_dpbf16_ps(c[i][1], v, w1);
        }
    }
    for (int half = 0; half < 2; half++) {
        const int64_t at = out + half * kLanes, left = args.n_out - at;
        const __mmask16 mask = left >= kLanes ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
        const __m512 bias = last && args.bias ? _mm512_maskz_loadu_ps(mask, args.bias + at) : _mm512_setzero_ps();
        for (int i = 0; i < kRows; i++) {
            float * to = args.out + (row + i) * args.n_out + at;
            __m512 sum = c[i][half];
            if (!first) {
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to));
            }
            if (last) {
                sum = finish(args, _mm512_add_ps(sum, bias));
            }
            _mm512_mask_storeu_ps(to, mask, sum);
        }
    }
}

} // namespace

void round_bf16(const float * x, int64_t n, uint16_t * out) {
    for (int64_t i = 0; i < n; i += kLanes) {
        const __mmask16 mask = n - i >= kLanes ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
        const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
        _mm256_mask_storeu_epi16(out + i, mask, (__m256i)rounded);
    }
}

void matmul_bf16(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    alignas(64) static thread_local uint32_t packed[kMaxPanels * kPanelBf16 * kDepth / 2];
    constexpr int64_t panel_size = kPanelBf16 * kDepth / 2;
    const auto * rows = static_cast<const uint16_t *>(args.x_bf16);
    const int group = args.x.n <= kTileRows ? 1 : kMaxPanels; // few tokens: rather read the weights in order
    for (int64_t start = first_panel; start < first_panel + n_panels; start += group) {
        const int64_t left = first_panel + n_panels - start;
        const int n = left < group ? static_cast<int>(left) : group;
        for (int64_t in = 0; in < args.n_in; in += kDepth) {
            const int depth = args.n_in - in < kDepth ? static_cast<int>(args.n_in - in) : kDepth;
            const bool first = in == 0, last = in + depth == args.n_in;
            for (int p = 0; p < n; p++) {
                const bool along = n == 1 && !last;
                const int64_t ahead = along ? depth : n == 1 ? kPanelBf16 * args.n_in - in : kPanelBf16 * args.n_in;
                pack(args, (start + p) * kPanelBf16, in, depth, ahead, packed + p * panel_size);
            }
            for (int64_t block = 0; block < args.x.n; block += kBlockRows) {
                const int64_t block_end = block + kBlockRows < args.x.n ? block + kBlockRows : args.x.n;
                for (int p = 0; p < n; p++) {
                    for (int64_t row = block; row < block_end; row += kTileRows) {
                        const int n_rows = block_end - row < kTileRows ? static_cast<int>(block_end - row) : kTileRows;
                        const uint16_t * x[kTileRows];
                        for (int i = 0; i < n_rows; i++) {
                            x[i] = rows + (row + i) * args.x.stride + in;
                        }
                        with_rows<kTileRows>(n_rows, [&](auto rows_of_tile) {
                            tile<rows_of_tile.count>(x, packed + p * panel_size, (depth + 1) / 2, args, row,
                                                     (start + p) * kPanelBf16, first, last);
                        });
                    }
                }
            }
        }
    }
}

} // namespace ga

GA_TARGET_END

#endif
