// Errors travel up as one exception type that carries a ga_status; api.cpp turns it into a code and a message.
#pragma once

#include "gemma_audio.h"

#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace ga {

class Error : public std::runtime_error {
  public:
    Error(ga_status status, const std::string & message) : std::runtime_error(message), status_(status) {}
    ga_status status() const { return status_; }

  private:
    ga_status status_;
};

#if defined(__GNUC__)
#define GA_PRINTF_LIKE(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))
#else
#define GA_PRINTF_LIKE(format_index, first_arg)
#endif

GA_PRINTF_LIKE(1, 2) std::string format(const char * fmt, ...);

// Throws Error with a printf-formatted message. Messages name the file and the tensor or key, in one line.
[[noreturn]] GA_PRINTF_LIKE(2, 3) void fail(ga_status status, const char * fmt, ...);

} // namespace ga
