// The kernels of quant_vnni_tile.h with VPDPBUSD made of AVX2's instructions.
#pragma once

#include "cpu/cpu_target.h"
#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"

#if GA_X86

GA_TARGET_BEGIN("avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/quant_vnni_256.h"

// Bytes 0 and 2 of each 32 bits, then 1 and 3, as words: no sum is cut off.
inline Ints dot_bytes(Ints sum, Ints w, Ints x) {
    const __m256i even =
        _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(0xff)), _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(x, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

#include "cpu/quant_vnni_tile.h"

} // namespace
} // namespace ga

GA_TARGET_END

namespace ga {

inline const QuantClass & quant_vnni_stand_in() {
    static const QuantClass stand_in = {"vnni-stand-in",
                                        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), nullptr,
                                        GA_QUANT_KERNELS(multiply)};
    return stand_in;
}

} // namespace ga

#else

namespace ga {

inline const QuantClass & quant_vnni_stand_in() {
    static const QuantClass none = {"vnni-stand-in", false, nullptr, {}};
    return none;
}

} // namespace ga

#endif
