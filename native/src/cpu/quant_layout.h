// How quantised matrices are packed for the kernels of quant_kernels.h: in exactly as many bytes as in the file.
//
// A matrix [n_in, n_out] is cut into groups of 16 outputs. First come the quants of all groups, then the scales of all groups.
//
// Quants of a group, for each block of 32 inputs: 8 parts of 4 inputs, a part being 4 inputs of each of the 16 outputs after the
// other (64 bytes where a quant is a byte: one AVX-512 register, two of AVX2).
//
//     4 bits each     4 x 64 bytes: the low halves are part i, the high halves part i + 4
//     Q5_K, 1 more    64 bytes: bit i of a byte belongs to part i
//     Q6_K, 2 more    2 x 64 bytes: bits 2 f and 2 f + 1 of a byte of the first belong to part 2 f, of the second to part 2 f + 1
//     Q8_0            8 x 64 bytes
//
// Scales of a group: of each 32 inputs (Q4_0, Q8_0, IQ4_NL) a half float for each of the 16 outputs. The others have, for each
// 256 inputs, rows of 16 bytes, one for each output:
//
//     Q4_K, Q5_K   8 rows: of block j, the low 4 bits of its scale, and above them those of its minimum;
//                  4 rows: of blocks 2 j and (in the high half) 2 j + 1, the upper 2 bits of the scale, and above them those of the
//                  minimum; then d and dmin as half floats
//     Q6_K         16 rows: the scale of each 16 inputs; then d as half floats
//     IQ4_XS       4 rows: the low 4 bits of the scales of blocks 2 j and (in the high half) 2 j + 1; the upper 2 bits of all
//                  scales as 16 bits, block j's at 2 j; then d as half floats
#pragma once

#include "ggml.h"

#include <cstdint>

namespace ga {

struct QuantLayout {
    int64_t block_bytes; // quants of 16 outputs and 32 inputs
    int64_t unit;        // inputs of a block of the file: 32 or 256
    int64_t scale_bytes; // scales of 16 outputs and a unit
};

// unit 0: a type that is not known here.
constexpr QuantLayout quant_layout(ggml_type type) {
    switch (type) {
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_IQ4_NL:
        return {256, 32, 32};
    case GGML_TYPE_Q8_0:
        return {512, 32, 32};
    case GGML_TYPE_Q4_K:
        return {256, 256, 256};
    case GGML_TYPE_Q5_K:
        return {320, 256, 256};
    case GGML_TYPE_Q6_K:
        return {384, 256, 288};
    case GGML_TYPE_IQ4_XS:
        return {256, 256, 128};
    default:
        return {0, 0, 0};
    }
}

// Whether a matrix of this type and shape can be packed.
bool fits_quant_layout(ggml_type type, int64_t n_in, int64_t n_out);

// Outputs 16 * [first, first + n) of a matrix as in a file, into their places of the packed one. No overlap.
void pack_quants(ggml_type type, const void * rows, int64_t n_in, int64_t n_out, int64_t first, int64_t n,
                 void * packed);

// 16 outputs of a matrix as in a file, n_in inputs each: the group's quants and scales.
void pack_quant_group(ggml_type type, const uint8_t * rows, int64_t n_in, uint8_t * quants, uint8_t * scales);

// Where a group of a packed matrix lies.
struct QuantGroup {
    const uint8_t * quants;
    const uint8_t * scales;
};
inline QuantGroup quant_group(ggml_type type, const void * packed, int64_t n_in, int64_t n_out, int64_t group) {
    const QuantLayout layout = quant_layout(type);
    const int64_t quants = n_in / 32 * layout.block_bytes, scales = n_in / layout.unit * layout.scale_bytes;
    const auto * begin = static_cast<const uint8_t *>(packed);
    return {begin + group * quants, begin + n_out / 16 * quants + group * scales};
}

} // namespace ga
