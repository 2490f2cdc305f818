#include "cpu/quant_ops.h"

#include <algorithm>

namespace ga {

namespace {

constexpr int64_t kRowsPerUnit = 16;       // of rounding
constexpr int64_t kGroupsPerUnit = 4;      // of a product of many rows
constexpr int64_t kBytesPerUnit = 1 << 17; // of weights, in a product of few
constexpr int64_t kLine = 64;              // bytes of a cache line

char mark;

// An odd number of cache lines: with an even one, rows read side by side would share few places in the cache.
int64_t stride_of(int64_t n_in) {
    return ((n_in + kLine - 1) / kLine | 1) * kLine;
}

// A tensor of bytes: the quants of all rows, then what their blocks share.
QuantRows rows_in(const ggml_tensor * quantised, int64_t n_in, int64_t n_rows) {
    QuantRows rows;
    rows.n_in = n_in;
    rows.stride = stride_of(n_in);
    rows.quants = static_cast<const int8_t *>(quantised->data);
    rows.blocks = reinterpret_cast<const QuantBlock *>(rows.quants + rows.stride * n_rows);
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
    const int64_t row_bytes = stride_of(n_in) + n_blocks * static_cast<int64_t>(sizeof(QuantBlock));
    quantised_of_ = x;
    quantised_ = nodes_.node(GGML_TYPE_I8, row_bytes, n_rows, 1, {x}, n_rows, kRowsPerUnit,
                             [this, x, n_in, n_rows, n_blocks](ggml_tensor * out, int64_t first, int64_t n) {
                                 const QuantRows rows = rows_in(out, n_in, n_rows);
                                 for (int64_t row = first; row < first + n; row++) {
                                     products_.quantise()(floats(x) + row * n_in, n_in,
                                                          const_cast<int8_t *>(rows.quants) + row * rows.stride,
                                                          const_cast<QuantBlock *>(rows.blocks) + row * n_blocks);
                                 }
                             });
    return quantised_;
}

ggml_tensor * QuantOps::multiply(ggml_tensor * weight, ggml_tensor * x) {
    const int64_t n_in = weight->ne[0], n_out = weight->ne[1], n_rows = ggml_nrows(x);
    const int64_t group_bytes = (int64_t)ggml_row_size(weight->type, n_in) * kQuantOutputs;
    const int64_t size = n_rows > kGroupsPerUnit ? kGroupsPerUnit : std::max<int64_t>(1, kBytesPerUnit / group_bytes);
    const QuantMultiply kernel = products_.find(weight->type)->multiply;
    ggml_tensor * rows = quantised(x);
    return nodes_.node(GGML_TYPE_F32, n_out, x->ne[1], x->ne[2], {weight, rows}, n_out / kQuantOutputs, size,
                       [kernel, weight, rows, n_in, n_out, n_rows](ggml_tensor * out, int64_t first, int64_t n) {
                           kernel(weight->data, n_out, rows_in(rows, n_in, n_rows), n_rows, first, n, floats(out));
                       });
}

} // namespace ga
