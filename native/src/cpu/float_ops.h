// Products of F32, F16 and BF16 matrices as graph nodes; see audio_kernels.h.
#pragma once

#include "core/graph_nodes.h"
#include "cpu/audio_kernels.h"

namespace ga {

class FloatOps {
  public:
    // nodes must live until the graph has run.
    FloatOps(WorkNodes & nodes, const AudioKernels & kernels) : nodes_(nodes), kernels_(kernels) {}

    // F32, F16 or BF16 in plain memory.
    static bool takes(const ggml_tensor * weight);

    // As ggml_mul_mat. weight: [n_in, n_out]; x: contiguous f32 [n_in, ...]; after: what follows the product; bias may be null.
    // However many rows x has, a row's sums are the same.
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x, const MatmulArgs & after = {},
                           ggml_tensor * bias = nullptr);

  private:
    // Rows in BF16, zeros behind them up to a whole vector; the last one made is kept for products that share x.
    ggml_tensor * rounded(ggml_tensor * x);

    WorkNodes & nodes_;
    const AudioKernels & kernels_;
    ggml_tensor * rounded_of_ = nullptr;
    ggml_tensor * rounded_ = nullptr;
};

} // namespace ga
