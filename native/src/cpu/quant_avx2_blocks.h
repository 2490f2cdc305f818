// Blocks of packed matrices (quant_layout.h) in AVX2 registers: 8 of a group's 16 outputs, 32 inputs. quant_avx2.cpp includes this,
// within its own namespace and within GA_TARGET_BEGIN ... GA_TARGET_END.

constexpr int kParts = 8; // of a block: 4 inputs each

// weight = scale * factor[half of the inputs] * (quant - zero) - min. Which of these a type has is known when this is compiled.
struct BlockRegisters {
    __m256i w[kParts]; // quants: unsigned bytes, or signed ones (kSigned)
    __m256i factor[2]; // two equal 16-bit values for each output
    __m256 scale;
    __m256 min;
};

// Bytes that may be negative: Q8_0 as it is, IQ4 looked up.
template <ggml_type kType>
constexpr bool kSigned = kType == GGML_TYPE_Q8_0 || kType == GGML_TYPE_IQ4_NL || kType == GGML_TYPE_IQ4_XS;
template <ggml_type kType>
constexpr bool kHasFactor =
    kType == GGML_TYPE_Q4_K || kType == GGML_TYPE_Q5_K || kType == GGML_TYPE_Q6_K || kType == GGML_TYPE_IQ4_XS;
template <ggml_type kType> constexpr bool kHasMin = kType == GGML_TYPE_Q4_K || kType == GGML_TYPE_Q5_K;
// Sums of 16 bits hold a whole block of 4-bit quants, and half a block of larger ones.
template <ggml_type kType> constexpr bool kInHalves = kType == GGML_TYPE_Q5_K || kType == GGML_TYPE_Q6_K;

inline __m256i load_bytes(const uint8_t * p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
}

inline __m256 load_halves(const uint8_t * p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}

inline __m128i load_8(const uint8_t * p) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(p));
}

// Two equal 16-bit values for each of 8 bytes.
inline __m256i twice(__m128i bytes) {
    const __m256i numbers = _mm256_cvtepu8_epi32(bytes);
    return _mm256_or_si256(numbers, _mm256_slli_epi32(numbers, 16));
}
inline __m256i twice_signed(__m128i bytes) {
    const __m256i upper = twice(bytes);
    return _mm256_srai_epi16(_mm256_slli_epi16(upper, 8), 8);
}

// Shifts within bytes; what a neighbouring byte shifts in has to be masked out. Positive: left.
template <int kShift> inline __m256i shift(__m256i v) {
    if constexpr (kShift > 0) {
        return _mm256_slli_epi16(v, kShift);
    } else if constexpr (kShift < 0) {
        return _mm256_srli_epi16(v, -kShift);
    } else {
        return v;
    }
}

template <int kPart> inline void add_fifth_bits(__m256i bits, __m256i * w) {
    if constexpr (kPart < kParts) {
        w[kPart] = _mm256_or_si256(w[kPart], _mm256_and_si256(shift<4 - kPart>(bits), _mm256_set1_epi8(0x10)));
        add_fifth_bits<kPart + 1>(bits, w);
    }
}

template <int kPart> inline void add_upper_bits(const __m256i * bits, __m256i * w) {
    if constexpr (kPart < kParts) {
        const __m256i upper = shift<4 - kPart / 2 * 2>(bits[kPart % 2]);
        w[kPart] = _mm256_or_si256(w[kPart], _mm256_and_si256(upper, _mm256_set1_epi8(0x30)));
        add_upper_bits<kPart + 1>(bits, w);
    }
}

// quants: of the group's block, at the first of the 8 outputs
template <ggml_type kType> inline void load_quants(const uint8_t * quants, BlockRegisters & block) {
    if constexpr (kType == GGML_TYPE_Q8_0) {
        for (int i = 0; i < kParts; i++) {
            block.w[i] = load_bytes(quants + 64 * i);
        }
        return;
    }
    const __m256i low = _mm256_set1_epi8(15);
    for (int i = 0; i < kParts / 2; i++) {
        const __m256i both = load_bytes(quants + 64 * i);
        block.w[i] = _mm256_and_si256(both, low);
        block.w[i + kParts / 2] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
    if constexpr (kType == GGML_TYPE_Q5_K) {
        add_fifth_bits<0>(load_bytes(quants + 256), block.w);
    } else if constexpr (kType == GGML_TYPE_Q6_K) {
        const __m256i bits[2] = {load_bytes(quants + 256), load_bytes(quants + 320)};
        add_upper_bits<0>(bits, block.w);
    } else if constexpr (kSigned<kType>) {
        const __m256i values = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
        for (int i = 0; i < kParts; i++) {
            block.w[i] = _mm256_shuffle_epi8(values, block.w[i]);
        }
    }
}

// scales: of the group's unit; index: the block's in its unit; first: 0 or 8, the first of the 8 outputs
template <ggml_type kType>
inline void load_scales(const uint8_t * scales, int64_t index, int64_t first, BlockRegisters & block) {
    if constexpr (kHasMin<kType>) {
        const __m128i low = load_8(scales + 16 * index + first);
        const __m128i both = load_8(scales + 16 * (8 + index / 2) + first);
        const __m128i high = _mm_srl_epi16(both, _mm_cvtsi32_si128(static_cast<int>(index % 2 * 4)));
        const __m128i ones = _mm_set1_epi8(15), upper = _mm_set1_epi8(0x30);
        const __m128i factor = _mm_or_si128(_mm_and_si128(low, ones), _mm_and_si128(_mm_slli_epi16(high, 4), upper));
        const __m128i min =
            _mm_or_si128(_mm_and_si128(_mm_srli_epi16(low, 4), ones), _mm_and_si128(_mm_slli_epi16(high, 2), upper));
        block.factor[0] = block.factor[1] = twice(factor);
        block.scale = load_halves(scales + 192 + 2 * first);
        block.min = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(min)), load_halves(scales + 224 + 2 * first));
    } else if constexpr (kType == GGML_TYPE_Q6_K) {
        for (int half = 0; half < 2; half++) {
            block.factor[half] = twice_signed(load_8(scales + 16 * (2 * index + half) + first));
        }
        block.scale = load_halves(scales + 256 + 2 * first);
    } else if constexpr (kType == GGML_TYPE_IQ4_XS) {
        const __m128i four = _mm_cvtsi32_si128(static_cast<int>(index % 2 * 4));
        const __m128i two = _mm_cvtsi32_si128(static_cast<int>(2 * index));
        const __m128i rows = _mm_srl_epi16(load_8(scales + 16 * (index / 2) + first), four);
        const __m256i low = _mm256_and_si256(_mm256_cvtepu8_epi32(rows), _mm256_set1_epi32(15));
        const __m256i words =
            _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(scales + 64 + 2 * first)));
        const __m256i high = _mm256_and_si256(_mm256_srl_epi32(words, two), _mm256_set1_epi32(3));
        const __m256i number = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
        const __m256i pairs = _mm256_or_si256(number, _mm256_slli_epi32(number, 16));
        block.factor[0] = block.factor[1] = _mm256_sub_epi16(pairs, _mm256_set1_epi16(32));
        block.scale = load_halves(scales + 96 + 2 * first);
    } else {
        block.factor[0] = block.factor[1] = _mm256_set1_epi16(1);
        block.scale = load_halves(scales + 2 * first);
    }
}
