// Products of quantised matrices, every class that this processor has: against sums in double, among themselves, and left out where
// they are broken.
#include "core/backend.h"
#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"
#include "cpu/quant_products.h"
#include "cpu/quant_proof.h"
#include "random_values.h"
#include "testing.h"
#include "vnni_stand_in.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace {

// The AVX-VNNI class once more with a stand-in for its dot product, so that every machine with AVX2 tests what surrounds it.
std::vector<const ga::QuantClass *> classes() {
    return {&ga::quant_avx512(), &ga::quant_avxvnni(), &ga::quant_vnni_stand_in(), &ga::quant_avx2(),
            &ga::quant_portable()};
}

struct Quantised {
    std::vector<int8_t> quants;
    std::vector<ga::QuantBlock> blocks;
    ga::QuantRows rows;
};

// Rows with a gap of 32 bytes between them.
Quantised quantise(ga::Quantise how, const std::vector<float> & x, int64_t n_in) {
    Quantised q;
    const int64_t n = (int64_t)x.size() / n_in, stride = n_in + 32, n_blocks = n_in / ga::kQuantBlock;
    q.quants.resize((size_t)(n * stride), 99);
    q.blocks.resize((size_t)(n * n_blocks));
    for (int64_t row = 0; row < n; row++) {
        how(x.data() + row * n_in, n_in, q.quants.data() + row * stride, q.blocks.data() + row * n_blocks);
    }
    q.rows = {n_in, stride, q.quants.data(), q.blocks.data()};
    return q;
}

// ---- rows of x -----------------------------------------------------------------------------------------------------

void test_quantise(const ga::QuantClass & kernels) {
    std::vector<float> x = normal(8 * 64, 3.0f);
    std::fill(x.begin(), x.begin() + 32, 0.0f);
    for (size_t i = 64; i < 96; i++) {
        x[i] *= 1e-8f; // beyond what half floats hold
        x[i + 32] *= 1e9f;
        x[i + 64] *= 1e-40f; // beyond what floats hold well
    }
    const Quantised q = quantise(kernels.quantise, x, 64);
    for (size_t block = 0; block < q.blocks.size(); block++) {
        const ga::QuantBlock & found = q.blocks[block];
        const int8_t * quants = q.quants.data() + block / 2 * (64 + 32) + block % 2 * 32;
        int sums[4] = {}, sum = 0, largest = 0;
        for (int i = 0; i < 32; i++) {
            sums[i / 16 * 2 + i % 4 / 2] += quants[i];
            sum += quants[i];
            largest = std::max(largest, std::abs((int)quants[i]));
            const float value = x[32 * block + (size_t)i];
            CHECK(std::fabs(value - found.scale * quants[i]) <= 0.57f * found.scale + 1e-36f,
                  "block %zu: %g is %d x %g", block, value, quants[i], found.scale);
        }
        CHECK(found.zero_point == -8 * sum, "block %zu: %d, not %d", block, found.zero_point, -8 * sum);
        CHECK(std::fabs(found.sum - found.scale * sum) <= 1e-6f * std::fabs(found.sum), "block %zu: %g", block,
              found.sum);
        int16_t pairs[4];
        std::memcpy(pairs, found.pairs, sizeof(pairs));
        for (int i = 0; i < 4; i++) {
            CHECK(pairs[i] == -32 * sums[i], "block %zu: %d, not %d", block, pairs[i], -32 * sums[i]);
        }
        CHECK(largest == (block == 0 ? 0 : 127) || block == 4, "block %zu: largest %d", block, largest);
    }
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        x[70] = bad;
        CHECK(!std::isfinite(quantise(kernels.quantise, x, 64).blocks[2].scale), "%g passed for a number", bad);
    }
}

// ---- products ------------------------------------------------------------------------------------------------------

enum class Scales { usual, zero, subnormal, infinite };

// Overwrites the half floats of every third block of a file.
void set_scales(ggml_type type, Scales scales, std::vector<uint8_t> & file) {
    const std::vector<size_t> at = type == GGML_TYPE_Q6_K                             ? std::vector<size_t>{208}
                                   : type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K ? std::vector<size_t>{0, 2}
                                                                                      : std::vector<size_t>{0};
    const uint16_t bits = scales == Scales::zero ? 0x8000 : scales == Scales::subnormal ? 0x0203 : 0x7c00;
    const size_t unit = ggml_type_size(type);
    for (size_t block = 0; scales != Scales::usual && block < file.size(); block += 3 * unit) {
        for (const size_t offset : at) {
            std::memcpy(file.data() + block + offset, &bits, sizeof(bits));
        }
    }
}

