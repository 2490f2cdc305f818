// What quant_vnni_tile.h does with a register, for AVX2: 8 of a group's 16 outputs.

using Ints = __m256i;
using Floats = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 12; // sums and weights are in the first-level cache; 4 rows' sums of a block in registers

inline Ints load_ints(const uint8_t * p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
}
inline __m128i load_bytes(const uint8_t * p) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(p));
}
inline __m128i load_16(const uint8_t * p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
}
inline Ints load_words(const uint8_t * p) {
    return _mm256_cvtepu16_epi32(load_16(p));
}
inline Floats load_halves(const uint8_t * p) {
    return _mm256_cvtph_ps(load_16(p));
}
inline void store_floats(float * p, Floats v) {
    _mm256_storeu_ps(p, v);
}
inline Ints widen_unsigned(__m128i bytes) {
    return _mm256_cvtepu8_epi32(bytes);
}
inline Ints widen_signed(__m128i bytes) {
    return _mm256_cvtepi8_epi32(bytes);
}
inline Ints set_bytes(int x) {
    return _mm256_set1_epi8(static_cast<char>(x));
}
inline Ints set_ints(int x) {
    return _mm256_set1_epi32(x);
}
inline Floats set_floats(float x) {
    return _mm256_set1_ps(x);
}
inline Ints and_of(Ints a, Ints b) {
    return _mm256_and_si256(a, b);
}
inline Ints or_of(Ints a, Ints b) {
    return _mm256_or_si256(a, b);
}
inline Ints exclusive_or(Ints a, Ints b) {
    return _mm256_xor_si256(a, b);
}
// to | (bits & mask)
inline Ints or_and(Ints to, Ints bits, Ints mask) {
    return _mm256_or_si256(to, _mm256_and_si256(bits, mask));
}
template <int kShift> inline Ints shift_left_16(Ints v) {
    return _mm256_slli_epi16(v, kShift);
}
template <int kShift> inline Ints shift_right_16(Ints v) {
    return _mm256_srli_epi16(v, kShift);
}
template <int kShift> inline Ints shift_left_32(Ints v) {
    return _mm256_slli_epi32(v, kShift);
}
inline Ints shift_right_32(Ints v, __m128i count) {
    return _mm256_srl_epi32(v, count);
}
inline Ints table_of(__m128i values) {
    return _mm256_broadcastsi128_si256(values);
}
inline Ints look_up(Ints table, Ints which) {
    return _mm256_shuffle_epi8(table, which);
}
// The two words of each 32 bits.
inline Ints add_pairs(Ints words) {
    return _mm256_madd_epi16(words, _mm256_set1_epi16(1));
}
inline Floats to_floats(Ints v) {
    return _mm256_cvtepi32_ps(v);
}
inline Floats mul(Floats a, Floats b) {
    return _mm256_mul_ps(a, b);
}
inline Floats sub(Floats a, Floats b) {
    return _mm256_sub_ps(a, b);
}
inline Floats fma(Floats a, Floats b, Floats c) {
    return _mm256_fmadd_ps(a, b, c);
}
// c - a b
inline Floats minus_product(Floats a, Floats b, Floats c) {
    return _mm256_fnmadd_ps(a, b, c);
}
