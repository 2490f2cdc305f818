// Attention of many rows; see attention.h. A source file includes this once, within its own namespace and within
// GA_TARGET_BEGIN ... GA_TARGET_END, after simd_256.h or simd_512.h.
//
// A unit has panels of query vectors, [head_dim][kWidth], that stay in the second-level cache with their sums. kKeys keys and values at
// a time are converted to f32, [key][head_dim], and pass over all panels: logits and weights are [key][kWidth].

constexpr int kColumns = 3;               // registers
constexpr int kWidth = kColumns * kLanes; // query vectors of a panel
constexpr int kPanels = static_cast<int>(kAttentionVectors) / kWidth;
constexpr int kStep = kLanes / 2;  // keys, or values' inputs, of a register tile: 16 sums of 32 registers, or 8 of 16
constexpr int kKeys = 32;          // converted together; positions are cut at multiples of it
constexpr int64_t kPad = 16;       // floats between rows of keys, so that they share no places in the cache
constexpr float kNothing = -1e30f; // a logit of a key that is not seen

struct AttentionScratch {
    float * q;      // [kPanels][head_dim][kWidth]
    float * sum;    // the same: of values
    float * keys;   // [kKeys][head_dim + kPad]
    float * values; // the same
    alignas(64) float weights[kKeys][kWidth];
    alignas(64) float largest[kPanels][kWidth];
    alignas(64) float total[kPanels][kWidth];
    alignas(64) float first[kPanels][kWidth]; // the positions that each query vector sees
    alignas(64) float last[kPanels][kWidth];
};

// One converted row of the cache.
inline void convert_row(ggml_type type, const uint8_t * from, int64_t n, float * to) {
    if (type == GGML_TYPE_F16) {
        for (int64_t i = 0; i < n; i += kLanes) {
            store(to + i, load_f16(reinterpret_cast<const uint16_t *>(from) + i));
        }
    } else if (type == GGML_TYPE_F32) {
        __builtin_memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
    } else {
        ggml_get_type_traits(type)->to_float(from, to, n);
    }
}

