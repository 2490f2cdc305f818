// Products of quantised matrices as graph nodes; see quant_kernels.h.
#pragma once

#include "core/graph_nodes.h"
#include "cpu/quant_products.h"

namespace ga {

// Marks a matrix as QuantOps' to multiply: it may be packed, and nobody else could read it.
void mark_for_quant_ops(ggml_tensor * weight);
bool for_quant_ops(const ggml_tensor * weight);

class QuantOps {
  public:
    // nodes must live until the graph has run.
    explicit QuantOps(WorkNodes & nodes, const QuantProducts & products = quant_products())
        : nodes_(nodes), products_(products) {}

    // As ggml_mul_mat. weight: marked [n_in, n_out]; x: contiguous f32 [n_in, ...]
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x);

  private:
    // x in 8 bits. The last one made is kept for products that share x.
    ggml_tensor * quantised(ggml_tensor * x);

    WorkNodes & nodes_;
    const QuantProducts & products_;
    ggml_tensor * quantised_of_ = nullptr;
    ggml_tensor * quantised_ = nullptr;
};

} // namespace ga
