// Products of quantised matrices for AVX-512 processors with the VNNI dot product; see quant_kernels.h.
#include "cpu/cpu_target.h"

GA_EXCUSE_AVX512_HEADERS

#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"

#if GA_X86

GA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/quant_vnni_512.h"

inline Ints dot_bytes(Ints sum, Ints w, Ints x) {
    return _mm512_dpbusd_epi32(sum, w, x);
}

#include "cpu/quant_vnni_tile.h"

} // namespace
} // namespace ga

GA_TARGET_END

namespace ga {

// Outside of the region: what this instantiates of the standard library may be what the whole program uses.
const QuantClass & quant_avx512() {
    static const QuantClass avx512 = {"avx512",
                                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                                          __builtin_cpu_supports("avx2"),
                                      nullptr, // AVX2's does as well
                                      GA_QUANT_KERNELS(multiply)};
    return avx512;
}

} // namespace ga

#else

namespace ga {

const QuantClass & quant_avx512() {
    static const QuantClass none = {"avx512", false, nullptr, {}};
    return none;
}

} // namespace ga

#endif
