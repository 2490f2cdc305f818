// Blocks of packed matrices (quant_layout.h) in the registers of processors with VNNI: kSides registers of kLanes outputs to a group
// of 16, 32 inputs. quant_vnni_tile.h includes this; what a register is, quant_vnni_256.h or quant_vnni_512.h say.

constexpr int kParts = 8; // of a block: 4 inputs each
constexpr int kSides = static_cast<int>(kQuantOutputs) / kLanes;

// weight = scale * factor[half of the inputs] * (quant - zero) - min. Which of these a type has is known when this is compiled.
struct BlockRegisters {
    Ints w[kParts]; // quants, as unsigned bytes
    Floats factor[2];
    Floats scale;
    Floats min;
};

// Bytes that may be negative are made unsigned by adding 128: Q8_0's, and what IQ4 looks up.
template <ggml_type kType>
constexpr bool kRaised = kType == GGML_TYPE_Q8_0 || kType == GGML_TYPE_IQ4_NL || kType == GGML_TYPE_IQ4_XS;
template <ggml_type kType>
constexpr bool kHasFactor =
    kType == GGML_TYPE_Q4_K || kType == GGML_TYPE_Q5_K || kType == GGML_TYPE_Q6_K || kType == GGML_TYPE_IQ4_XS;
template <ggml_type kType> constexpr bool kHasMin = kType == GGML_TYPE_Q4_K || kType == GGML_TYPE_Q5_K;
template <ggml_type kType> constexpr int kHalves = kType == GGML_TYPE_Q6_K ? 2 : 1; // with a factor each

// ggml's kvalues_iq4nl, 128 more
constexpr uint8_t kRaisedValuesIq4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

// Shifts within bytes; what a neighbouring byte shifts in has to be masked out. Positive: left.
template <int kShift> inline Ints shift(Ints v) {
    if constexpr (kShift > 0) {
        return shift_left_16<kShift>(v);
    } else if constexpr (kShift < 0) {
        return shift_right_16<-kShift>(v);
    } else {
        return v;
    }
}

template <int kPart> inline void add_fifth_bits(Ints bits, Ints * w) {
    if constexpr (kPart < kParts) {
        w[kPart] = or_and(w[kPart], shift<4 - kPart>(bits), set_bytes(0x10));
        add_fifth_bits<kPart + 1>(bits, w);
    }
}

template <int kPart> inline void add_upper_bits(const Ints * bits, Ints * w) {
    if constexpr (kPart < kParts) {
        w[kPart] = or_and(w[kPart], shift<4 - kPart / 2 * 2>(bits[kPart % 2]), set_bytes(0x30));
        add_upper_bits<kPart + 1>(bits, w);
    }
}

// quants: of the group's block, at the first of the register's outputs
template <ggml_type kType> inline void load_quants(const uint8_t * quants, BlockRegisters & block) {
    if constexpr (kType == GGML_TYPE_Q8_0) {
        for (int i = 0; i < kParts; i++) {
            block.w[i] = exclusive_or(load_ints(quants + 64 * i), set_bytes(0x80));
        }
        return;
    }
    for (int i = 0; i < kParts / 2; i++) {
        const Ints both = load_ints(quants + 64 * i);
        block.w[i] = and_of(both, set_bytes(15));
        block.w[i + kParts / 2] = and_of(shift_right_16<4>(both), set_bytes(15));
    }
    if constexpr (kType == GGML_TYPE_Q5_K) {
        add_fifth_bits<0>(load_ints(quants + 256), block.w);
    } else if constexpr (kType == GGML_TYPE_Q6_K) {
        const Ints bits[2] = {load_ints(quants + 256), load_ints(quants + 320)};
        add_upper_bits<0>(bits, block.w);
    } else if constexpr (kType == GGML_TYPE_IQ4_NL || kType == GGML_TYPE_IQ4_XS) {
        const Ints values = table_of(_mm_loadu_si128(reinterpret_cast<const __m128i *>(kRaisedValuesIq4)));
        for (int i = 0; i < kParts; i++) {
            block.w[i] = look_up(values, block.w[i]);
        }
    }
}

// scales: of the group's unit; index: the block's in its unit; first: of the register's outputs
template <ggml_type kType>
inline void load_scales(const uint8_t * scales, int64_t index, int first, BlockRegisters & block) {
    if constexpr (kHasMin<kType>) {
        const __m128i low = load_bytes(scales + 16 * index + first);
        const __m128i both = load_bytes(scales + 16 * (8 + index / 2) + first);
        const __m128i high = _mm_srl_epi16(both, _mm_cvtsi32_si128(static_cast<int>(index % 2 * 4)));
        const __m128i ones = _mm_set1_epi8(15), upper = _mm_set1_epi8(0x30);
        const __m128i factor = _mm_or_si128(_mm_and_si128(low, ones), _mm_and_si128(_mm_slli_epi16(high, 4), upper));
        const __m128i min =
            _mm_or_si128(_mm_and_si128(_mm_srli_epi16(low, 4), ones), _mm_and_si128(_mm_slli_epi16(high, 2), upper));
        block.factor[0] = to_floats(widen_unsigned(factor));
        block.scale = load_halves(scales + 192 + 2 * first);
        block.min = mul(to_floats(widen_unsigned(min)), load_halves(scales + 224 + 2 * first));
    } else if constexpr (kType == GGML_TYPE_Q6_K) {
        for (int half = 0; half < 2; half++) {
            block.factor[half] = to_floats(widen_signed(load_bytes(scales + 16 * (2 * index + half) + first)));
        }
        block.scale = load_halves(scales + 256 + 2 * first);
    } else if constexpr (kType == GGML_TYPE_IQ4_XS) {
        const __m128i four = _mm_cvtsi32_si128(static_cast<int>(index % 2 * 4));
        const __m128i two = _mm_cvtsi32_si128(static_cast<int>(2 * index));
        const Ints rows = widen_unsigned(_mm_srl_epi16(load_bytes(scales + 16 * (index / 2) + first), four));
        const Ints low = and_of(rows, set_ints(15));
        const Ints high = and_of(shift_right_32(load_words(scales + 64 + 2 * first), two), set_ints(3));
        block.factor[0] = sub(to_floats(or_of(low, shift_left_32<4>(high))), set_floats(32.0f));
        block.scale = load_halves(scales + 96 + 2 * first);
    } else {
        block.scale = load_halves(scales + 2 * first);
    }
}
