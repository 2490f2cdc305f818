// Products of quantised matrices on processors with VNNI. A source file includes this once, within its own namespace and within
// GA_TARGET_BEGIN ... GA_TARGET_END, after quant_vnni_256.h or quant_vnni_512.h and a dot_bytes():
//
//     Ints dot_bytes(Ints sum, Ints w, Ints x)    VPDPBUSD, or in tests what stands in for it
//
// VPDPBUSD multiplies 4 unsigned bytes of each output with 4 signed ones of x, and adds all to a sum of 32 bits: whole sums of a
// block, where AVX2 has to take care of 16 bits. So weights are unsigned here, and what they are too large by is in the sum's start.

#include "cpu/quant_vnni_blocks.h"

// Rows side by side: a sum is there after four cycles. Each half's sums are kept, which leaves AVX2 registers for fewer rows.
template <ggml_type kType> constexpr int kAbreast = kSides * kHalves<kType> > 2 ? 2 : 4;
// So few rows wait for memory. It is asked early, beyond what the processor does by itself.
constexpr int kWaitingRows = 8;
constexpr int64_t kBytesAhead = 4096;

inline Ints broadcast(const void * p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return set_ints(four);
}

// What weights are too large by, times x.
template <ggml_type kType> inline Ints start_of(const QuantBlock & x, int half) {
    if constexpr (kType == GGML_TYPE_Q6_K) { // 32
        return add_pairs(broadcast(&x.pairs[half]));
    } else if constexpr (kType == GGML_TYPE_Q4_0) { // 8
        return broadcast(&x.zero_point);
    } else if constexpr (kRaised<kType>) { // 128
        return shift_left_32<4>(broadcast(&x.zero_point));
    } else {
        return set_ints(0);
    }
}

// kRows rows times a block, added to their sums. Products with factors are whole numbers below 2^24, which floats hold. 4 inputs of a
// row, once broadcast, meet all outputs.
template <ggml_type kType, int kRows>
inline void add_rows(const BlockRegisters (&block)[kSides], const int8_t * q, int64_t stride, const QuantBlock * of_x,
                     int64_t n_blocks, Floats (*sum)[kSides]) {
    Floats total[kRows][kSides];
#pragma GCC unroll 2
    for (int half = 0; half < kHalves<kType>; half++) {
        Ints dot[kRows][kSides];
#pragma GCC unroll 4
        for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 2
            for (int side = 0; side < kSides; side++) {
                dot[i][side] = start_of<kType>(of_x[i * n_blocks], half);
            }
        }
        constexpr int n = kParts / kHalves<kType>;
#pragma GCC unroll 8
        for (int part = half * n; part < (half + 1) * n; part++) {
#pragma GCC unroll 4
            for (int i = 0; i < kRows; i++) {
                const Ints inputs = broadcast(q + i * stride + 4 * part);
#pragma GCC unroll 2
                for (int side = 0; side < kSides; side++) {
                    dot[i][side] = dot_bytes(dot[i][side], block[side].w[part], inputs);
                }
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 2
            for (int side = 0; side < kSides; side++) {
                const Floats found = to_floats(dot[i][side]);
                if constexpr (!kHasFactor<kType>) {
                    total[i][side] = found;
                } else if (half == 0) {
                    total[i][side] = mul(found, block[side].factor[0]);
                } else {
                    total[i][side] = fma(found, block[side].factor[half], total[i][side]);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; i++) {
        const QuantBlock & x = of_x[i * n_blocks];
#pragma GCC unroll 2
        for (int side = 0; side < kSides; side++) {
            Floats & to = sum[i][side];
            to = fma(total[i][side], mul(block[side].scale, set_floats(x.scale)), to);
            if constexpr (kHasMin<kType>) {
                to = minus_product(block[side].min, set_floats(x.sum), to);
            }
        }
    }
}

// kRows rows times a group. An output is summed in the same order for any number of rows.
template <ggml_type kType, int kRows>
void tile(const QuantGroup & group, int64_t n_out, const QuantRows & x, int64_t row, float * out) {
    constexpr QuantLayout layout = quant_layout(kType);
    constexpr int64_t per_unit = layout.unit / kQuantBlock;
    const int64_t n_blocks = x.n_in / kQuantBlock;
    Floats sum[kRows][kSides];
    for (int i = 0; i < kRows; i++) {
        for (int side = 0; side < kSides; side++) {
            sum[i][side] = set_floats(0.0f);
        }
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        const uint8_t * quants = group.quants + b * layout.block_bytes;
        if (kRows <= kWaitingRows) {
            for (int64_t i = 0; i < layout.block_bytes; i += 64) {
                _mm_prefetch(reinterpret_cast<const char *>(quants + kBytesAhead + i), _MM_HINT_T0);
            }
        }
        BlockRegisters block[kSides];
#pragma GCC unroll 2
        for (int side = 0; side < kSides; side++) {
            load_quants<kType>(quants + 4 * kLanes * side, block[side]);
            load_scales<kType>(group.scales + b / per_unit * layout.scale_bytes, b % per_unit, kLanes * side,
                               block[side]);
        }
        const int8_t * q = x.quants + row * x.stride + b * kQuantBlock;
        const QuantBlock * of_x = x.blocks + row * n_blocks + b;
        constexpr int whole = kRows / kAbreast<kType> * kAbreast<kType>;
#pragma GCC unroll 4
        for (int i = 0; i < whole; i += kAbreast<kType>) {
            add_rows<kType, kAbreast<kType>>(block, q + i * x.stride, x.stride, of_x + i * n_blocks, n_blocks, sum + i);
        }
        if constexpr (whole < kRows) {
            add_rows<kType, kRows - whole>(block, q + whole * x.stride, x.stride, of_x + whole * n_blocks, n_blocks,
                                           sum + whole);
        }
    }
    for (int i = 0; i < kRows; i++) {
        for (int side = 0; side < kSides; side++) {
            store_floats(out + (row + i) * n_out + kLanes * side, sum[i][side]);
        }
    }
}

// The largest tile that n rows fill. Returns how many it took.
template <ggml_type kType>
int64_t largest_tile(const QuantGroup & group, int64_t n_out, const QuantRows & x, int64_t row, int64_t n,
                     float * out) {
    const auto with = [&](auto take, int64_t rows) {
        take(group, n_out, x, row, out);
        return rows;
    };
    return n >= kTileRows ? with(tile<kType, kTileRows>, kTileRows)
           : n >= 8       ? with(tile<kType, 8>, 8)
           : n >= 6       ? with(tile<kType, 6>, 6)
           : n >= 4       ? with(tile<kType, 4>, 4)
           : n == 3       ? with(tile<kType, 3>, 3)
           : n == 2       ? with(tile<kType, 2>, 2)
                          : with(tile<kType, 1>, 1);
}

template <ggml_type kType>
void multiply(const void * packed, int64_t n_out, const QuantRows & x, int64_t n_rows, int64_t first, int64_t n,
              float * out) {
    // Rows that meet all groups of a call while they are in the first-level cache.
    for (int64_t start = 0; start < n_rows; start += kTileRows) {
        const int64_t end = start + kTileRows < n_rows ? start + kTileRows : n_rows;
        for (int64_t group = first; group < first + n; group++) {
            const QuantGroup weights = quant_group(kType, packed, x.n_in, n_out, group);
            for (int64_t row = start; row < end;) {
                row += largest_tile<kType>(weights, n_out, x, row, end - row, out + group * kQuantOutputs);
            }
        }
    }
}
