// Attention of many rows for AVX-512; see attention.h.
#include "cpu/cpu_target.h"

GA_EXCUSE_AVX512_HEADERS
#include "cpu/attention_classes.h"

#if GA_X86

GA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/simd_512.h"

#include "cpu/attention_tile.h"

} // namespace

void attend_avx512(const CacheAttention & args, int64_t first_unit, int64_t n_units) {
    attend(args, first_unit, n_units);
}

} // namespace ga

GA_TARGET_END

#endif
