// Eight floats at a time, for AVX2. A source file includes this once, within its own namespace and within
// GA_TARGET_BEGIN ... GA_TARGET_END, so that every function is compiled for that file's processor.
//
// No standard library templates in such files: what they instantiate could be linked in where the rest of the library
// runs, on a processor that lacks these instructions.

using Vec = __m256;
constexpr int kLanes = 8;

inline Vec load(const float * p) {
    return _mm256_loadu_ps(p);
}
inline void store(float * p, Vec v) {
    _mm256_storeu_ps(p, v);
}
inline Vec set1(float x) {
    return _mm256_set1_ps(x);
}
inline Vec add(Vec a, Vec b) {
    return _mm256_add_ps(a, b);
}
inline Vec sub(Vec a, Vec b) {
    return _mm256_sub_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return _mm256_mul_ps(a, b);
}
inline Vec div(Vec a, Vec b) {
    return _mm256_div_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
inline Vec vmin(Vec a, Vec b) {
    return _mm256_min_ps(a, b);
}
inline Vec vmax(Vec a, Vec b) {
    return _mm256_max_ps(a, b);
}
inline Vec round_nearest(Vec x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^n for whole n in [-126, 127]
inline Vec exp_scale(Vec x, Vec n) {
    const __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return mul(x, _mm256_castsi256_ps(bits));
}
// x where first <= at <= last, elsewhere other
inline Vec where_between(Vec first, Vec at, Vec last, Vec x, Vec other) {
    const Vec both = _mm256_and_ps(_mm256_cmp_ps(first, at, _CMP_LE_OQ), _mm256_cmp_ps(at, last, _CMP_LE_OQ));
    return _mm256_blendv_ps(other, x, both);
}
inline float sum(Vec v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline Vec load_f16(const uint16_t * p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
inline Vec load_bf16(const uint16_t * p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline void transpose(Vec * r) {
    Vec pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
}

#include "cpu/simd_math.h"
