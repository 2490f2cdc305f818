// Attention of many rows for AVX2; see attention.h.
#include "cpu/cpu_target.h"

#include "cpu/attention_classes.h"

#if GA_X86

GA_TARGET_BEGIN("avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/simd_256.h"

#include "cpu/attention_tile.h"

} // namespace

void attend_avx2(const CacheAttention & args, int64_t first_unit, int64_t n_units) {
    attend(args, first_unit, n_units);
}

} // namespace ga

GA_TARGET_END

#endif