std::vector<uint8_t> as_in_file(ggml_type type, int64_t n_in, int64_t n_out, bool any_bits) {
    std::vector<uint8_t> file(ggml_row_size(type, n_in) * (size_t)n_out);
    const std::vector<float> weights = normal((size_t)(n_in * n_out));
    ggml_quantize_chunk(type, weights.data(), file.data(), 0, n_out, n_in, nullptr);
    if (any_bits) { // quants and scales that no quantiser writes
        std::vector<uint8_t> sane = file;
        for (uint8_t & byte : file) {
            byte = (uint8_t)random_source();
        }
        const size_t unit = ggml_type_size(type), d = type == GGML_TYPE_Q6_K ? 208 : 0;
        for (size_t block = 0; block < file.size(); block += unit) {
            std::copy_n(sane.begin() + block + d, type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K ? 4 : 2,
                        file.begin() + block + d);
        }
    }
    return file;
}

void test_products(const ga::QuantClass & kernels, const ga::QuantKernel & kernel, int64_t n_in, int64_t n_out,
                   Scales scales, bool any_bits) {
    const ggml_type type = kernel.type;
    const std::string what =
        ga::format("%s %s %d x %d, scales %d", kernels.name, ggml_type_name(type), (int)n_in, (int)n_out, (int)scales);
    CHECK(ga::fits_quant_layout(type, n_in, n_out), "%s", what.c_str());
    std::vector<uint8_t> file = as_in_file(type, n_in, n_out, any_bits), packed(file.size());
    set_scales(type, scales, file);
    const int64_t groups = n_out / ga::kQuantOutputs, first = groups / 2;
    // In two pieces: places do not depend on how the work is cut.
    ga::pack_quants(type, file.data(), n_in, n_out, first, groups - first, packed.data());
    ga::pack_quants(type, file.data(), n_in, n_out, 0, first, packed.data());
    std::vector<float> known((size_t)(n_in * n_out));
    ggml_get_type_traits(type)->to_float(file.data(), known.data(), n_in * n_out);

    const int64_t most = 40;
    const Quantised x = quantise(ga::quant_portable().quantise, normal((size_t)(most * n_in)), n_in);
    std::vector<double> wanted((size_t)(most * n_out)), sizes(wanted.size());
    for (int64_t row = 0; row < most; row++) {
        for (int64_t o = 0; o < n_out; o++) {
            double sum = 0, size = 0;
            for (int64_t i = 0; i < n_in; i++) {
                const double value = (double)x.quants[(size_t)(row * x.rows.stride + i)] *
                                     x.blocks[(size_t)((row * n_in + i) / 32)].scale;
                const double term = known[(size_t)(o * n_in + i)] * value;
                sum += term;
                size += std::fabs(term);
            }
            wanted[(size_t)(row * n_out + o)] = sum;
            sizes[(size_t)(row * n_out + o)] = size;
        }
    }
    std::vector<float> alone((size_t)(most * n_out));
    for (int64_t n_rows = 1; n_rows <= most; n_rows++) {
        std::vector<float> out((size_t)(n_rows * n_out) + 1, NAN);
        kernel.multiply(packed.data(), n_out, x.rows, n_rows, 0, 1, out.data());
        kernel.multiply(packed.data(), n_out, x.rows, n_rows, 1, groups - 1, out.data());
        CHECK(std::isnan(out.back()), "%s: written beyond the end", what.c_str());
        out.pop_back();
        for (size_t i = 0; i < out.size(); i++) {
            const bool right = std::isfinite(wanted[i]) ? std::fabs(out[i] - wanted[i]) <= 2e-6 * sizes[i] + 1e-12
                                                        : !std::isfinite(out[i]);
            CHECK(right, "%s, value %zu of %d rows: %g, not %g", what.c_str(), i, (int)n_rows, out[i], wanted[i]);
        }
        // Whatever stands beside a row, its sums are the same bits.
        std::copy(out.end() - n_out, out.end(), alone.begin() + (n_rows - 1) * n_out);
        CHECK(std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)) == 0,
              "%s: %d rows are not %d and one more", what.c_str(), (int)n_rows, (int)n_rows - 1);
    }
}

void test_shapes(const ga::QuantClass & kernels, const ga::QuantKernel & kernel) {
    const int64_t unit = ga::quant_layout(kernel.type).unit;
    for (const auto & [units, n_out] : {std::pair<int64_t, int64_t>(1, 16), {2, 32}, {3, 80}, {13, 48}}) {
        test_products(kernels, kernel, units * unit, n_out, Scales::usual, false);
    }
    test_products(kernels, kernel, 1536, 32, Scales::usual, true);
    for (const Scales scales : {Scales::zero, Scales::subnormal, Scales::infinite}) {
        test_products(kernels, kernel, 3 * unit, 32, scales, true);
    }
    CHECK(!ga::fits_quant_layout(kernel.type, unit, 24), "half a group of outputs");
    CHECK(!ga::fits_quant_layout(kernel.type, unit + 16, 16), "half a block of inputs");
    CHECK(!ga::fits_quant_layout(GGML_TYPE_Q2_K, 256, 16), "a type nobody packs");
}

