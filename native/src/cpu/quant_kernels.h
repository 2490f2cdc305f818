// Products of Q4_0 and Q8_0 matrices for AVX-512 processors with the VNNI dot product, chosen at run time.
//
// Why not ggml's: its products convert and scale for every 8 outputs, and reach a third of what these processors do. Here 16
// outputs stand side by side: one instruction takes 4 inputs of each of them. As in ggml, x is rounded to 8 bits in blocks of 32.
//
// A Q4_0 matrix [n_in, n_out] is kept packed, in as many bytes as the file's: for each 16 outputs and block of 32 inputs the
// quants, 4 inputs of each output after the other; behind all quants the blocks' scales (f16), 16 outputs together. A Q8_0
// matrix, twice as large, is used where the file is mapped, without a copy: few rows of x meet it as it is, and for many rows
// it is packed 16 outputs at a time.
#pragma once

#include "ggml.h"

#include <cstddef>
#include <cstdint>

namespace ga {

constexpr int64_t kQuantBlock = 32;   // inputs that share a scale
constexpr int64_t kQuantOutputs = 16; // outputs side by side

// Rows of x in 8 bits: value = scale * quant.
struct QuantRows {
    int64_t n_in = 0;
    const int8_t * quants = nullptr;       // [n][n_in]
    const float * scales = nullptr;        // [n][n_in / 32]
    const int32_t * zero_points = nullptr; // [n][n_in / 32]: -8 times the block's sum of quants
};

struct QuantKernels {
    // x [n_in] to one row of QuantRows. n_in: a multiple of 32
    void (*quantise)(const float * x, int64_t n_in, int8_t * quants, float * scales, int32_t * zero_points);
    // Outputs 16 * [first, first + n) of a Q4_0 matrix as in a file, into their places of the packed one. No overlap.
    void (*pack)(const void * rows, int64_t n_in, int64_t n_out, int64_t first, int64_t n, void * packed);
    // out[row * n_out + o] = x[row] . weight[o] for o in 16 * [first, first + n). A Q4_0 matrix is packed, a Q8_0 one as in a file.
    void (*multiply)(ggml_type type, const void * matrix, int64_t n_out, const QuantRows & x, int64_t n_rows,
                     int64_t first, int64_t n, float * out);
};

// Null where the processor lacks them.
const QuantKernels * quant_kernels();

// Whether they multiply a matrix of this type and shape.
bool can_multiply_quants(ggml_type type, int64_t n_in, int64_t n_out);

} // namespace ga
