#include "cpu/quant_ops.h"

#include <algorithm>

namespace ga {

namespace {

constexpr int64_t kRowsPerUnit = 16;       // of rounding
constexpr int64_t kGroupsPerUnit = 4;      // of a product of many rows
constexpr int64_t kBytesPerUnit = 1 << 17; // of weights, in a product of few

char mark;

// A tensor of bytes: quants of all rows, then scales, then sums.
QuantRows rows_in(const ggml_tensor * quantised, int64_t n_in, int64_t n_rows) {
    QuantRows rows;
    rows.n_in = n_in;
    rows.quants = static_cast<const int8_t *>(quantised->data);
    rows.scales = reinterpret_cast<const float *>(rows.quants + n_in * n_rows);
    rows.zero_points = reinterpret_cast<const int32_t *>(rows.scales + n_in / kQuantBlock * n_rows);
    return rows;
}

} // namespace

void mark_for_quant_ops(ggml_tensor * weight) {
    weight->extra = &mark; // plain CPU buffers have no use for this field
}

bool for_quant_ops(const ggml_tensor * weight) {
    return weight->extra == &mark;
}

ggml_tensor * QuantOps::quantised(ggml_tensor * x) {
    if (quantised_of_ == x) {
        return quantised_;
    }
    const int64_t n_in = x->ne[0], n_rows = ggml_nrows(x), n_blocks = n_in / kQuantBlock;
    quantised_of_ = x;
    quantised_ = nodes_.node(GGML_TYPE_I8, n_in + 8 * n_blocks, n_rows, 1, {x}, n_rows, kRowsPerUnit,
                             [this, x, n_in, n_rows, n_blocks](ggml_tensor * out, int64_t first, int64_t n) {
                                 const QuantRows rows = rows_in(out, n_in, n_rows);
                                 for (int64_t row = first; row < first + n; row++) {
                                     kernels_.quantise(floats(x) + row * n_in, n_in,
                                                       const_cast<int8_t *>(rows.quants) + row * n_in,
                                                       const_cast<float *>(rows.scales) + row * n_blocks,
                                                       const_cast<int32_t *>(rows.zero_points) + row * n_blocks);
                                 }
                             });
    return quantised_;
}

ggml_tensor * QuantOps::multiply(ggml_tensor * weight, ggml_tensor * x) {
    const int64_t n_in = weight->ne[0], n_out = weight->ne[1], n_rows = ggml_nrows(x);
    const int64_t group_bytes = (int64_t)ggml_row_size(weight->type, n_in) * kQuantOutputs;
    const int64_t size = n_rows > kGroupsPerUnit ? kGroupsPerUnit : std::max<int64_t>(1, kBytesPerUnit / group_bytes);
    ggml_tensor * rows = quantised(x);
    return nodes_.node(GGML_TYPE_F32, n_out, x->ne[1], x->ne[2], {weight, rows}, n_out / kQuantOutputs, size,
                       [this, weight, rows, n_in, n_out, n_rows](ggml_tensor * out, int64_t first, int64_t n) {
                           kernels_.multiply(weight->type, weight->data, n_out, rows_in(rows, n_in, n_rows), n_rows,
                                             first, n, floats(out));
                       });
}

} // namespace ga
