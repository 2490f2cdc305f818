#include "cpu/float_ops.h"

#include "ggml-backend.h"

#include <algorithm>

namespace ga {

namespace {

constexpr int64_t kRowsPerUnit = 16;    // of rounding
constexpr int64_t kOutputsPerUnit = 64; // of a product
constexpr int64_t kLine = 32;           // BF16 values in a cache line

} // namespace

bool FloatOps::takes(const ggml_tensor * weight) {
    const bool type = weight->type == GGML_TYPE_F32 || weight->type == GGML_TYPE_F16 || weight->type == GGML_TYPE_BF16;
    return type && weight->buffer && ggml_backend_buffer_is_host(weight->buffer);
}

ggml_tensor * FloatOps::multiply(ggml_tensor * weight, ggml_tensor * x, const MatmulArgs & after, ggml_tensor * bias) {
    MatmulArgs args = after;
    args.type = weight->type;
    args.n_in = weight->ne[0];
    args.n_out = weight->ne[1];
    args.x.n = ggml_nrows(x);
    args.x.stride = x->ne[0];
    const int64_t rows[2] = {x->ne[1], x->ne[2]};
    const bool bf16 = weight->type == GGML_TYPE_BF16 && kernels_.matmul_bf16;
    const auto matmul = bf16 ? kernels_.matmul_bf16 : kernels_.matmul;
    const int panel = bf16 ? kernels_.panel_bf16 : kernels_.panel;
    if (bf16) {
        x = rounded(x);
        args.x.stride = x->ne[0];
    }
    return nodes_.node(GGML_TYPE_F32, args.n_out, rows[0], rows[1], {weight, x, bias}, (args.n_out + panel - 1) / panel,
                       kOutputsPerUnit / panel,
                       [args, matmul, bf16, weight, x, bias](ggml_tensor * out, int64_t first, int64_t n) {
                           MatmulArgs mine = args;
                           mine.weight[0] = weight->data;
                           if (bf16) {
                               mine.x_bf16 = x->data;
                           } else {
                               mine.x.data = floats(x);
                           }
                           mine.bias = floats(bias);
                           mine.out = floats(out);
                           matmul(mine, first, n);
                       });
}

ggml_tensor * FloatOps::rounded(ggml_tensor * x) {
    if (rounded_of_ != x) {
        // An odd number of cache lines: with an even one, rows read side by side would share few places in the cache.
        const int64_t width = x->ne[0], stride = ((width + kLine - 1) / kLine | 1) * kLine;
        rounded_of_ = x;
        rounded_ = nodes_.node(GGML_TYPE_BF16, stride, ggml_nrows(x), 1, {x}, ggml_nrows(x), kRowsPerUnit,
                               [this, x, width, stride](ggml_tensor * out, int64_t first, int64_t n) {
                                   for (int64_t row = first; row < first + n; row++) {
                                       uint16_t * to = static_cast<uint16_t *>(out->data) + row * stride;
                                       kernels_.round_bf16(floats(x) + row * width, width, to);
                                       std::fill(to + width, to + stride, uint16_t(0));
                                   }
                               });
    }
    return rounded_;
}

} // namespace ga
