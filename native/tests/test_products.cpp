// Products and row functions of our own against sums in double: BF16, soft-cap, GELU. Quantised ones: test_quants.cpp.
#include "core/backend.h"
#include "cpu/audio_kernels.h"
#include "random_values.h"
#include "testing.h"
#include "text/text_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

// ---- BF16 ----------------------------------------------------------------------------------------------------------

float widened(uint16_t half) {
    const ggml_bf16_t value = {half};
    return ggml_bf16_to_fp32(value);
}

void test_bf16_products() {
    const ga::AudioKernels & kernels = *ga::audio_kernels();
    for (const int64_t n_in : {1, 2, 31, 32, 33, 512, 545, 1030}) {
        for (const int64_t n_out : {1, 15, 16, 33, 70}) {
            const std::vector<float> wide = normal((size_t)(n_in * n_out));
            std::vector<ggml_bf16_t> weights(wide.size());
            ggml_fp32_to_bf16_row(wide.data(), weights.data(), (int64_t)wide.size());
            const std::vector<float> bias = normal((size_t)n_out);
            const int64_t stride = (n_in + 31) / 32 * 32,
                          panels = (n_out + kernels.panel_bf16 - 1) / kernels.panel_bf16;
            for (const int64_t n_rows : {1, 2, 12, 13, 40, 100}) {
                const std::vector<float> x = normal((size_t)(n_rows * n_in));
                std::vector<uint16_t> rows((size_t)(n_rows * stride), 0);
                for (int64_t row = 0; row < n_rows; row++) {
                    kernels.round_bf16(x.data() + row * n_in, n_in, rows.data() + row * stride);
                    for (int64_t i = 0; i < n_in; i++) {
                        const float value = x[(size_t)(row * n_in + i)];
                        const float got = widened(rows[(size_t)(row * stride + i)]);
                        CHECK(got == ggml_bf16_to_fp32(ggml_fp32_to_bf16(value)), "%g is rounded to %g", value, got);
                    }
                }
                ga::MatmulArgs args;
                args.weight[0] = weights.data();
                args.type = GGML_TYPE_BF16;
                args.n_in = n_in;
                args.n_out = n_out;
                args.x.n = n_rows;
                args.x.stride = stride;
                args.x_bf16 = rows.data();
                args.bias = bias.data();
                args.min = -2.5f;
                args.max = 20.0f;
                args.silu = true;
                args.silu_min = -1.0f;
                args.silu_max = 15.0f;
                std::vector<float> out((size_t)(n_rows * n_out) + 1, NAN);
                args.out = out.data();
                kernels.matmul_bf16(args, 0, panels);
                for (int64_t row = 0; row < n_rows; row++) {
                    for (int64_t o = 0; o < n_out; o++) {
                        double sum = bias[(size_t)o], size = std::fabs(sum);
                        for (int64_t i = 0; i < n_in; i++) {
                            const double term = (double)ggml_bf16_to_fp32(weights[(size_t)(o * n_in + i)]) *
                                                widened(rows[(size_t)(row * stride + i)]);
                            sum += term;
                            size += std::fabs(term);
                        }
                        sum = std::clamp(sum, -2.5, 20.0);
                        const double expected = std::clamp(sum / (1.0 + std::exp(-sum)), -1.0, 15.0);
                        const float found = out[(size_t)(row * n_out + o)];
                        CHECK(std::fabs(found - expected) <= 2e-6 * size + 1e-6, "%d x %d, %d rows: %g, not %g",
                              (int)n_in, (int)n_out, (int)n_rows, found, expected);
                    }
                }
                CHECK(std::isnan(out.back()), "written beyond the end");
            }
        }
    }
}

// ---- rows of the text decoder --------------------------------------------------------------------------------------

void test_text_ops() {
    ga::Backend backend("CPU", 3, true, nullptr);
    ga::GraphRunner runner(backend, 64);
    for (const int64_t n_rows : {1, 2, 7}) {
        const int64_t n = 1003; // no whole number of vectors
        std::vector<float> x = normal((size_t)(n * n_rows), 40.0f), up = normal(x.size());
        for (size_t i = 0; i < x.size(); i += 3) {
            x[i] *= 1e-3f; // where the tangent is nearly straight
        }
        x[1] = 0.0f;
        x[2] = 1e30f;
        x[3] = -1e30f;
        x[4] = NAN;
        ggml_context * ctx = runner.begin();
        ggml_tensor * input = runner.input(GGML_TYPE_F32, x, n, n_rows, 1, 1, "x");
        ggml_tensor * other = runner.input(GGML_TYPE_F32, up, n, n_rows, 1, 1, "up");
        ggml_tensor * gelu = ga::gelu_mul(ctx, backend.is_host(), input, other);
        ggml_tensor * capped = ga::soft_cap(ctx, backend.is_host(), ggml_dup(ctx, input), 30.0f);
        runner.output(gelu, true);
        runner.output(capped, true);
        runner.compute();
        std::vector<float> found[2] = {std::vector<float>(x.size()), std::vector<float>(x.size())};
        runner.read(gelu, found[0].data(), 0, ggml_nbytes(gelu));
        runner.read(capped, found[1].data(), 0, ggml_nbytes(capped));
        for (size_t i = 0; i < x.size(); i++) {
            const double v = x[i], u = std::sqrt(2.0 / 3.14159265358979323846) * (v + 0.044715 * v * v * v);
            const double expected[2] = {v / (1.0 + std::exp(-2.0 * u)) * up[i], 30.0 * std::tanh(v / 30.0)};
            for (int which = 0; which < 2; which++) {
                const double bound = 1e-6 * std::fabs(expected[which]) + (which == 0 ? 1e-6 : 0.0);
                const bool same =
                    std::isnan(v) ? std::isnan(found[which][i]) : std::fabs(found[which][i] - expected[which]) <= bound;
                CHECK(same, "%s of %g: %g, not %g", which ? "soft-cap" : "GELU", v, found[which][i], expected[which]);
            }
        }
    }
}

} // namespace

int main() {
    if (ga::audio_kernels() && ga::audio_kernels()->matmul_bf16) {
        test_bf16_products();
    } else {
        std::printf("not tested: BF16 products, which this processor has no instructions for\n");
    }
    test_text_ops();
    std::printf("%d checks failed\n", testing::failures);
    return testing::failures != 0;
}
