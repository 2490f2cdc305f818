// What quant_vnni_tile.h does with a register, for AVX-512: all 16 outputs of a group.

using Ints = __m512i;
using Floats = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 12; // 12 rows' sums, 8 registers of weights, their scales, and what is in the making

inline Ints load_ints(const uint8_t * p) {
    return _mm512_loadu_si512(p);
}
inline __m128i load_bytes(const uint8_t * p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
}
inline __m256i load_32(const uint8_t * p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
}
inline Ints load_words(const uint8_t * p) {
    return _mm512_cvtepu16_epi32(load_32(p));
}
inline Floats load_halves(const uint8_t * p) {
    return _mm512_cvtph_ps(load_32(p));
}
inline void store_floats(float * p, Floats v) {
    _mm512_storeu_ps(p, v);
}
inline Ints widen_unsigned(__m128i bytes) {
    return _mm512_cvtepu8_epi32(bytes);
}
inline Ints widen_signed(__m128i bytes) {
    return _mm512_cvtepi8_epi32(bytes);
}
inline Ints set_bytes(int x) {
    return _mm512_set1_epi8(static_cast<char>(x));
}
inline Ints set_ints(int x) {
    return _mm512_set1_epi32(x);
}
inline Floats set_floats(float x) {
    return _mm512_set1_ps(x);
}
inline Ints and_of(Ints a, Ints b) {
    return _mm512_and_si512(a, b);
}
inline Ints or_of(Ints a, Ints b) {
    return _mm512_or_si512(a, b);
}
inline Ints exclusive_or(Ints a, Ints b) {
    return _mm512_xor_si512(a, b);
}
// to | (bits & mask)
inline Ints or_and(Ints to, Ints bits, Ints mask) {
    return _mm512_ternarylogic_epi64(to, bits, mask, 0xf8);
}
template <int kShift> inline Ints shift_left_16(Ints v) {
    return _mm512_slli_epi16(v, kShift);
}
template <int kShift> inline Ints shift_right_16(Ints v) {
    return _mm512_srli_epi16(v, kShift);
}
template <int kShift> inline Ints shift_left_32(Ints v) {
    return _mm512_slli_epi32(v, kShift);
}
inline Ints shift_right_32(Ints v, __m128i count) {
    return _mm512_srl_epi32(v, count);
}
inline Ints table_of(__m128i values) {
    return _mm512_broadcast_i32x4(values);
}
inline Ints look_up(Ints table, Ints which) {
    return _mm512_shuffle_epi8(table, which);
}
// The two words of each 32 bits.
inline Ints add_pairs(Ints words) {
    return _mm512_madd_epi16(words, _mm512_set1_epi16(1));
}
inline Floats to_floats(Ints v) {
    return _mm512_cvtepi32_ps(v);
}
inline Floats mul(Floats a, Floats b) {
    return _mm512_mul_ps(a, b);
}
inline Floats sub(Floats a, Floats b) {
    return _mm512_sub_ps(a, b);
}
inline Floats fma(Floats a, Floats b, Floats c) {
    return _mm512_fmadd_ps(a, b, c);
}
// c - a b
inline Floats minus_product(Floats a, Floats b, Floats c) {
    return _mm512_fnmadd_ps(a, b, c);
}
