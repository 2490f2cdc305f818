// Which process this is.
#pragma once

#include <cstdint>

#if defined(_WIN32)
#include <process.h>
#else
#include <unistd.h>
#endif

namespace ga {

inline int64_t this_process() {
#if defined(_WIN32)
    return _getpid();
#else
    return getpid();
#endif
}

} // namespace ga
