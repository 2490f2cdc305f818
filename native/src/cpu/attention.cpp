#include "cpu/attention.h"

#include "cpu/attention_classes.h"
#include "cpu/cpu_class.h"
#include "cpu/cpu_target.h"

namespace ga {

int64_t attention_units(const CacheAttention & args) {
    const int64_t vectors = args.n * (args.n_head / args.n_head_kv);
    return (vectors + kAttentionVectors - 1) / kAttentionVectors * args.n_head_kv;
}

AttendCache cache_attention(ggml_type type, int64_t head_dim) {
    const bool floats = type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float;
    if (!floats || head_dim % 16 != 0 || head_dim > kMaxAttentionDim || head_dim % ggml_blck_size(type) != 0) {
        return nullptr;
    }
#if GA_X86
    return may_use_avx512() ? attend_avx512 : may_use_avx2() ? attend_avx2 : nullptr;
#else
    return nullptr;
#endif
}

} // namespace ga
