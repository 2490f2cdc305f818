// Attention of many rows with the keys and values of a cache.
//
// Why not ggml's: it converts keys one by one through a table, rounds queries to 16 bits, and multiplies what the mask hides. Here
// everything is f32, and query vectors lie side by side in the lanes of registers: of a row, all heads that share a key, then the
// next row's. Keys and values are converted once for 96 of them, maxima and sums need no steps across lanes, and hidden keys are
// left out.
#pragma once

#include "ggml.h"

#include <cstdint>

namespace ga {

struct CacheAttention {
    const float * q = nullptr; // [n][n_head][head_dim], scaled
    float * out = nullptr;     // as q
    ggml_type type = GGML_TYPE_F16;
    const uint8_t * k = nullptr; // the key of position p and head h is at k + p * stride + h * head_stride, [head_dim]
    const uint8_t * v = nullptr;
    int64_t stride = 0, head_stride = 0; // bytes
    int64_t n_head = 0, n_head_kv = 0, head_dim = 0;
    int64_t n = 0;      // rows, at positions pos, pos + 1, ...
    int64_t pos = 0;    // each sees the keys up to its own position
    int64_t window = 0; // only so many of them; 0: all
};

// Units of work: query vectors of one head of keys.
int64_t attention_units(const CacheAttention & args);
// How a row's sum is made does not depend on the rows beside it, nor on how many there are.
using AttendCache = void (*)(const CacheAttention & args, int64_t first_unit, int64_t n_units);

// Null where this processor or this shape has none: then ggml's is used. Fewer rows than this are left to it too.
AttendCache cache_attention(ggml_type type, int64_t head_dim);
constexpr int64_t kLeastAttentionRows = 4;

constexpr int64_t kAttentionVectors = 96; // of a unit
constexpr int64_t kMaxAttentionDim = 512;

} // namespace ga
