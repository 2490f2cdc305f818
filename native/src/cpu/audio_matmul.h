// The products of audio_kernels.h, a function for each kind of processor. Only for x86; callers ask first what the
// processor has.
#pragma once

#include "cpu/audio_kernels.h"

namespace ga {

constexpr int kPanelAvx2 = 16; // outputs of a register tile
constexpr int kPanelAvx512 = 32;
constexpr int kPanelBf16 = 32;

// Weights of any type, x in f32.
void matmul_avx2(const MatmulArgs & args, int64_t first_panel, int64_t n_panels);
void matmul_avx512(const MatmulArgs & args, int64_t first_panel, int64_t n_panels);

// AVX-512 with BF16 dot products: weights in BF16, x as round_bf16() leaves it.
void matmul_bf16(const MatmulArgs & args, int64_t first_panel, int64_t n_panels);
void round_bf16(const float * x, int64_t n, uint16_t * out);

} // namespace ga
