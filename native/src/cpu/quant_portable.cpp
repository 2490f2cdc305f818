// Products of quantised matrices in plain C++: the reference for all others, and what they are proved against.
#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"

#include "ggml.h"

#include <cmath>
#include <cstring>

namespace ga {

namespace {

constexpr int kOutputs = static_cast<int>(kQuantOutputs), kInputs = static_cast<int>(kQuantBlock);

// ggml's kvalues_iq4nl
constexpr int8_t kValuesIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// 16 outputs of a block: weight = scale * factor[half] * quant - min
struct Block {
    int16_t quant[kInputs][kOutputs];
    int factor[2][kOutputs];
    float scale[kOutputs];
    float min[kOutputs];
};

float half_at(const uint8_t * from, int output) {
    ggml_fp16_t half;
    std::memcpy(&half, from + 2 * output, sizeof(half));
    return ggml_fp16_to_fp32(half);
}

// The quant of an input, as it is stored. low: 4 bits of it stand in the block's first 256 bytes.
int low_bits(const uint8_t * quants, int input, int output) {
    const int part = input / 4;
    const int byte = quants[64 * (part % 4) + 4 * output + input % 4];
    return part < 4 ? byte & 15 : byte >> 4;
}

template <ggml_type kType> int quant_at(const uint8_t * quants, int input, int output) {
    const int part = input / 4, at = 4 * output + input % 4;
    switch (kType) {
    case GGML_TYPE_Q8_0:
        return static_cast<int8_t>(quants[64 * part + at]);
    case GGML_TYPE_Q4_0:
        return low_bits(quants, input, output) - 8;
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_IQ4_XS:
        return kValuesIq4[low_bits(quants, input, output)];
    case GGML_TYPE_Q5_K:
        return low_bits(quants, input, output) | (quants[256 + at] >> part & 1) << 4;
    case GGML_TYPE_Q6_K:
        return (low_bits(quants, input, output) | (quants[256 + 64 * (part % 2) + at] >> (part / 2 * 2) & 3) << 4) - 32;
    default: // Q4_K
        return low_bits(quants, input, output);
    }
}

// `index`: the block's in its unit
template <ggml_type kType> void load_scales(const uint8_t * scales, int index, Block & block) {
    for (int o = 0; o < kOutputs; o++) {
        int factor[2] = {1, 1};
        block.min[o] = 0.0f;
        switch (kType) {
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q5_K: {
            const int low = scales[16 * index + o], high = scales[16 * (8 + index / 2) + o] >> (index % 2 * 4);
            factor[0] = factor[1] = (low & 15) | (high & 3) << 4;
            block.scale[o] = half_at(scales + 192, o);
            block.min[o] = static_cast<float>(low >> 4 | (high >> 2 & 3) << 4) * half_at(scales + 224, o);
            break;
        }
        case GGML_TYPE_Q6_K:
            factor[0] = static_cast<int8_t>(scales[16 * (2 * index) + o]);
            factor[1] = static_cast<int8_t>(scales[16 * (2 * index + 1) + o]);
            block.scale[o] = half_at(scales + 256, o);
            break;
        case GGML_TYPE_IQ4_XS: {
            uint16_t high;
            std::memcpy(&high, scales + 64 + 2 * o, sizeof(high));
            const int low = scales[16 * (index / 2) + o] >> (index % 2 * 4) & 15;
            factor[0] = factor[1] = (low | (high >> (2 * index) & 3) << 4) - 32;
            block.scale[o] = half_at(scales + 96, o);
            break;
        }
        default:
            block.scale[o] = half_at(scales, o);
        }
        block.factor[0][o] = factor[0];
        block.factor[1][o] = factor[1];
    }
}

// Adds a block's products with a row of x to 16 sums. Multiplied and added without rounding in between, as the other classes do it:
// their sums are the same to the last bit.
void add_block(const Block & block, bool has_min, const int8_t * quants, const QuantBlock & x, float * sum) {
    int total[kOutputs] = {};
    for (int half = 0; half < 2; half++) {
        int dot[kOutputs] = {};
        for (int i = half * kInputs / 2; i < (half + 1) * kInputs / 2; i++) {
            const int16_t x_quant = quants[i];
            for (int o = 0; o < kOutputs; o++) {
                dot[o] += block.quant[i][o] * x_quant;
            }
        }
        for (int o = 0; o < kOutputs; o++) {
            total[o] += dot[o] * block.factor[half][o];
        }
    }
    for (int o = 0; o < kOutputs; o++) {
        sum[o] = std::fma(static_cast<float>(total[o]), block.scale[o] * x.scale, sum[o]);
        sum[o] = has_min ? std::fma(-block.min[o], x.sum, sum[o]) : sum[o];
    }
}

template <ggml_type kType>
void multiply_group(const QuantGroup & group, int64_t n_out, const QuantRows & x, int64_t n_rows, float * out) {
    constexpr QuantLayout layout = quant_layout(kType);
    const int64_t n_blocks = x.n_in / kQuantBlock, blocks_per_unit = layout.unit / kQuantBlock;
    for (int64_t row = 0; row < n_rows; row++) {
        std::memset(out + row * n_out, 0, kOutputs * sizeof(float));
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        Block block;
        for (int i = 0; i < kInputs; i++) {
            for (int o = 0; o < kOutputs; o++) {
                block.quant[i][o] = static_cast<int16_t>(quant_at<kType>(group.quants + b * layout.block_bytes, i, o));
            }
        }
        load_scales<kType>(group.scales + b / blocks_per_unit * layout.scale_bytes,
                           static_cast<int>(b % blocks_per_unit), block);
        for (int64_t row = 0; row < n_rows; row++) {
            add_block(block, kType == GGML_TYPE_Q4_K || kType == GGML_TYPE_Q5_K,
                      x.quants + row * x.stride + b * kQuantBlock, x.blocks[row * n_blocks + b], out + row * n_out);
        }
    }
}

template <ggml_type kType>
void multiply(const void * matrix, int64_t n_out, const QuantRows & x, int64_t n_rows, int64_t first, int64_t n,
              float * out) {
    for (int64_t group = first; group < first + n; group++) {
        multiply_group<kType>(quant_group(kType, matrix, x.n_in, n_out, group), n_out, x, n_rows,
                              out + group * kQuantOutputs);
    }
}

void quantise_block(const float * x, int8_t * quants, QuantBlock & block) {
    float largest = 0.0f;
    bool finite = true;
    for (int i = 0; i < kInputs; i++) {
        largest = std::fmax(largest, std::fabs(x[i]));
        finite = finite && std::isfinite(x[i]);
    }
    const float inverse = largest > kLeastLargest ? 127.0f / largest : 0.0f;
    int sums[2][2] = {};
    for (int i = 0; i < kInputs; i++) {
        quants[i] = finite ? static_cast<int8_t>(std::nearbyint(x[i] * inverse)) : int8_t(0);
        sums[i / 16][i % 4 / 2] += quants[i];
    }
    const float scale = finite ? largest / 127.0f : NAN;
    const float half = ggml_fp16_to_fp32(ggml_fp32_to_fp16(scale));
    const int sum = sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1];
    block.scale = is_whole_half(half) ? half : scale;
    block.sum = block.scale * static_cast<float>(sum);
    block.zero_point = -8 * sum;
    for (int i = 0; i < 2; i++) {
        const int16_t pair[2] = {static_cast<int16_t>(-32 * sums[i][0]), static_cast<int16_t>(-32 * sums[i][1])};
        std::memcpy(&block.pairs[i], pair, sizeof(pair));
    }
}

void quantise(const float * x, int64_t n_in, int8_t * quants, QuantBlock * blocks) {
    for (int64_t b = 0; b < n_in / kQuantBlock; b++) {
        quantise_block(x + b * kQuantBlock, quants + b * kQuantBlock, blocks[b]);
    }
}

} // namespace

const QuantClass & quant_portable() {
    static const QuantClass portable = {"portable", true, quantise, GA_QUANT_KERNELS(multiply)};
    return portable;
}

} // namespace ga
