#include "core/error.h"

#include <vector>

namespace ga {

static std::string vformat(const char * fmt, va_list args) {
    va_list copy;
    va_copy(copy, args);
    const int n = std::vsnprintf(nullptr, 0, fmt, copy);
    va_end(copy);
    std::vector<char> buffer(n > 0 ? n + 1 : 1, '\0');
    if (n > 0) {
        std::vsnprintf(buffer.data(), buffer.size(), fmt, args);
    }
    return buffer.data();
}

std::string format(const char * fmt, ...) {
    va_list args;
    va_start(args, fmt);
    std::string text = vformat(fmt, args);
    va_end(args);
    return text;
}

void fail(ga_status status, const char * fmt, ...) {
    va_list args;
    va_start(args, fmt);
    std::string text = vformat(fmt, args);
    va_end(args);
    throw Error(status, text);
}

} // namespace ga
