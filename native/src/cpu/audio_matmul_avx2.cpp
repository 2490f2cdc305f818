// Products in f32 for AVX2; see audio_matmul_f32.h.
#include "cpu/audio_matmul.h"
#include "cpu/cpu_target.h"

#if GA_X86

GA_TARGET_BEGIN("avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/simd_256.h"

#include "cpu/audio_matmul_f32.h"

} // namespace

void matmul_avx2(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    static_assert(kPanelAvx2 == kPanel);
    matmul(args, first_panel, n_panels);
}

} // namespace ga

GA_TARGET_END

#endif