// A row of x with an infinite value has no finite product.
void test_infinite_rows(const ga::QuantClass & kernels, const ga::QuantKernel & kernel) {
    const std::vector<uint8_t> file = as_in_file(kernel.type, 256, 16, false);
    std::vector<uint8_t> packed = file;
    ga::pack_quants(kernel.type, file.data(), 256, 16, 0, 1, packed.data());
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        std::vector<float> values = normal(17 * 256), out(17 * 16);
        values[3 * 256 + 100] = bad;
        const ga::Quantise how = kernels.quantise ? kernels.quantise : ga::quant_avx2().quantise;
        const Quantised x = quantise(how, values, 256);
        for (const int64_t n_rows : {int64_t(4), int64_t(17)}) {
            kernel.multiply(packed.data(), 16, x.rows, n_rows, 0, 1, out.data());
            for (int64_t i = 0; i < n_rows * 16; i++) {
                CHECK(std::isfinite(out[(size_t)i]) == (i / 16 != 3), "%s %s: %g in row %d", kernels.name,
                      ggml_type_name(kernel.type), out[(size_t)i], (int)i / 16);
            }
        }
    }
}

// ---- beside ggml ---------------------------------------------------------------------------------------------------

// ggml's products of a matrix as in a file with rows of x.
std::vector<float> ggml_products(ggml_type type, const std::vector<uint8_t> & file, int64_t n_in, int64_t n_out,
                                 const std::vector<float> & x) {
    ga::Backend backend("CPU", 1, /*use_repack =*/false, nullptr);
    ga::GraphRunner runner(backend, 16);
    const int64_t n_rows = (int64_t)x.size() / n_in;
    ggml_context * ctx = runner.begin();
    ggml_tensor * weight = runner.input(type, n_in, n_out, 1, 1, file, "weight");
    ggml_tensor * product = ggml_mul_mat(ctx, weight, runner.input(GGML_TYPE_F32, x, n_in, n_rows, 1, 1, "x"));
    runner.output(product, true);
    runner.compute();
    std::vector<float> out((size_t)(n_out * n_rows));
    runner.read(product, out.data(), 0, ggml_nbytes(product));
    return out;
}

// Rounding x to 8 bits in blocks of 32 costs no more than what ggml does, for rows as they are in models: some inputs are large.
void test_errors_are_no_larger_than_ggmls(const ga::QuantClass & kernels, const ga::QuantKernel & kernel) {
    const int64_t n_in = 1536, n_out = 128, n_rows = 24;
    const std::vector<uint8_t> file = as_in_file(kernel.type, n_in, n_out, false);
    std::vector<float> known((size_t)(n_in * n_out)), x = normal((size_t)(n_in * n_rows)),
                                                      out((size_t)(n_out * n_rows));
    ggml_get_type_traits(kernel.type)->to_float(file.data(), known.data(), n_in * n_out);
    for (size_t i = 0; i < x.size(); i += 97) {
        x[i] *= 10.0f;
    }
    std::vector<uint8_t> packed = file;
    ga::pack_quants(kernel.type, file.data(), n_in, n_out, 0, n_out / ga::kQuantOutputs, packed.data());
    const Quantised rows = quantise(kernels.quantise ? kernels.quantise : ga::quant_avx2().quantise, x, n_in);
    kernel.multiply(packed.data(), n_out, rows.rows, n_rows, 0, n_out / ga::kQuantOutputs, out.data());
    const std::vector<float> theirs = ggml_products(kernel.type, file, n_in, n_out, x);
    double error = 0, error_of_ggml = 0, size = 0;
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t o = 0; o < n_out; o++) {
            double sum = 0;
            for (int64_t i = 0; i < n_in; i++) {
                sum += (double)known[(size_t)(o * n_in + i)] * x[(size_t)(row * n_in + i)];
            }
            const size_t at = (size_t)(row * n_out + o);
            error += (out[at] - sum) * (out[at] - sum);
            error_of_ggml += (theirs[at] - sum) * (theirs[at] - sum);
            size += sum * sum;
        }
    }
    std::printf("%-8s %-7s relative error %.2e, ggml's %.2e\n", kernels.name, ggml_type_name(kernel.type),
                std::sqrt(error / size), std::sqrt(error_of_ggml / size));
    CHECK(error <= 1.05 * 1.05 * error_of_ggml, "%s %s", kernels.name, ggml_type_name(kernel.type));
}

