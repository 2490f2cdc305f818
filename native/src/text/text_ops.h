// Steps of the text decoder as graph nodes of our own where they run on the CPU (on_cpu); ggml's operations elsewhere.
#pragma once

#include "ggml.h"

namespace ga {

// gelu_tanh(gate) * up. gate: [n, rows] contiguous f32; up: the same shape, rows contiguous, any row stride. Result [n, rows].
//
// ggml's CPU GELU looks values up in a table of half floats (relative error 5e-4), which alone would put the logits
// further from the reference implementation than we allow.
ggml_tensor * gelu_mul(ggml_context * ctx, bool on_cpu, ggml_tensor * gate, ggml_tensor * up);

// cap * tanh(x / cap), in place; x: [n, rows] contiguous f32, cap > 0.
//
// ggml calls the C library's tanh for each of a row's 262,144 logits: 2 ms a token.
ggml_tensor * soft_cap(ggml_context * ctx, bool on_cpu, ggml_tensor * x, float cap);

} // namespace ga
