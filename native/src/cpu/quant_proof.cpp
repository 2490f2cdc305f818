#include "cpu/quant_proof.h"

#include "core/error.h"
#include "cpu/quant_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ga {

namespace {

constexpr int64_t kInputs = 512, kOutputs = 2 * kQuantOutputs; // two blocks of 256, two groups
// The sizes of all tiles, and with the last one several tiles.
constexpr int64_t kRowsTried[] = {1, 2, 3, 6, 8, 17}, kMostRows = 17;

// The same numbers everywhere.
class Numbers {
  public:
    uint32_t next() {
        state_ = state_ * 1664525u + 1013904223u; // Numerical Recipes' generator
        return state_ >> 8;
    }
    float between(float low, float high) { return low + (high - low) * static_cast<float>(next()) / (1 << 24); }

  private:
    uint32_t state_ = 12345;
};

// Where a block of a file has half floats.
std::vector<int> halves_of(ggml_type type) {
    switch (type) {
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
        return {0, 2};
    case GGML_TYPE_Q6_K:
        return {208};
    default:
        return {0};
    }
}

// A matrix as in a file: any bits, but for the scales, which are numbers of a usual size and either sign.
std::vector<uint8_t> matrix(ggml_type type, Numbers & numbers) {
    const size_t unit = ggml_type_size(type);
    std::vector<uint8_t> bytes(unit * static_cast<size_t>(kInputs / quant_layout(type).unit * kOutputs));
    for (uint8_t & byte : bytes) {
        byte = static_cast<uint8_t>(numbers.next() >> 8);
    }
    for (size_t at = 0; at < bytes.size(); at += unit) {
        for (const int offset : halves_of(type)) {
            const ggml_fp16_t half = ggml_fp32_to_fp16(numbers.between(-0.1f, 0.1f));
            std::memcpy(bytes.data() + at + offset, &half, sizeof(half));
        }
    }
    return bytes;
}

struct Rows {
    std::vector<int8_t> quants;
    std::vector<QuantBlock> blocks;
    QuantRows view;

    Rows(Quantise quantise, int64_t n_rows) {
        Numbers numbers;
        std::vector<float> x(static_cast<size_t>(kInputs * n_rows));
        for (float & value : x) {
            value = numbers.between(-3.0f, 3.0f);
        }
        std::fill(x.begin(), x.begin() + kQuantBlock, 0.0f);
        view.n_in = kInputs;
        view.stride = kInputs + kQuantBlock;
        quants.resize(static_cast<size_t>(view.stride * n_rows));
        blocks.resize(x.size() / kQuantBlock);
        for (int64_t row = 0; row < n_rows; row++) {
            quantise(x.data() + row * kInputs, kInputs, quants.data() + row * view.stride,
                     blocks.data() + row * kInputs / kQuantBlock);
        }
        view.quants = quants.data();
        view.blocks = blocks.data();
    }
};

QuantMultiply portable(ggml_type type) {
    for (const QuantKernel & kernel : quant_portable().kernels) {
        if (kernel.type == type) {
            return kernel.multiply;
        }
    }
    return nullptr;
}

} // namespace

std::string disproof(Quantise quantise) {
    const Rows wanted(quant_portable().quantise, 2), found(quantise, 2);
    if (wanted.quants != found.quants ||
        std::memcmp(wanted.blocks.data(), found.blocks.data(), wanted.blocks.size() * sizeof(QuantBlock)) != 0) {
        return "rounds to other numbers than the portable kernel";
    }
    return "";
}

std::string disproof(const QuantKernel & kernel) {
    Numbers numbers;
    const std::vector<uint8_t> file = matrix(kernel.type, numbers);
    std::vector<uint8_t> packed = file;
    pack_quants(kernel.type, file.data(), kInputs, kOutputs, 0, kOutputs / kQuantOutputs, packed.data());
    const int64_t n_groups = kOutputs / kQuantOutputs;
    static const Rows x(quant_portable().quantise, kMostRows);
    std::vector<float> wanted(static_cast<size_t>(kMostRows * kOutputs));
    portable(kernel.type)(packed.data(), kOutputs, x.view, kMostRows, 0, n_groups, wanted.data());
    for (const int64_t n_rows : kRowsTried) {
        std::vector<float> found(static_cast<size_t>(n_rows * kOutputs), NAN);
        for (int64_t group = 0; group < n_groups; group++) {
            kernel.multiply(packed.data(), kOutputs, x.view, n_rows, group, 1, found.data());
        }
        for (size_t i = 0; i < found.size(); i++) {
            if (!(found[i] == wanted[i])) {
                return format("gives %g, not %g, for %d rows", found[i], wanted[i], static_cast<int>(n_rows));
            }
        }
    }
    return "";
}

} // namespace ga