// ---- the choice ----------------------------------------------------------------------------------------------------

void multiply_wrong(const void * matrix, int64_t n_out, const ga::QuantRows & x, int64_t n_rows, int64_t first,
                    int64_t n, float * out) {
    for (const ga::QuantKernel & kernel : ga::quant_portable().kernels) {
        if (kernel.type == GGML_TYPE_Q4_0) {
            kernel.multiply(matrix, n_out, x, n_rows, first, n, out);
        }
    }
    if (n_rows > 1) { // one value, and not with one row
        out[n_out + 16 * first + 7] *= 1.001f;
    }
}

void quantise_wrong(const float * x, int64_t n_in, int8_t * quants, ga::QuantBlock * blocks) {
    ga::quant_portable().quantise(x, n_in, quants, blocks);
    blocks[n_in / ga::kQuantBlock - 1].zero_point++;
}

ga::QuantKernel portable(ggml_type type) {
    return *ga::QuantProducts({&ga::quant_portable()}, "portable").find(type);
}

void test_broken_kernels_are_left_out() {
    const ga::QuantClass broken = {
        "broken", true, quantise_wrong, {{GGML_TYPE_Q4_0, multiply_wrong}, portable(GGML_TYPE_Q6_K)}};
    const ga::QuantProducts products({&broken, &ga::quant_portable()}, "");
    CHECK(!products.find(GGML_TYPE_Q4_0), "a broken product was taken");
    CHECK(products.find(GGML_TYPE_Q6_K), "a product was left out that is right");
    CHECK(products.quantise() == ga::quant_portable().quantise, "a broken rounding was taken");
    const std::string & text = products.description();
    CHECK(text.find("broken: q6_K; left out: broken rounding rounds to other numbers") == 0, "%s", text.c_str());
    CHECK(text.find("; left out: broken q4_0 gives ") != std::string::npos, "%s", text.c_str());
    // The next class follows.
    const ga::QuantClass whole = {"whole", true, nullptr, {portable(GGML_TYPE_Q4_0)}};
    CHECK(ga::QuantProducts({&broken, &whole}, "").find(GGML_TYPE_Q4_0)->multiply == portable(GGML_TYPE_Q4_0).multiply,
          "no other");
}

void test_the_cap() {
    const ga::QuantClass best = {"best", true, nullptr, {portable(GGML_TYPE_Q4_0)}};
    const ga::QuantClass absent = {"absent", false, nullptr, {{GGML_TYPE_Q6_K, nullptr}}};
    const std::vector<const ga::QuantClass *> all = {&best, &absent, &ga::quant_portable()};
    CHECK(ga::QuantProducts(all, "").description() == "best: q4_0", "no cap");
    CHECK(ga::QuantProducts(all, "absent").description() == "ggml", "nothing below the cap");
    CHECK(ga::QuantProducts(all, "ggml").description() == "ggml", "none at all");
    CHECK(ga::QuantProducts(all, "portable").find(GGML_TYPE_Q8_0)->multiply == portable(GGML_TYPE_Q8_0).multiply,
          "the portable one");
    const ga::QuantProducts odd(all, "avx3");
    CHECK(odd.find(GGML_TYPE_Q4_0), "an unknown cap caps nothing");
    CHECK(odd.description() == "best: q4_0; left out: GEMMA_AUDIO_CPU_CLASS is avx3, which is no class of processors",
          "%s", odd.description().c_str());
    CHECK(!odd.takes(GGML_TYPE_Q4_0, 48, 16) && odd.takes(GGML_TYPE_Q4_0, 32, 16), "shapes");
}

} // namespace

int main() {
    for (const ga::QuantClass * kernels : classes()) {
        if (!kernels->present) {
            std::printf("not tested: %s, which this processor has no instructions for\n", kernels->name);
            continue;
        }
        if (kernels->quantise) {
            test_quantise(*kernels);
            CHECK(ga::disproof(kernels->quantise).empty(), "%s", ga::disproof(kernels->quantise).c_str());
        }
        for (const ga::QuantKernel & kernel : kernels->kernels) {
            CHECK(ga::disproof(kernel).empty(), "%s %s", ggml_type_name(kernel.type), ga::disproof(kernel).c_str());
            test_shapes(*kernels, kernel);
            test_infinite_rows(*kernels, kernel);
            test_errors_are_no_larger_than_ggmls(*kernels, kernel);
        }
    }
    test_broken_kernels_are_left_out();
    test_the_cap();
    std::printf("%s\n", ga::quant_products().description().c_str());
    return testing::result();
}
