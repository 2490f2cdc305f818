// Products of quantised matrices for processors that have the VNNI dot product on AVX2's registers (AVX-VNNI); see quant_kernels.h.
#include "cpu/cpu_target.h"
#include "cpu/quant_kernels.h"
#include "cpu/quant_layout.h"

#if GA_X86

#include <cpuid.h>

GA_TARGET_BEGIN("avx2,fma,f16c,avxvnni")

namespace ga {
namespace {

#include "cpu/quant_vnni_256.h"

inline Ints dot_bytes(Ints sum, Ints w, Ints x) {
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

#include "cpu/quant_vnni_tile.h"

} // namespace
} // namespace ga

GA_TARGET_END

namespace ga {

namespace {

// Asked of the processor itself: not every compiler has a name for it.
bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

} // namespace

// Outside of the region: what this instantiates of the standard library may be what the whole program uses.
const QuantClass & quant_avxvnni() {
    static const QuantClass avxvnni = {"avxvnni",
                                       has_avx_vnni() && __builtin_cpu_supports("avx2") &&
                                           __builtin_cpu_supports("fma"), // all of them have F16C
                                       nullptr,                           // AVX2's does as well
                                       GA_QUANT_KERNELS(multiply)};
    return avxvnni;
}

} // namespace ga

#else

namespace ga {

const QuantClass & quant_avxvnni() {
    static const QuantClass none = {"avxvnni", false, nullptr, {}};
    return none;
}

} // namespace ga

#endif
