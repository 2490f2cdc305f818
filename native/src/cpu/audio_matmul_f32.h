// Products in f32; see audio_kernels.h. Weights are widened as they are read. A source file includes this once, within its own
// namespace and within GA_TARGET_BEGIN ... GA_TARGET_END, after simd_256.h or simd_512.h.

#include "cpu/audio_finish.h"
#include "cpu/tile_rows.h"

constexpr int kTileRows = 3 * kLanes / 4; // 12 of 16 registers hold the tile, or 24 of 32
constexpr int kPanel = 2 * kLanes;        // outputs of a register tile
constexpr int kDepth = 512;               // inputs of a packed panel: 32 or 64 KiB
constexpr int kMaxPanels = 32 / kLanes;   // panels packed together, 128 KiB of the second-level cache
constexpr int kBlockRows =
    4 * kTileRows; // tokens that stay in the second-level cache while all packed panels pass over them

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

// ---- products ----------------------------------------------------------------------------------------------------

inline const float * row_at(const RowsIn & x, int64_t r) {
    if (r < x.group) { // the usual case, without the division
        return x.data + r * x.stride;
    }
    return x.data + r / x.group * x.group_stride + r % x.group * x.stride;
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
                            with_rows<kTileRows>(rows, [&](auto n_rows) {
                                tile<n_rows.count>(x, packed + p * kPanel * kDepth, depth, args, row,
                                                   (start + p) * kPanel, first, last);
                            });
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
