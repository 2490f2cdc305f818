// gelu_tanh(gate) * up as one graph node.
//
// ggml's CPU GELU looks values up in a table of half floats (relative error 5e-4), which alone would put the logits
// further from the reference implementation than we allow. On the CPU this is therefore a node of our own in full
// float precision, vectorised; other back ends compute GELU exactly and use ggml's fused op.
#pragma once

#include "backend.h"

namespace ga {

// gate: [n, rows] contiguous f32; up: the same shape, rows contiguous, any row stride. Result [n, rows] f32.
ggml_tensor * gelu_mul(ggml_context * ctx, const Backend & backend, ggml_tensor * gate, ggml_tensor * up);

} // namespace ga
