// Products of quantised matrices: what a kernel is, and the classes of processors that have some.
//
// Why not ggml's: its products convert and scale for every few outputs, and reach a third of what a processor does; without
// AVX-512 a token runs at a third of the speed of memory. Here 16 outputs stand side by side, so that one instruction takes 4
// inputs of 8 or 16 of them. As in ggml, x is rounded to 8 bits, in blocks of 32 for every type.
//
//     file's rows --pack (quant_layout.h)--> 16 outputs side by side --+
//     x, f32 ------quantise----------------> QuantRows ----------------+--multiply--> f32
//
// Every class reads the same packed matrices and the same QuantRows, and gives the same sums to the last bit. quant_products.h chooses
// among the classes.
#pragma once

#include "ggml.h"

#include <cstdint>
#include <vector>

namespace ga {

constexpr int64_t kQuantBlock = 32;          // inputs of x that share a scale
constexpr int64_t kQuantOutputs = 16;        // outputs side by side
constexpr int64_t kMaxQuantInputs = 1 << 16; // of a matrix

// What 32 values of x share: value = scale * quant. The sums are of quants in [-127, 127].
struct QuantBlock {
    float scale;
    float sum;          // scale * the sum of quants: weights' minima are multiplied by it
    int32_t zero_point; // -8 * the sum of quants
    // For each half of the block, -32 times two sums of 16 bits: of quants at 0 and 1 modulo 4, and at 2 and 3.
    int32_t pairs[2];
};

// Rows of x in 8 bits.
struct QuantRows {
    int64_t n_in = 0;
    int64_t stride = 0;                  // quants from one row to the next
    const int8_t * quants = nullptr;     // [n][stride]
    const QuantBlock * blocks = nullptr; // [n][n_in / 32]
};

// x [n_in] to one row: quants [n_in], blocks [n_in / 32]. n_in: a multiple of 32. A block with a value that is no finite
// number gets a scale that is none, so that every sum it is in is none either.
//
// The largest magnitude of a block becomes 127. ggml keeps a scale in 16 bits. So do we, where it fits: the same products then, but
// for the order of their sums.
using Quantise = void (*)(const float * x, int64_t n_in, int8_t * quants, QuantBlock * blocks);

// out[row * n_out + o] = x[row] . weight[o] for o in 16 * [first, first + n), where `packed` is [n_in, n_out] (quant_layout.h). An
// output's sum has the same order for any number of rows.
using QuantMultiply = void (*)(const void * packed, int64_t n_out, const QuantRows & x, int64_t n_rows, int64_t first,
                               int64_t n, float * out);

// A block whose largest magnitude is less is all zeros: 127 divided by it might be infinite.
constexpr float kLeastLargest = 1e-36f;
// Whether a half float has its whole precision.
constexpr bool is_whole_half(float half) {
    return half >= 6.104e-5f && half <= 65504.0f;
}

struct QuantKernel {
    ggml_type type;
    QuantMultiply multiply;
};

// The kernels of every packed type, made of a template over the type: no class forgets one. A macro, because each class's template
// is compiled for its own processors.
#define GA_QUANT_KERNELS(multiply)                                                                                     \
    {                                                                                                                  \
        {GGML_TYPE_Q4_0, multiply<GGML_TYPE_Q4_0>},     {GGML_TYPE_Q8_0, multiply<GGML_TYPE_Q8_0>},                    \
        {GGML_TYPE_Q4_K, multiply<GGML_TYPE_Q4_K>},     {GGML_TYPE_Q5_K, multiply<GGML_TYPE_Q5_K>},                    \
        {GGML_TYPE_Q6_K, multiply<GGML_TYPE_Q6_K>},     {GGML_TYPE_IQ4_NL, multiply<GGML_TYPE_IQ4_NL>},                \
        {GGML_TYPE_IQ4_XS, multiply<GGML_TYPE_IQ4_XS>},                                                                \
    }

// The kernels for a class of processors.
struct QuantClass {
    const char * name;
    bool present;      // the processor at hand has the instructions
    Quantise quantise; // null: that of a lower class does as well
    std::vector<QuantKernel> kernels;
};

// Plain C++ for any processor: what the others must agree with. Slower than ggml's products.
const QuantClass & quant_portable();
const QuantClass & quant_avx2();    // AVX2, FMA, F16C
const QuantClass & quant_avxvnni(); // the same, with VNNI
const QuantClass & quant_avx512();  // AVX-512 with VNNI

} // namespace ga
