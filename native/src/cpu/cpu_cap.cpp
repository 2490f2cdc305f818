#include "cpu/cpu_cap.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace ga {

bool avx512_is_allowed() {
    static const bool allowed = [] {
        const char * cap = std::getenv("GEMMA_AUDIO_CPU_CLASS");
        for (const char * smaller : {"avxvnni", "avx2", "portable"}) {
            if (cap && std::strcmp(cap, smaller) == 0) {
                return false;
            }
        }
        return true;
    }();
    return allowed;
}

} // namespace ga
