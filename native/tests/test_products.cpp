// Products and row functions of our own against sums in double: packed quants, BF16, soft-cap, GELU.
#include "core/backend.h"
#include "cpu/audio_kernels.h"
#include "cpu/quant_kernels.h"
#include "testing.h"
#include "text/text_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace {

std::mt19937 random_source(7);

std::vector<float> normal(size_t n, float scale = 1.0f) {
    std::normal_distribution<float> distribution(0.0f, scale);
    std::vector<float> values(n);
    for (float & value : values) {
        value = distribution(random_source);
    }
    return values;
}

// ---- quants --------------------------------------------------------------------------------------------------------

struct Quantised {
    std::vector<int8_t> quants;
    std::vector<float> scales;
    std::vector<int32_t> zero_points;
    ga::QuantRows rows;
};

Quantised quantise(const std::vector<float> & x, int64_t n_in) {
    Quantised q;
    q.quants.resize(x.size());
    q.scales.resize(x.size() / ga::kQuantBlock);
    q.zero_points.resize(q.scales.size());
    for (int64_t at = 0; at < (int64_t)x.size(); at += n_in) {
        ga::quant_kernels()->quantise(x.data() + at, n_in, q.quants.data() + at, q.scales.data() + at / ga::kQuantBlock,
                                      q.zero_points.data() + at / ga::kQuantBlock);
    }
    q.rows = {n_in, q.quants.data(), q.scales.data(), q.zero_points.data()};
    return q;
}

void test_quantise() {
    std::vector<float> x = normal(4 * 64, 3.0f);
    std::fill(x.begin(), x.begin() + 32, 0.0f);
    const Quantised q = quantise(x, 64);
    for (size_t i = 0; i < x.size(); i++) {
        const float scale = q.scales[i / 32];
        CHECK(std::fabs(x[i] - scale * q.quants[i]) <= 0.57f * scale, "%zu: %g is %d x %g", i, x[i], q.quants[i],
              scale);
    }
    for (size_t block = 0; block < q.scales.size(); block++) {
        int sum = 0, largest = 0;
        for (size_t i = 32 * block; i < 32 * block + 32; i++) {
            sum += q.quants[i];
            largest = std::max(largest, std::abs((int)q.quants[i]));
        }
        CHECK(q.zero_points[block] == -8 * sum, "block %zu: %d, not %d", block, q.zero_points[block], -8 * sum);
        CHECK(largest == (block == 0 ? 0 : 127), "block %zu: largest %d", block, largest);
    }
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        x[70] = bad;
        CHECK(!std::isfinite(quantise(x, 64).scales[2]), "%g passed for a number", bad);
    }
}

void test_packed_products(ggml_type type) {
    for (const auto & [n_in, n_out] : {std::pair<int64_t, int64_t>(32, 16), {64, 32}, {1536, 48}, {416, 80}}) {
        CHECK(ga::can_multiply_quants(type, n_in, n_out), "%d x %d", (int)n_in, (int)n_out);
        const std::vector<float> weights = normal((size_t)(n_in * n_out));
        std::vector<uint8_t> file(ggml_row_size(type, n_in) * (size_t)n_out), packed(file.size());
        ggml_quantize_chunk(type, weights.data(), file.data(), 0, n_out, n_in, nullptr);
        const int64_t groups = n_out / ga::kQuantOutputs, first = groups / 2;
        if (type == GGML_TYPE_Q4_0) { // in two pieces: places do not depend on how the work is cut
            ga::quant_kernels()->pack(file.data(), n_in, n_out, first, groups - first, packed.data());
            ga::quant_kernels()->pack(file.data(), n_in, n_out, 0, first, packed.data());
        } else {
            packed = file;
        }
        std::vector<float> known((size_t)(n_in * n_out));
        ggml_get_type_traits(type)->to_float(file.data(), known.data(), n_in * n_out);

        const int64_t most = 27;
        const Quantised x = quantise(normal((size_t)(most * n_in)), n_in);
        std::vector<float> alone((size_t)(most * n_out));
        for (int64_t n_rows = 1; n_rows <= most; n_rows++) {
            std::vector<float> out((size_t)(n_rows * n_out), NAN);
            ga::quant_kernels()->multiply(type, packed.data(), n_out, x.rows, n_rows, 0, 1, out.data());
            ga::quant_kernels()->multiply(type, packed.data(), n_out, x.rows, n_rows, 1, groups - 1, out.data());
            for (int64_t row = 0; row < n_rows; row++) {
                for (int64_t o = 0; o < n_out; o++) {
                    double sum = 0, size = 0;
                    for (int64_t i = 0; i < n_in; i++) {
                        const size_t at = (size_t)(row * n_in + i);
                        const double term = (double)known[(size_t)(o * n_in + i)] * x.quants[at] * x.scales[at / 32];
                        sum += term;
                        size += std::fabs(term);
                    }
                    const float found = out[(size_t)(row * n_out + o)];
                    CHECK(std::fabs(found - sum) <= 1e-6 * size, "%s %d x %d, row %d of %d, output %d: %g, not %g",
                          ggml_type_name(type), (int)n_in, (int)n_out, (int)row, (int)n_rows, (int)o, found, sum);
                }
            }
            // Whatever stands beside a row, its sums are the same bits; Q8_0 has another order for few rows.
            std::copy(out.end() - n_out, out.end(), alone.begin() + (n_rows - 1) * n_out);
            const int64_t like = type == GGML_TYPE_Q8_0 && n_rows > 16 ? 16 * n_out : 0;
            CHECK(std::equal(out.begin() + like, out.end(), alone.begin() + like), "%d rows are not %d and one more",
                  (int)n_rows, (int)n_rows - 1);
        }
    }
    CHECK(!ga::can_multiply_quants(type, 32, 24), "half a group of outputs");
    CHECK(!ga::can_multiply_quants(GGML_TYPE_Q6_K, 256, 16), "a type nobody packs");
}

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
    if (ga::quant_kernels()) {
        test_quantise();
        test_packed_products(GGML_TYPE_Q4_0);
        test_packed_products(GGML_TYPE_Q8_0);
    } else {
        std::printf("not tested: packed quants, which this processor has no instructions for\n");
    }
    if (ga::audio_kernels() && ga::audio_kernels()->matmul_bf16) {
        test_bf16_products();
    } else {
        std::printf("not tested: BF16 products, which this processor has no instructions for\n");
    }
    test_text_ops();
    std::printf("%d checks failed\n", testing::failures);
    return testing::failures != 0;
}
