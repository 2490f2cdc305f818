#include "cpu/quant_layout.h"

#include "cpu/quant_kernels.h"

#include <cstring>

namespace ga {

namespace {

// Blocks of a file, as ggml writes them. Of 32 inputs: a half float, then quants; of 4 bits the low halves of 16 bytes are inputs
// 0 to 15. Of 256 inputs: below. Each reader gives 4 inputs of one output at a time: `part` is inputs 4 part ... 4 part + 3.

constexpr uint32_t kLow4 = 0x0f0f0f0f, kLow2 = 0x03030303, kLow1 = 0x01010101;

inline uint32_t four(const uint8_t * p) {
    uint32_t value;
    std::memcpy(&value, p, sizeof(value));
    return value;
}

inline void put(uint8_t * to, uint32_t value) {
    std::memcpy(to, &value, sizeof(value));
}

// In the 256 inputs of Q4_K and Q5_K, 32 bytes hold two blocks: the first in the low halves.
struct ReadK {
    static uint32_t low(const uint8_t * quants, int block, int part) {
        return four(quants + block / 2 * 32 + 4 * part) >> (4 * (block % 2)) & kLow4;
    }
};

struct ReadQ6 {
    // 128 inputs: 64 bytes hold 4 blocks, the first two in the low halves; 32 bytes their upper 2 bits each.
    static uint32_t low(const uint8_t * unit, int block, int part) {
        return four(unit + block / 4 * 64 + block % 2 * 32 + 4 * part) >> (block % 4 < 2 ? 0 : 4) & kLow4;
    }
    static uint32_t high(const uint8_t * unit, int block, int part) {
        return four(unit + 128 + block / 4 * 32 + 4 * part) >> (2 * (block % 4)) & kLow2;
    }
};

// Bytes from one block of a file to the next.
int64_t unit_bytes(ggml_type type) {
    return static_cast<int64_t>(ggml_type_size(type));
}

// ---- quants of one output and block ------------------------------------------------------------------------------

// `to` is the output's place in the block's first part.
inline void pack_low(uint32_t (*low)(const uint8_t *, int, int), const uint8_t * from, int block, uint8_t * to) {
    for (int part = 0; part < 4; part++) {
        put(to + 64 * part, low(from, block, part) | low(from, block, part + 4) << 4);
    }
}

void pack_block(ggml_type type, const uint8_t * unit, int block, uint8_t * to) {
    switch (type) {
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_IQ4_NL:
        for (int part = 0; part < 4; part++) {
            put(to + 64 * part, four(unit + 2 + 4 * part));
        }
        break;
    case GGML_TYPE_Q8_0:
        for (int part = 0; part < 8; part++) {
            put(to + 64 * part, four(unit + 2 + 4 * part));
        }
        break;
    case GGML_TYPE_IQ4_XS: // blocks of 16 bytes, as in IQ4_NL
        for (int part = 0; part < 4; part++) {
            put(to + 64 * part, four(unit + 8 + 16 * block + 4 * part));
        }
        break;
    case GGML_TYPE_Q4_K:
        pack_low(ReadK::low, unit + 16, block, to);
        break;
    case GGML_TYPE_Q5_K: {
        pack_low(ReadK::low, unit + 48, block, to);
        uint32_t bits = 0;
        for (int part = 0; part < 8; part++) {
            bits |= (four(unit + 16 + 4 * part) >> block & kLow1) << part;
        }
        put(to + 256, bits);
        break;
    }
    default: // Q6_K
        pack_low(ReadQ6::low, unit, block, to);
        for (int odd = 0; odd < 2; odd++) {
            uint32_t bits = 0;
            for (int field = 0; field < 4; field++) {
                bits |= ReadQ6::high(unit, block, 2 * field + odd) << (2 * field);
            }
            put(to + 256 + 64 * odd, bits);
        }
    }
}

// ---- scales of one output and unit -------------------------------------------------------------------------------

// The 12 bytes of Q4_K and Q5_K: 6 bits each of 8 scales and 8 minima (ggml's get_scale_min_k4).
inline void pack_scales_k(const uint8_t * unit, int output, uint8_t * to) {
    const uint8_t * q = unit + 4;
    uint8_t scale[8], min[8];
    for (int j = 0; j < 4; j++) {
        scale[j] = q[j] & 63;
        min[j] = q[j + 4] & 63;
        scale[j + 4] = static_cast<uint8_t>((q[j + 8] & 15) | (q[j] >> 6) << 4);
        min[j + 4] = static_cast<uint8_t>(q[j + 8] >> 4 | (q[j + 4] >> 6) << 4);
    }
    const auto upper = [&](int j) { return scale[j] >> 4 | min[j] >> 4 << 2; };
    for (int j = 0; j < 8; j++) {
        to[16 * j + output] = static_cast<uint8_t>((scale[j] & 15) | (min[j] & 15) << 4);
    }
    for (int j = 0; j < 4; j++) {
        to[16 * (8 + j) + output] = static_cast<uint8_t>(upper(2 * j) | upper(2 * j + 1) << 4);
    }
    std::memcpy(to + 192 + 2 * output, unit, 2);
    std::memcpy(to + 224 + 2 * output, unit + 2, 2);
}

void pack_scales(ggml_type type, const uint8_t * unit, int output, uint8_t * to) {
    switch (type) {
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
        pack_scales_k(unit, output, to);
        break;
    case GGML_TYPE_Q6_K:
        for (int j = 0; j < 16; j++) {
            to[16 * j + output] = unit[192 + j];
        }
        std::memcpy(to + 256 + 2 * output, unit + 208, 2);
        break;
    case GGML_TYPE_IQ4_XS:
        for (int j = 0; j < 4; j++) {
            to[16 * j + output] = unit[4 + j];
        }
        std::memcpy(to + 64 + 2 * output, unit + 2, 2);
        std::memcpy(to + 96 + 2 * output, unit, 2);
        break;
    default:
        std::memcpy(to + 2 * output, unit, 2);
    }
}

template <ggml_type kType> void pack_group_of(const uint8_t * rows, int64_t n_in, uint8_t * quants, uint8_t * scales) {
    constexpr QuantLayout layout = quant_layout(kType);
    const int64_t n_units = n_in / layout.unit, stride = unit_bytes(kType);
    for (int64_t unit = 0; unit < n_units; unit++) {
        for (int output = 0; output < kQuantOutputs; output++) {
            const uint8_t * from = rows + (output * n_units + unit) * stride;
            pack_scales(kType, from, output, scales + unit * layout.scale_bytes);
            for (int block = 0; block < layout.unit / kQuantBlock; block++) {
                const int64_t at = unit * (layout.unit / kQuantBlock) + block;
                pack_block(kType, from, block, quants + at * layout.block_bytes + 4 * output);
            }
        }
    }
}

} // namespace

bool fits_quant_layout(ggml_type type, int64_t n_in, int64_t n_out) {
    const QuantLayout layout = quant_layout(type);
    return layout.unit != 0 && n_in > 0 && n_in <= kMaxQuantInputs && n_in % layout.unit == 0 &&
           n_out % kQuantOutputs == 0;
}

void pack_quant_group(ggml_type type, const uint8_t * rows, int64_t n_in, uint8_t * quants, uint8_t * scales) {
    switch (type) { // once more as a template: the types' own code in the inner loop
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_IQ4_NL:
        return pack_group_of<GGML_TYPE_Q4_0>(rows, n_in, quants, scales);
    case GGML_TYPE_Q8_0:
        return pack_group_of<GGML_TYPE_Q8_0>(rows, n_in, quants, scales);
    case GGML_TYPE_Q4_K:
        return pack_group_of<GGML_TYPE_Q4_K>(rows, n_in, quants, scales);
    case GGML_TYPE_Q5_K:
        return pack_group_of<GGML_TYPE_Q5_K>(rows, n_in, quants, scales);
    case GGML_TYPE_Q6_K:
        return pack_group_of<GGML_TYPE_Q6_K>(rows, n_in, quants, scales);
    case GGML_TYPE_IQ4_XS:
        return pack_group_of<GGML_TYPE_IQ4_XS>(rows, n_in, quants, scales);
    default:
        return;
    }
}

void pack_quants(ggml_type type, const void * rows, int64_t n_in, int64_t n_out, int64_t first, int64_t n,
                 void * packed) {
    const int64_t group_bytes = n_in / quant_layout(type).unit * unit_bytes(type) * kQuantOutputs;
    for (int64_t group = first; group < first + n; group++) {
        const QuantGroup to = quant_group(type, packed, n_in, n_out, group);
        pack_quant_group(type, static_cast<const uint8_t *>(rows) + group * group_bytes, n_in,
                         const_cast<uint8_t *>(to.quants), const_cast<uint8_t *>(to.scales));
    }
}

} // namespace ga
