// Products of Q4_0 and Q8_0 matrices as graph nodes; see quant_kernels.h.
#pragma once

#include "core/graph_nodes.h"
#include "cpu/quant_kernels.h"

namespace ga {

// Marks a matrix as QuantOps' to multiply: it may be packed, and nobody else could read it.
void mark_for_quant_ops(ggml_tensor * weight);
bool for_quant_ops(const ggml_tensor * weight);

class QuantOps {
  public:
    // nodes must live until the graph has run.
    QuantOps(WorkNodes & nodes, const QuantKernels & kernels) : nodes_(nodes), kernels_(kernels) {}

    // As ggml_mul_mat. weight: marked [n_in, n_out]; x: contiguous f32 [n_in, ...]
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x);

  private:
    // x in 8 bits. The last one made is kept for products that share x.
    ggml_tensor * quantised(ggml_tensor * x);

    WorkNodes & nodes_;
    const QuantKernels & kernels_;
    ggml_tensor * quantised_of_ = nullptr;
    ggml_tensor * quantised_ = nullptr;
};

} // namespace ga