// kStep logits of a panel's vectors, [kStep][kWidth].
inline void multiply_keys(const float * q, const float * keys, int64_t stride, int64_t dim, float * to) {
    Vec c[kStep][kColumns];
    for (int i = 0; i < kStep; i++) {
        for (int j = 0; j < kColumns; j++) {
            c[i][j] = set1(0.0f);
        }
    }
    for (int64_t d = 0; d < dim; d++) {
        Vec x[kColumns];
#pragma GCC unroll 3
        for (int j = 0; j < kColumns; j++) {
            x[j] = load(q + d * kWidth + j * kLanes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < kStep; i++) {
            const Vec key = set1(keys[i * stride + d]);
#pragma GCC unroll 3
            for (int j = 0; j < kColumns; j++) {
                c[i][j] = fma(key, x[j], c[i][j]);
            }
        }
    }
    for (int i = 0; i < kStep; i++) {
        for (int j = 0; j < kColumns; j++) {
            store(to + i * kWidth + j * kLanes, c[i][j]);
        }
    }
}

// kStep inputs of a panel's sums: what they were, times `keep`, and weighted values.
inline void add_values(const float (*weights)[kWidth], const float * values, int64_t stride, const Vec * keep,
                       float * sum) {
    Vec c[kStep][kColumns];
    for (int i = 0; i < kStep; i++) {
        for (int j = 0; j < kColumns; j++) {
            c[i][j] = mul(load(sum + i * kWidth + j * kLanes), keep[j]);
        }
    }
    for (int key = 0; key < kKeys; key++) {
        Vec w[kColumns];
#pragma GCC unroll 3
        for (int j = 0; j < kColumns; j++) {
            w[j] = load(weights[key] + j * kLanes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < kStep; i++) {
            const Vec value = set1(values[key * stride + i]);
#pragma GCC unroll 3
            for (int j = 0; j < kColumns; j++) {
                c[i][j] = fma(value, w[j], c[i][j]);
            }
        }
    }
    for (int i = 0; i < kStep; i++) {
        for (int j = 0; j < kColumns; j++) {
            store(sum + i * kWidth + j * kLanes, c[i][j]);
        }
    }
}

// Logits to weights: e^(logit - largest). Returns in `keep` what older sums are worth now.
inline void weigh(AttentionScratch & s, int panel, int64_t first_key, Vec * keep) {
    for (int column = 0; column < kColumns; column++) {
        const int at = column * kLanes;
        const Vec first = load(s.first[panel] + at), last = load(s.last[panel] + at), nothing = set1(kNothing);
        const Vec before = load(s.largest[panel] + at);
        Vec largest = before;
        for (int key = 0; key < kKeys; key++) {
            const Vec pos = set1(static_cast<float>(first_key + key));
            const Vec logit = where_between(first, pos, last, load(s.weights[key] + at), nothing);
            store(s.weights[key] + at, logit);
            largest = vmax(largest, logit);
        }
        Vec total = set1(0.0f);
        for (int key = 0; key < kKeys; key++) {
            const Vec pos = set1(static_cast<float>(first_key + key));
            const Vec logit = load(s.weights[key] + at);
            const Vec e = add(vexp(sub(logit, largest)), sub(logit, logit)); // a logit that is no number shows
            const Vec weight = where_between(first, pos, last, e, set1(0.0f));
            store(s.weights[key] + at, weight);
            total = add(total, weight);
        }
        keep[column] = vexp(sub(before, largest));
        store(s.largest[panel] + at, largest);
        store(s.total[panel] + at, fma(load(s.total[panel] + at), keep[column], total));
    }
}

// Which query vectors a unit has: [first, first + n) of a head's, row after row.
struct QueryVectors {
    int64_t head, per_row, first, n;
    const CacheAttention & args;

    int64_t offset(int64_t i) const { // of vector i, or the last one, in q and out
        i = first + (i < n ? i : n - 1);
        return (i / per_row * args.n_head + head * per_row + i % per_row) * args.head_dim;
    }
    int64_t pos(int64_t i) const { return args.pos + (first + (i < n ? i : n - 1)) / per_row; }
    int64_t first_key(int64_t position) const {
        return args.window > 0 && position >= args.window ? position - args.window + 1 : 0;
    }
};

inline void load_queries(const QueryVectors & vectors, AttentionScratch & s) {
    const int64_t dim = vectors.args.head_dim;
    for (int64_t i = 0; i < kAttentionVectors; i++) {
        const int64_t pos = vectors.pos(i);
        s.last[i / kWidth][i % kWidth] = static_cast<float>(pos);
        s.first[i / kWidth][i % kWidth] = static_cast<float>(vectors.first_key(pos));
        s.largest[i / kWidth][i % kWidth] = kNothing;
        s.total[i / kWidth][i % kWidth] = 0.0f;
    }
    for (int64_t i = 0; i < kAttentionVectors; i += kLanes) {
        float * to = s.q + i / kWidth * dim * kWidth + i % kWidth;
        for (int64_t d = 0; d < dim; d += kLanes) {
            Vec square[kLanes];
            for (int j = 0; j < kLanes; j++) {
                square[j] = load(vectors.args.q + vectors.offset(i + j) + d);
            }
            transpose(square);
            for (int j = 0; j < kLanes; j++) {
                store(to + (d + j) * kWidth, square[j]);
            }
        }
    }
    for (int64_t i = 0; i < kAttentionVectors * dim; i += kLanes) {
        store(s.sum + i, set1(0.0f));
    }
}

inline void store_sums(const QueryVectors & vectors, const AttentionScratch & s) {
    const int64_t dim = vectors.args.head_dim;
    for (int64_t i = 0; i < vectors.n; i += kLanes) {
        const float * from = s.sum + i / kWidth * dim * kWidth + i % kWidth;
        const Vec scale = div(set1(1.0f), load(s.total[i / kWidth] + i % kWidth));
        for (int64_t d = 0; d < dim; d += kLanes) {
            Vec square[kLanes];
            for (int j = 0; j < kLanes; j++) {
                square[j] = mul(load(from + (d + j) * kWidth), scale);
            }
            transpose(square);
            for (int j = 0; j < kLanes && i + j < vectors.n; j++) {
                store(vectors.args.out + vectors.offset(i + j) + d, square[j]);
            }
        }
    }
}

inline void attend_unit(const QueryVectors & vectors, AttentionScratch & s) {
    const CacheAttention & args = vectors.args;
    const int64_t dim = args.head_dim, stride = dim + kPad;
    const int64_t panels = (vectors.n + kWidth - 1) / kWidth;
    load_queries(vectors, s);
    const int64_t end = vectors.pos(vectors.n - 1) + 1, head = vectors.head * args.head_stride;
    for (int64_t start = vectors.first_key(vectors.pos(0)) / kKeys * kKeys; start < end; start += kKeys) {
        for (int64_t key = 0; key < kKeys; key++) {
            // Beyond the last key nothing may be read; any number does for what nobody sees.
            const int64_t at = (start + key < end ? start + key : end - 1) * args.stride + head;
            convert_row(args.type, args.k + at, dim, s.keys + key * stride);
            convert_row(args.type, args.v + at, dim, s.values + key * stride);
        }
        for (int panel = 0; panel < panels; panel++) {
            const float * q = s.q + panel * dim * kWidth;
            float * sum = s.sum + panel * dim * kWidth;
            for (int key = 0; key < kKeys; key += kStep) {
                multiply_keys(q, s.keys + key * stride, stride, dim, s.weights[key]);
            }
            Vec keep[kColumns];
            weigh(s, panel, start, keep);
            for (int64_t d = 0; d < dim; d += kStep) {
                add_values(s.weights, s.values + d, stride, keep, sum + d * kWidth);
            }
        }
    }
    store_sums(vectors, s);
}

void attend(const CacheAttention & args, int64_t first_unit, int64_t n_units) {
    constexpr int64_t panels = kAttentionVectors * kMaxAttentionDim, rows = kKeys * (kMaxAttentionDim + kPad);
    alignas(64) static thread_local float floats[2 * panels + 2 * rows];
    alignas(64) static thread_local AttentionScratch scratch;
    scratch.q = floats;
    scratch.sum = floats + panels;
    scratch.keys = floats + 2 * panels;
    scratch.values = scratch.keys + rows;
    const int64_t per_row = args.n_head / args.n_head_kv, all = args.n * per_row;
    const int64_t units_per_head = (all + kAttentionVectors - 1) / kAttentionVectors;
    for (int64_t unit = first_unit; unit < first_unit + n_units; unit++) {
        const int64_t first = unit % units_per_head * kAttentionVectors;
        const int64_t n = all - first < kAttentionVectors ? all - first : kAttentionVectors;
        attend_unit({unit / units_per_head, per_row, first, n, args}, scratch);
    }
}
