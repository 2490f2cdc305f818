#include "cpu/cpu_class.h"

#include "cpu/cpu_target.h"

#include <cstdlib>

namespace ga {

std::string cpu_class_cap() {
    const char * cap = std::getenv(kCpuClassVariable);
    return cap ? cap : "";
}

#if GA_X86

bool may_use_avx2() {
    static const bool may = [] {
        const std::string cap = cpu_class_cap();
        return cap != "ggml" && cap != "portable" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }();
    return may;
}

bool may_use_avx512() {
    static const bool may = [] {
        const std::string cap = cpu_class_cap();
        return may_use_avx2() && cap != "avx2" && cap != "avxvnni" && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }();
    return may;
}

bool may_use_avx512bf16() {
    return may_use_avx512() && __builtin_cpu_supports("avx512bf16");
}

#else

bool may_use_avx2() {
    return false;
}
bool may_use_avx512() {
    return false;
}
bool may_use_avx512bf16() {
    return false;
}

#endif

} // namespace ga
