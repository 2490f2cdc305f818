// Sixteen floats at a time: what simd_256.h has for AVX2, for AVX-512. A source file includes one of them, within its own namespace
// and within GA_TARGET_BEGIN ... GA_TARGET_END; what both share is in simd_math.h.

using Vec = __m512;
constexpr int kLanes = 16;

inline Vec load(const float * p) {
    return _mm512_loadu_ps(p);
}
inline void store(float * p, Vec v) {
    _mm512_storeu_ps(p, v);
}
inline Vec set1(float x) {
    return _mm512_set1_ps(x);
}
inline Vec add(Vec a, Vec b) {
    return _mm512_add_ps(a, b);
}
inline Vec sub(Vec a, Vec b) {
    return _mm512_sub_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return _mm512_mul_ps(a, b);
}
inline Vec div(Vec a, Vec b) {
    return _mm512_div_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
inline Vec vmin(Vec a, Vec b) {
    return _mm512_min_ps(a, b);
}
inline Vec vmax(Vec a, Vec b) {
    return _mm512_max_ps(a, b);
}
inline Vec round_nearest(Vec x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^n for whole n in [-126, 127]
inline Vec exp_scale(Vec x, Vec n) {
    const __m512i bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return mul(x, _mm512_castsi512_ps(bits));
}
// x where first <= at <= last, elsewhere other
inline Vec where_between(Vec first, Vec at, Vec last, Vec x, Vec other) {
    const __mmask16 below = _mm512_cmp_ps_mask(first, at, _CMP_LE_OQ);
    return _mm512_mask_blend_ps(_mm512_mask_cmp_ps_mask(below, at, last, _CMP_LE_OQ), other, x);
}
inline Vec load_f16(const uint16_t * p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}
inline Vec load_bf16(const uint16_t * p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// 16 x 16, in dwords.
inline void transpose(__m512i * r) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // Column c of four rows stands in lane c / 4 of r[c % 4 + 4 g], g: which four rows.
    for (int c = 0; c < 4; c++) {
        t[c] = _mm512_shuffle_i32x4(r[c], r[c + 4], 0x88);
        t[c + 4] = _mm512_shuffle_i32x4(r[c], r[c + 4], 0xdd);
        t[c + 8] = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0x88);
        t[c + 12] = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0xdd);
    }
    for (int c = 0; c < 4; c++) {
        r[c] = _mm512_shuffle_i32x4(t[c], t[c + 8], 0x88);
        r[c + 8] = _mm512_shuffle_i32x4(t[c], t[c + 8], 0xdd);
        r[c + 4] = _mm512_shuffle_i32x4(t[c + 4], t[c + 12], 0x88);
        r[c + 12] = _mm512_shuffle_i32x4(t[c + 4], t[c + 12], 0xdd);
    }
}
inline void transpose(Vec * r) {
    __m512i bits[16];
    for (int i = 0; i < 16; i++) {
        bits[i] = _mm512_castps_si512(r[i]);
    }
    transpose(bits);
    for (int i = 0; i < 16; i++) {
        r[i] = _mm512_castsi512_ps(bits[i]);
    }
}

#include "cpu/simd_math.h"
