// Functions over rows of floats, compiled for the processor at hand.
//
// Straight-line arithmetic that compilers turn into vector code: no branches, no calls, sums in several lanes.
#pragma once

#include "cpu/cpu_class.h"

#include <cstdint>
#include <cstring>

#if defined(__GNUC__)
#define GA_INLINE inline __attribute__((always_inline))
#else
#define GA_INLINE inline
#endif

// GA_ROW_FUNCTION(name, (parameters), (arguments)) makes name(parameters) out of the always-inline name##_row(parameters):
// built for AVX-512, for AVX2 and for any processor, chosen at the first call.
#if defined(__GNUC__) && defined(__x86_64__)
#define GA_ROW_FUNCTION(name, parameters, arguments)                                                                   \
    __attribute__((target("avx512f,avx512dq,prefer-vector-width=512"))) void name##_avx512 parameters {                \
        name##_row arguments;                                                                                          \
    }                                                                                                                  \
    __attribute__((target("avx2,fma"))) void name##_avx2 parameters {                                                  \
        name##_row arguments;                                                                                          \
    }                                                                                                                  \
    void name##_any parameters {                                                                                       \
        name##_row arguments;                                                                                          \
    }                                                                                                                  \
    void name parameters {                                                                                             \
        static const auto best = may_use_avx512() ? name##_avx512 : may_use_avx2() ? name##_avx2 : name##_any;         \
        best arguments;                                                                                                \
    }
#else
#define GA_ROW_FUNCTION(name, parameters, arguments)                                                                   \
    void name parameters {                                                                                             \
        name##_row arguments;                                                                                          \
    }
#endif

namespace ga {

// e^x for x in [-87, 87]: 2^n * e^r with |r| <= ln2/2 and a degree-6 Taylor polynomial; relative error below 2e-7.
GA_INLINE float exp_f32(float x) {
    const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; // adding 1.5 * 2^23 rounds to the nearest whole
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;   // ln2 in two parts
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

// Into [-87, 87]; what is no number becomes -87.
GA_INLINE float exp_range(float x) {
    x = x > -87.0f ? x : -87.0f;
    return x < 87.0f ? x : 87.0f;
}

} // namespace ga
