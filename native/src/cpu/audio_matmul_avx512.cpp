// Products in f32 for AVX-512; see audio_matmul_f32.h.
#include "cpu/cpu_target.h"

GA_EXCUSE_AVX512_HEADERS

#include "cpu/audio_matmul.h"

#if GA_X86

GA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")

namespace ga {
namespace {

#include "cpu/simd_512.h"

#include "cpu/audio_matmul_f32.h"

} // namespace

void matmul_avx512(const MatmulArgs & args, int64_t first_panel, int64_t n_panels) {
    static_assert(kPanelAvx512 == kPanel);
    matmul(args, first_panel, n_panels);
}

} // namespace ga

GA_TARGET_END

#endif
